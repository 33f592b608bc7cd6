"""What a comparison holds: the metrics of each run with their intervals, and the difference of each pair of runs."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.comparison.bootstrap import FEW_GROUPS, Draws, Estimate
from leukobench.comparison.resampled_metrics import Scored
from leukobench.results.metrics import classification_metrics
from leukobench.results.run import RunFolder

LEVELS = ("cells", "subjects")  # the score of a subject is the mean score of its cells
FIXED, CHOSEN = "0.5", "chosen on validation"


@dataclass(frozen=True)
class ThresholdedMetrics:
    """Metrics of the classes that a run predicts at a threshold.

    Attributes:
        threshold: A score of at least this predicts `all`.
        metrics: The metrics, by name.
        confusion: True positives, false negatives, false positives, true negatives.
    """

    threshold: float
    metrics: dict[str, Estimate]
    confusion: tuple[int, int, int, int]


@dataclass(frozen=True)
class Assessment:
    """The metrics of a run at one level.

    Attributes:
        run: Name of the run.
        level: `cells` or `subjects`.
        metrics: Metrics of the score itself, by name.
        thresholded: Metrics at a threshold, by `FIXED` and, where there is a validation part, `CHOSEN`.
    """

    run: str
    level: str
    metrics: dict[str, Estimate]
    thresholded: dict[str, ThresholdedMetrics]


@dataclass(frozen=True)
class Difference:
    """The difference of two runs on the same rows, the run of higher AUROC first.

    Attributes:
        better: Name of the run with the higher AUROC of cells.
        other: Name of the other run.
        auroc: Difference of the AUROC of cells, with its subject-level bootstrap interval.
        p: P-value of that difference by the same resamples, corrected over all pairs by Holm's method.
        subjects: Difference of the AUROC of subjects.
        delong_p: P-value of DeLong's test over single cells, corrected by Holm's method.
        only: Number of cells that only the first, and only the other, run classifies correctly at 0.5.
        mcnemar_p: P-value of McNemar's exact test over single cells, corrected by Holm's method.
        leaky: Which of the two runs had the test subjects in training.
    """

    better: str
    other: str
    auroc: Estimate
    p: float
    subjects: Estimate
    delong_p: float
    only: tuple[int, int]
    mcnemar_p: float
    leaky: tuple[bool, bool]

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero and the corrected p-value is below 0.05."""
        return (self.auroc.low > 0 or self.auroc.high < 0) and self.p < 0.05

    @property
    def comparable(self) -> bool:
        """Whether both runs, or neither, had the test subjects in training."""
        return self.leaky[0] == self.leaky[1]


@dataclass(frozen=True)
class ComparedRuns:
    """Runs that were compared on the same test rows.

    Attributes:
        runs: The runs, by name.
        rows: The shared test cells: `subject`, `subject_group`, `label`, one score column a run; indexed by `path`.
        subjects: The same for the subjects; indexed by `subject`.
        draws: The resamples, the same for all runs.
        assessments: Metrics of each run at each level.
        differences: One for each pair of runs.
        dropped: Number of test rows of each run that are left out because another run lacks them.
        common: Whether such rows may be left out.
        allow_leaky: Whether runs whose parts share subjects may be listed beside runs with a subject-level split.
    """

    runs: dict[str, RunFolder]
    rows: pd.DataFrame
    subjects: pd.DataFrame
    draws: Draws
    assessments: list[Assessment]
    differences: list[Difference]
    dropped: dict[str, int]
    common: bool
    allow_leaky: bool

    def assessment(self, run: str, level: str = LEVELS[0]) -> Assessment:
        """Return the metrics of a run at a level."""
        return next(each for each in self.assessments if (each.run, each.level) == (run, level))

    @property
    def ranked(self) -> list[str]:
        """Names of the runs, the highest AUROC of cells first."""
        return sorted(self.runs, key=lambda name: -self.assessment(name).metrics["auroc"].value)

    @property
    def groups_of_class(self) -> dict[str, int]:
        """Number of subject groups of each class in the test part."""
        positive = int(self.draws.positive.sum())
        return {POSITIVE: positive, NEGATIVE: len(self.draws.groups) - positive}

    @property
    def few_groups(self) -> dict[str, int]:
        """Classes with too few subject groups for a reliable interval, and their number of groups."""
        return {name: count for name, count in self.groups_of_class.items() if count < FEW_GROUPS}

    @property
    def leaky(self) -> list[str]:
        """Names of the runs that had test subjects in training."""
        return [name for name, run in self.runs.items() if run.info.leaky]


def scored_rows(table: pd.DataFrame, run: str, draws: Draws) -> Scored:
    """Return the scores of a run, of a table of cells or of subjects."""
    positive = (table["label"] == POSITIVE).to_numpy()
    return Scored(positive, table[run].to_numpy(), draws.number(table["subject_group"]), len(draws.groups))


def fold_aurocs(comparison: ComparedRuns) -> dict[str, pd.DataFrame]:
    """Return a table for each cross-validated run, with one row a fold.

    Columns: `auroc` of the cells (NaN where a class is missing), `cells` and `groups` (number of subject groups).
    """
    found = {}
    for name, run in comparison.runs.items():
        tested = run.part("test").set_index("path").loc[comparison.rows.index]
        if tested["fold"].notna().any():
            folds = {
                int(fold): {
                    "auroc": classification_metrics(rows["label"].to_numpy(), rows["score"].to_numpy())["auroc"],
                    "cells": len(rows),
                    "groups": rows["subject_group"].nunique(),
                }
                for fold, rows in tested.groupby("fold")
            }
            found[name] = pd.DataFrame(folds).T.astype({"auroc": float, "cells": int, "groups": int})
    return found


def training_seconds(run: RunFolder) -> float:
    """Return the seconds that a run took without prediction."""
    return sum(run.info.seconds.values()) - run.info.seconds["predict"]


def model_bytes(run: RunFolder) -> int | None:
    """Return the size of a run's model on disk: the final model, or the mean over the models of the folds."""
    sizes = [file.stat().st_size for file in run.folder.glob("model.*")]
    sizes = sizes or [file.stat().st_size for file in run.folder.glob("model_fold_*")]
    return round(sum(sizes) / len(sizes)) if sizes else None
