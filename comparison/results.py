"""The comparison itself: every run's figures with their intervals, and every pair's difference with its tests."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from leukobench.cohort.manifest import LABELS, NEGATIVE, POSITIVE
from leukobench.comparison.bootstrap import FEW_GROUPS, Draws, bca_interval, bca_p_value, draw_groups
from leukobench.comparison.paired_tests import delong, holm, mcnemar
from leukobench.comparison.pairing import paired_test_rows, run_names
from leukobench.comparison.resampled_metrics import Scored, call_figures, score_figures
from leukobench.results.metrics import THRESHOLD, best_threshold, figures_of_merit
from leukobench.results.run import Run

LEVELS = ("cells", "subjects")  # a subject's score is the mean of its cells'
FIXED, CHOSEN = "0.5", "chosen on validation"


@dataclass(frozen=True)
class Estimate:
    """A figure of merit with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Calls:
    """What a run calls at a threshold: figures by name, and true positives, false negatives, false positives, true
    negatives."""

    threshold: float
    figures: dict[str, Estimate]
    confusion: tuple[int, int, int, int]


@dataclass(frozen=True)
class Assessment:
    """A run's figures at one level.

    Attributes:
        run: Name of the run.
        level: `cells` or `subjects`.
        figures: Those of the score itself, by name.
        calls: Those of its calls, by `FIXED` and, where there is a validation part, `CHOSEN`.
    """

    run: str
    level: str
    figures: dict[str, Estimate]
    calls: dict[str, Calls]


@dataclass(frozen=True)
class Difference:
    """A run less another on the same rows, the one of higher AUROC first.

    Attributes:
        better: Name of the run with the higher AUROC of cells.
        other: Name of the other.
        auroc: Difference of the AUROC of cells, its interval by resampling subject groups.
        p: P-value of that difference by the same resamples, corrected by Holm over all pairs.
        subjects: Difference of the AUROC of subjects.
        delong_p: DeLong's p-value over single cells, corrected by Holm.
        only: How many cells only the first, and only the other, calls rightly at 0.5.
        mcnemar_p: McNemar's exact p-value over single cells, corrected by Holm.
        leaky: Whether one of the two, or both, saw the test subjects in training.
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
    def clear(self) -> bool:
        """Whether the interval leaves out zero and the corrected p-value is below 0.05."""
        return (self.auroc.low > 0 or self.auroc.high < 0) and self.p < 0.05


@dataclass(frozen=True)
class Comparison:
    """What came of comparing runs.

    Attributes:
        runs: The runs, by name.
        rows: The shared test cells: `subject`, `subject_group`, `label`, one score column a run; indexed by `path`.
        subjects: The same of the subjects; indexed by `subject`.
        draws: The resamples, which all runs share.
        assessments: Figures of each run at each level.
        differences: One a pair of runs.
        dropped: Test rows of each run that are left out because other runs lack them.
    """

    runs: dict[str, Run]
    rows: pd.DataFrame
    subjects: pd.DataFrame
    draws: Draws
    assessments: list[Assessment]
    differences: list[Difference]
    dropped: dict[str, int]

    def assessment(self, run: str, level: str = LEVELS[0]) -> Assessment:
        """Return the figures of a run at a level."""
        return next(each for each in self.assessments if (each.run, each.level) == (run, level))

    @property
    def ranked(self) -> list[str]:
        """Names of the runs, the highest AUROC of cells first."""
        return sorted(self.runs, key=lambda name: -self.assessment(name).figures["auroc"].value)

    @property
    def groups_of_class(self) -> dict[str, int]:
        """Number of subject groups of each class in the test part."""
        positive = int(self.draws.positive.sum())
        return {POSITIVE: positive, NEGATIVE: len(self.draws.groups) - positive}

    @property
    def few_groups(self) -> dict[str, int]:
        """Classes with so few subject groups that no interval is to be trusted, and how few."""
        return {name: count for name, count in self.groups_of_class.items() if count < FEW_GROUPS}

    @property
    def leaky(self) -> list[str]:
        """Names of the runs that had the same people in training and test."""
        return [name for name, run in self.runs.items() if run.info["leaky"]]

    @property
    def table(self) -> pd.DataFrame:
        """The headline: one row a run."""
        return pd.DataFrame([self._headline(name, run) for name, run in self.runs.items()])

    def _headline(self, name: str, run: Run) -> dict[str, object]:
        cells, subjects = (self.assessment(name, level) for level in LEVELS)
        calls = cells.calls[FIXED].figures
        return {
            "run": name,
            "recipe": run.recipe,
            "split": "LEAKY" if run.info["leaky"] else run.info["split"].split()[0],
            "AUROC of cells": str(cells.figures["auroc"]),
            "AUROC of subjects": str(subjects.figures["auroc"]),
            **{
                shown: f"{calls[figure].value:.3f}"
                for figure, shown in (
                    ("balanced_accuracy", "balanced accuracy"),
                    ("sensitivity", "sensitivity"),
                    ("specificity", "specificity"),
                    ("weighted_f1", "weighted F1"),
                )
            },
            "training, s": f"{training_seconds(run):.1f}",
        }


def compare(runs: Sequence[Run], *, common: bool = False, allow_leaky: bool = False) -> Comparison:
    """Compare runs on their shared test rows.

    Args:
        runs: The runs.
        common: Whether to leave out rows that are not tested in every run.
        allow_leaky: Whether runs split by image may stand beside subject-disjoint ones.

    Raises:
        InputError: the runs may not be compared; see `paired_test_rows`.
    """
    rows = paired_test_rows(runs, common=common, allow_leaky=allow_leaky)
    named = dict(zip(run_names(runs), runs, strict=True))
    people = _subjects(rows, list(named))
    draws = draw_groups(rows["label"], rows["subject_group"])
    under = np.vstack([np.ones(len(draws.groups)), draws.counts, draws.left_out])
    scored: dict[tuple[str, str], Scored] = {}
    auroc: dict[tuple[str, str], np.ndarray] = {}
    assessments = []
    for name, run in named.items():
        for level, table in zip(LEVELS, (rows, people), strict=True):
            each = scored[name, level] = scored_rows(table, name, draws)
            figures = score_figures(each, under)
            auroc[name, level] = figures["auroc"]
            calls = {rule: _calls(each, at, under, draws) for rule, at in _thresholds(run).items()}
            assessments.append(Assessment(name, level, _estimates(figures, draws), calls))
    differences = _differences(named, scored, auroc, draws)
    dropped = {name: len(run.part("test")) - len(rows) for name, run in named.items()}
    return Comparison(named, rows, people, draws, assessments, differences, dropped)


def scored_rows(table: pd.DataFrame, run: str, draws: Draws) -> Scored:
    """Return what a run scored, of a table of cells or of subjects."""
    positive = (table["label"] == POSITIVE).to_numpy()
    return Scored(positive, table[run].to_numpy(), draws.number(table["subject_group"]), len(draws.groups))


def fold_aurocs(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """Return, of each cross-validated run, one row a fold: `auroc` of its cells (NaN where a class is missing), `cells`
    and `groups` (subject groups) tested in it."""
    found = {}
    for name, run in comparison.runs.items():
        tested = run.part("test").set_index("path").loc[comparison.rows.index]
        if tested["fold"].any():
            folds = {
                fold: {
                    "auroc": figures_of_merit(rows["label"].to_numpy(), rows["score"].to_numpy())["auroc"],
                    "cells": len(rows),
                    "groups": rows["subject_group"].nunique(),
                }
                for fold, rows in tested.groupby("fold")
            }
            found[name] = pd.DataFrame(folds).T.astype({"auroc": float, "cells": int, "groups": int})
    return found


def training_seconds(run: Run) -> float:
    """Return the seconds that a run took, all but those for predicting."""
    return sum(run.info["seconds"].values()) - run.info["seconds"]["predict"]


def model_bytes(run: Run) -> int | None:
    """Return the size of a run's model on disk: the one to use on new images, or the mean of those of the folds."""
    sizes = [file.stat().st_size for file in run.folder.glob("model.*")]
    sizes = sizes or [file.stat().st_size for file in run.folder.glob("model_fold_*")]
    return round(sum(sizes) / len(sizes)) if sizes else None


def _subjects(rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return one row a subject: the mean of its cells' scores, and the class that most of them have."""
    of_subject = rows.groupby("subject")
    share = (rows["label"] == POSITIVE).groupby(rows["subject"]).mean()
    people = of_subject[["subject_group"]].first()
    return people.assign(label=np.where(share >= 0.5, *LABELS)).join(of_subject[names].mean())


def _thresholds(run: Run) -> dict[str, float]:
    """Return the thresholds to call at; the chosen one takes both classes in the validation part."""
    validation = run.part("validation")
    if set(validation["label"]) != set(LABELS):
        return {FIXED: THRESHOLD}
    return {
        FIXED: THRESHOLD,
        CHOSEN: best_threshold(validation["label"].to_numpy(), validation["score"].to_numpy()),
    }


def _calls(rows: Scored, threshold: float, under: np.ndarray, draws: Draws) -> Calls:
    confusion = tuple(int(count) for count in rows.confusion(threshold).sum(axis=0))
    return Calls(threshold, _estimates(call_figures(rows, under, threshold), draws), confusion)


def _parts(under: np.ndarray, draws: Draws) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Return a figure under counts of one, under the draws, and under the jackknife; and the groups' classes."""
    drawn = 1 + len(draws.counts)
    return float(under[0]), under[1:drawn], under[drawn:], draws.positive


def _estimate(under: np.ndarray, draws: Draws) -> Estimate:
    return Estimate(float(under[0]), *bca_interval(*_parts(under, draws)))


def _estimates(figures: dict[str, np.ndarray], draws: Draws) -> dict[str, Estimate]:
    return {name: _estimate(under, draws) for name, under in figures.items()}


def _differences(
    runs: dict[str, Run], scored: dict[tuple[str, str], Scored], auroc: dict[tuple[str, str], np.ndarray], draws: Draws
) -> list[Difference]:
    """Test every pair, and correct each kind of test over the pairs."""
    cells, subjects = LEVELS
    ranked = sorted(runs, key=lambda name: -auroc[name, cells][0])
    found = []
    for first, second in itertools.combinations(ranked, 2):
        one, two = scored[first, cells], scored[second, cells]
        gap = auroc[first, cells] - auroc[second, cells]
        right = [(each.score >= THRESHOLD) == each.positive for each in (one, two)]
        first_only, second_only, mcnemar_p = mcnemar(*right)
        found.append(
            Difference(
                better=first,
                other=second,
                auroc=_estimate(gap, draws),
                p=bca_p_value(*_parts(gap, draws)),
                subjects=_estimate(auroc[first, subjects] - auroc[second, subjects], draws),
                delong_p=delong(one.positive, one.score, two.score)[2],
                only=(first_only, second_only),
                mcnemar_p=mcnemar_p,
                leaky=(runs[first].info["leaky"], runs[second].info["leaky"]),
            )
        )
    for name in ("p", "delong_p", "mcnemar_p"):
        corrected = holm([getattr(pair, name) for pair in found])
        found = [replace(pair, **{name: p}) for pair, p in zip(found, corrected, strict=True)]
    return found
