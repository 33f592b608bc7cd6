"""The comparison itself: every run's figures, and every pair's difference."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from comparison.bootstrap import FEW_GROUPS, LEVEL, RESAMPLES, group_weights, interval, weighted_auroc
from comparison.pairing import paired_test_rows
from study.manifest import LABELS, POSITIVE
from study.metrics import figures_of_merit
from study.run import Run

FIGURES = {  # figures of merit in the table, and what they are called there
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "weighted_f1": "weighted F1",
}


@dataclass(frozen=True)
class Difference:
    """The AUROC of one run less that of another, on the same rows, with its interval."""

    better: str
    other: str
    auroc: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Comparison:
    """What came of comparing runs.

    Attributes:
        runs: The runs.
        rows: The shared test rows, one score column a run.
        table: One row a run: AUROC with its interval, the other figures, timings.
        differences: One a pair of runs.
    """

    runs: Sequence[Run]
    rows: pd.DataFrame
    table: pd.DataFrame
    differences: list[Difference]

    @property
    def groups_of_class(self) -> dict[str, int]:
        """Number of subject groups of each class in the test part."""
        return {name: int(self.rows["subject_group"][self.rows["label"] == name].nunique()) for name in LABELS}

    @property
    def leaky(self) -> bool:
        """Whether the same people stand in training and test."""
        return bool(self.runs[0].info["leaky"])

    @property
    def verdicts(self) -> list[str]:
        """A plain sentence for each pair."""
        return [self._verdict(pair) for pair in self.differences]

    @property
    def cautions(self) -> list[str]:
        """What a reader must know before trusting the figures."""
        cautions = []
        if self.leaky:
            cautions.append(
                "LEAKY: the same subjects stand in training and test. These figures say how well the models recognise "
                "people they have seen; they are not comparable with a subject-disjoint split."
            )
        if self._few_groups:
            counts = " and ".join(f"{count} of class {name}" for name, count in self._few_groups.items())
            cautions.append(f"The test part has few subject groups ({counts}): the intervals are not to be trusted.")
        return cautions

    @property
    def _few_groups(self) -> dict[str, int]:
        return {name: count for name, count in self.groups_of_class.items() if count < FEW_GROUPS}

    def _verdict(self, pair: Difference) -> str:
        groups = self.rows["subject_group"].nunique()
        interval_text = f"{LEVEL:.0%} interval {pair.low:.3f} to {pair.high:.3f}"
        if not pair.clear:
            return (
                f"{pair.better} and {pair.other} cannot be told apart on {groups} subject groups: "
                f"AUROC differs by {pair.auroc:.3f} ({interval_text})."
            )
        if self._few_groups:
            return (
                f"{pair.better} scored higher than {pair.other} by {pair.auroc:.3f} AUROC ({interval_text}), "
                f"but on {groups} subject groups that is a hint, not a finding."
            )
        return f"{pair.better} is better than {pair.other} by {pair.auroc:.3f} AUROC ({interval_text})."


def compare(runs: Sequence[Run]) -> Comparison:
    """Compare runs on their shared test rows.

    Raises:
        StudyError: the runs may not be compared; see `paired_test_rows`.
    """
    rows = paired_test_rows(runs)
    positive = (rows["label"] == POSITIVE).to_numpy()
    weights = group_weights(rows["label"], rows["subject_group"], resamples=RESAMPLES)
    resampled = {run.name: weighted_auroc(positive, rows[run.name].to_numpy(), weights) for run in runs}
    table = pd.DataFrame([_table_row(run, rows, resampled[run.name]) for run in runs])
    auroc = table.set_index("run")["AUROC"]
    differences = []
    for pair in itertools.combinations(auroc.sort_values(ascending=False, kind="stable").index, 2):
        low, high = interval(resampled[pair[0]] - resampled[pair[1]])
        differences.append(Difference(*pair, float(auroc[pair[0]] - auroc[pair[1]]), low, high))
    return Comparison(runs, rows, table, differences)


def markdown(table: pd.DataFrame) -> str:
    """Write the table in Markdown, aligned so that it reads well in a terminal too."""
    shown = table.drop(columns=["AUROC low", "AUROC high"]).astype(object)
    shown["AUROC"] = [
        f"{row['AUROC']:.3f} ({row['AUROC low']:.3f}-{row['AUROC high']:.3f})" for _, row in table.iterrows()
    ]
    shown = shown.map(lambda value: f"{value:.3f}" if isinstance(value, float) else str(value))
    lines = [list(shown.columns), *shown.to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]])


def _table_row(run: Run, rows: pd.DataFrame, resampled: pd.Series) -> dict[str, object]:
    figures = figures_of_merit(rows["label"].to_numpy(), rows[run.name].to_numpy())
    low, high = interval(resampled)
    return {
        "run": run.name,
        "recipe": run.info["recipe"],
        "split": "LEAKY" if run.info["leaky"] else run.info["split"].split()[0],
        "AUROC": figures["auroc"],
        "AUROC low": low,
        "AUROC high": high,
        **{shown: figures[name] for name, shown in FIGURES.items()},
        "training, s": f"{sum(run.info['seconds'].values()) - run.info['seconds']['predict']:.1f}",
    }
