"""The optimistic bias of a split level: its AUROC minus that of the reference, on the same cells.

Every cell is tested once at each level, in a fold of that level. The AUROC counts pairs of cells within a fold, because
the scores of two folds come from two models and have no common scale. Each level has its own folds, so the pairs differ
between the levels, but the cells are the same, and so are the subject groups. The influences of the groups on both
AUROCs therefore give an interval of the difference, as in `compare`.

The p-value is that of a permutation test over subject groups: the sign of what each group contributes to the difference
is changed at random. To swap ranks within folds, as `compare` does for runs with the same folds, is no valid test here:
the folds of two levels differ, and with few groups in a fold it rejects too often. `benchmarks/split_levels.py`
measures how often the test rejects where nothing leaks, and how often the interval contains the true bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leukobench.cohort.split_levels import REFERENCE, SplitLevel
from leukobench.comparison.auroc import auroc
from leukobench.comparison.intervals import Estimate, Measured, SubjectGroups
from leukobench.comparison.measuring import EQUAL, estimate
from leukobench.comparison.paired_tests import holm, swap_test
from leukobench.comparison.results import scored_rows

METRICS = {"auroc": "AUROC of cells", "subject_weighted_auroc": "AUROC of cells, subjects weighted equally"}


@dataclass(frozen=True)
class LevelBias:
    """The optimistic bias of a split level, for a model and a metric.

    Attributes:
        model: Name of the model.
        metric: One of `METRICS`.
        level: The split level.
        value: The metric at this level.
        reference: The metric at the strictest level.
        bias: The difference, this level minus the reference.
        p: Two-sided p-value of no difference, corrected over the levels by Holm's method.
    """

    model: str
    metric: str
    level: SplitLevel
    value: Estimate
    reference: Estimate
    bias: Estimate
    p: float


def level_biases(model: str, tested: Mapping[SplitLevel, Sequence[pd.DataFrame]]) -> list[LevelBias]:
    """Compare the AUROC at each level with that at the reference.

    Args:
        model: Name of the model.
        tested: Of each level, the test rows of each repeat: `path`, `label`, `subject_group`, `fold` and `score`. All
            have the same paths. The metrics and what the groups contribute to them are averaged over the repeats.
    """
    paths = tested[REFERENCE][0]["path"]
    tables = {level: [each.set_index("path").loc[paths] for each in of_level] for level, of_level in tested.items()}
    first = tables[REFERENCE][0]
    groups = SubjectGroups.of(first["label"], first["subject_group"])
    rows = {
        level: [scored_rows(each, each["score"].to_numpy(), groups) for each in of_level]
        for level, of_level in tables.items()
    }
    found = []
    for metric in METRICS:
        equal = metric in EQUAL
        measured = {
            level: Measured.mean([auroc(each, equal=equal) for each in of_level]) for level, of_level in rows.items()
        }
        compared = [level for level in tested if level != REFERENCE]
        biases = [measured[level] - measured[REFERENCE] for level in compared]
        p_values = holm([swap_test(contributions(bias, groups, equal=equal)) for bias in biases])
        values = {level: estimate(metric, each, groups, rows[level]) for level, each in measured.items()}
        for level, bias, p in zip(compared, biases, p_values, strict=True):
            interval = groups.interval(bias, equal=equal)
            found.append(LevelBias(model, metric, level, values[level], values[REFERENCE], interval, p))
    return found


def fold_aurocs(tested: pd.DataFrame) -> dict[str, float]:
    """Return the AUROCs of the test rows of a cross-validation, over pairs of cells within a fold, by metric."""
    groups = SubjectGroups.of(tested["label"], tested["subject_group"])
    rows = scored_rows(tested, tested["score"].to_numpy(), groups)
    return {metric: auroc(rows, equal=metric in EQUAL).value for metric in METRICS}


def contributions(difference: Measured, groups: SubjectGroups, *, equal: bool = False) -> np.ndarray:
    """Return what each subject group contributes to a difference; their sum is the difference.

    The influences of the groups add up to zero. Each group gets in addition half of the difference times its share in
    its class. If no level is better, contributions of both signs are equally probable, so their signs are permuted.

    Args:
        difference: The difference of two AUROCs.
        groups: The subject groups.
        equal: Whether all subject groups of a class have the same weight, else each cell has.

    Returns:
        One number for each group. [shape=(groups,)]
    """
    return difference.influence + difference.value * groups.share(equal) / 2
