"""What a comparison holds: the metrics of each run with their intervals, and the difference of each pair of runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leukobench.cohort.class_names import CNMC, ClassNames
from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.comparison.auroc import auroc
from leukobench.comparison.intervals import FEW_GROUPS, Estimate, SubjectGroups
from leukobench.comparison.paired_tests import Detectable
from leukobench.comparison.weighted_metrics import Scored
from leukobench.results.run import RunFolder

LEVELS = ("cells", "subjects")  # the score of a subject is the mean score of its cells
SIGNIFICANT = 0.05
Thresholds = Mapping[int | None, float]  # by fold, None without cross-validation
FIXED, CHOSEN = "0.5", "chosen on validation"


@dataclass(frozen=True)
class ThresholdedMetrics:
    """Metrics of the classes that a run predicts at a threshold.

    Attributes:
        thresholds: A score of at least this predicts `all`; by fold, None without cross-validation.
        metrics: The metrics, by name.
        confusion: True positives, false negatives, false positives, true negatives; of the first repeat.
    """

    thresholds: Thresholds
    metrics: dict[str, Estimate]
    confusion: tuple[int, int, int, int]

    @property
    def shown(self) -> str:
        """The threshold, or the smallest and largest one of the folds, as text."""
        low, high = (f"{end(self.thresholds.values()):.3f}" for end in (min, max))
        return low if low == high else f"{low} to {high}"


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
class CellLevelTests:
    """Tests of a pair that assume independent cells, so that their p-values are too small.

    Attributes:
        delong_p: P-value of DeLong's test, corrected over all pairs by Holm's method.
        only: Number of cells that only the first, and only the other, run classifies correctly at 0.5.
        mcnemar_p: P-value of McNemar's exact test, corrected by Holm's method.
    """

    delong_p: float
    only: tuple[int, int]
    mcnemar_p: float


@dataclass(frozen=True)
class Gap:
    """The difference of an AUROC between two runs.

    Attributes:
        estimate: The difference with its interval.
        p: P-value of the swap test over subject groups, corrected over all pairs by Holm's method.
        could: Which difference this cohort could have shown, and whether the runs are equivalent.
    """

    estimate: Estimate
    p: float
    could: Detectable


@dataclass(frozen=True)
class Difference:
    """The difference of two runs on the same rows, the run of higher AUROC first.

    Attributes:
        better: Name of the run with the higher AUROC of cells.
        other: Name of the other run.
        auroc: Difference of the AUROC, every cell with the same weight.
        subject_weighted: Difference of the AUROC, every subject group with the same weight.
        cell_level: Tests that assume independent cells.
        leaky: Which of the two runs had the test subjects in training.
    """

    better: str
    other: str
    auroc: Gap
    subject_weighted: Gap
    cell_level: CellLevelTests
    leaky: tuple[bool, bool]

    @property
    def significant(self) -> bool:
        """Whether the first run is better with cells and with subjects weighted equally (both p below 0.05)."""
        both = max(self.auroc.p, self.subject_weighted.p) < SIGNIFICANT
        return both and self.subject_weighted.estimate.value > 0

    @property
    def equivalent(self) -> bool:
        """Whether the runs are equivalent with cells and with subjects weighted equally."""
        return self.auroc.could.equivalent and self.subject_weighted.could.equivalent

    @property
    def comparable(self) -> bool:
        """Whether both runs, or neither, had the test subjects in training."""
        return self.leaky[0] == self.leaky[1]


@dataclass(frozen=True)
class ComparedRuns:
    """Runs that were compared on the same test rows.

    Attributes:
        runs: The runs, by name; of a repeated cross-validation the first repeat.
        repeats: All repeats of each run, by name; one without repeats.
        rows: The shared test cells: `subject`, `subject_group`, `label`, `fold` (missing where the runs have no common
            folds), one score column a run; indexed by `path`. Of repeats the first.
        subjects: The same for the subjects; indexed by `subject`.
        groups: The subject groups of the cells.
        assessments: Metrics of each run at each level; the mean over the repeats.
        differences: One for each pair of runs.
        dropped: Number of test rows of each run that are left out because another run lacks them.
        common: Whether such rows may be left out.
        allow_leaky: Whether runs whose parts share subjects may be listed beside runs with a subject-level split.
        sensitivity: Sensitivity that the threshold chosen on validation must reach; None: highest Youden's J.
        margin: Margin of equivalence of two AUROCs.
        repeat_aurocs: AUROC of the cells, within folds, of each repeat (rows) and run (columns).
    """

    runs: dict[str, RunFolder]
    repeats: dict[str, tuple[RunFolder, ...]]
    rows: pd.DataFrame
    subjects: pd.DataFrame
    groups: SubjectGroups
    assessments: list[Assessment]
    differences: list[Difference]
    dropped: dict[str, int]
    common: bool
    allow_leaky: bool
    sensitivity: float | None
    margin: float
    repeat_aurocs: pd.DataFrame

    def assessment(self, run: str, level: str = LEVELS[0]) -> Assessment:
        """Return the metrics of a run at a level."""
        return next(each for each in self.assessments if (each.run, each.level) == (run, level))

    @property
    def ranked(self) -> list[str]:
        """Names of the runs, the highest AUROC of cells first."""
        return sorted(self.runs, key=lambda name: -self.assessment(name).metrics["auroc"].value)

    @property
    def within_folds(self) -> bool:
        """Whether the AUROC compares cells of the same fold only."""
        return bool(self.rows["fold"].notna().all())

    @property
    def classes(self) -> ClassNames:
        """What the classes are called: by the first run whose manifest has names of the user's."""
        named = (run.info.classes for run in self.runs.values())
        return next((classes for classes in named if classes.own), CNMC)

    @property
    def groups_of_class(self) -> dict[str, int]:
        """Number of subject groups of each class in the test part."""
        return dict(zip((POSITIVE, NEGATIVE), self.groups.of_class, strict=True))

    @property
    def few_groups(self) -> dict[str, int]:
        """Classes with too few subject groups for a reliable interval, and their number of groups."""
        return {name: count for name, count in self.groups_of_class.items() if count < FEW_GROUPS}

    @property
    def leaky(self) -> list[str]:
        """Names of the runs that had test subjects in training."""
        return [name for name, run in self.runs.items() if run.info.leaky]

    def scored(self, run: str) -> Scored:
        """Return the cells as scored by a run; of repeats the first."""
        return scored_rows(self.rows, self.rows[run].to_numpy(), self.groups)


def scored_rows(table: pd.DataFrame, score: np.ndarray, groups: SubjectGroups) -> Scored:
    """Return rows of cells or of subjects with their scores; within folds where all rows have a fold."""
    fold = table["fold"].to_numpy(int) if table["fold"].notna().all() else None
    positive = (table["label"] == POSITIVE).to_numpy()
    return Scored(positive, score, groups.number(table["subject_group"]), len(groups), fold)


def row_thresholds(thresholds: Thresholds, table: pd.DataFrame) -> np.ndarray:
    """Return the threshold of each row: that of its fold. [shape=(n,)]"""
    if len(set(thresholds.values())) == 1:
        return np.full(len(table), next(iter(thresholds.values())))
    if table["fold"].isna().any():  # subjects that are tested in several folds, or runs without common folds
        return np.full(len(table), float(np.mean(list(thresholds.values()))))
    return table["fold"].map(thresholds).to_numpy(float)


def fold_aurocs(comparison: ComparedRuns) -> dict[str, pd.DataFrame]:
    """Return a table for each cross-validated run, with one row a fold; of repeats the first.

    Columns: `auroc` of the cells (NaN where a class is missing), `cells` and `groups` (number of subject groups).
    """
    found = {}
    for name, run in comparison.runs.items():
        tested = run.part("test").set_index("path").loc[comparison.rows.index]
        if tested["fold"].notna().any():
            folds = {
                int(fold): {
                    "auroc": auroc(
                        scored_rows(rows.assign(fold=None), rows["score"].to_numpy(), comparison.groups)
                    ).value,
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
