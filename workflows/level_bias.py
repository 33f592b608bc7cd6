"""The optimistic bias of a split level: its AUROC minus that of the reference, on the same cells.

Every cell is tested once at each level, in a fold of that level. The AUROC counts pairs of cells within a fold, because
the scores of two folds come from two models and have no common scale. Each level has its own folds, so the pairs differ
between the levels, but the cells are the same, and so are the subject groups. The influences of the groups on both
AUROCs therefore give an interval of the difference, as in `compare`.

The p-value is that of the test by swapping whole subject groups. It needs scores that are comparable between folds and
levels: `fold_percentiles`. `benchmarks/split_levels.py` measures how often the test rejects where nothing leaks, and
how often the interval contains the true bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leukobench.cohort.manifest import POSITIVE
from leukobench.cohort.split_levels import REFERENCE, SplitLevel
from leukobench.comparison.auroc import auroc, swap_contributions
from leukobench.comparison.intervals import Estimate, Measured, SubjectGroups
from leukobench.comparison.measuring import EQUAL, estimate
from leukobench.comparison.paired_tests import holm, swap_test
from leukobench.comparison.weighted_metrics import Scored

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
    rows = {level: [_scored(each, groups) for each in of_level] for level, of_level in tables.items()}
    found = []
    for metric in METRICS:
        equal = metric in EQUAL
        measured = {
            level: Measured.mean([auroc(each, equal=equal) for each in of_level]) for level, of_level in rows.items()
        }
        compared = [level for level in tested if level != REFERENCE]
        p_values = holm([_p_value(rows[level], rows[REFERENCE], equal) for level in compared])
        values = {level: estimate(metric, each, groups, rows[level]) for level, each in measured.items()}
        for level, p in zip(compared, p_values, strict=True):
            bias = groups.interval(measured[level] - measured[REFERENCE], equal=equal)
            found.append(LevelBias(model, metric, level, values[level], values[REFERENCE], bias, p))
    return found


def fold_aurocs(tested: pd.DataFrame) -> dict[str, float]:
    """Return the AUROCs of the test rows of a cross-validation, over pairs of cells within a fold, by metric."""
    rows = _scored(tested, SubjectGroups.of(tested["label"], tested["subject_group"]))
    return {metric: auroc(rows, equal=metric in EQUAL).value for metric in METRICS}


def fold_percentiles(rows: Scored, *, equal: bool = False) -> Scored:
    """Replace each score by the mean of its percentile among the positives and among the negatives of its fold.

    The percentile is the share of the cells that have a lower score; a tie counts half. Both classes count the same
    whatever their numbers, so that folds with more positives do not have lower percentiles, as with plain ranks. If
    each fold has the same share of the positives and of the negatives, the AUROC over all pairs of these percentiles,
    within and between folds, equals the AUROC over the pairs within folds, up to the resolution of the percentiles. The
    reason: the mean of both classes' distributions is uniform in every fold f, and therefore P(positive of f above
    negative of g) + P(positive of g above negative of f) = AUROC_f + AUROC_g.

    Args:
        rows: The scored rows, with their folds; each fold has both classes.
        equal: Whether all subject groups of a class have the same weight, else each cell has.

    Returns:
        The rows with the percentiles, from 0 to 1, and without folds.
    """
    weight, percentile = rows.weight(equal), np.zeros(len(rows.score))
    for of_fold in rows.by_fold():
        for of_class in (of_fold & rows.positive, of_fold & ~rows.positive):
            order = np.argsort(rows.score[of_class])
            cumulated = np.concatenate([[0.0], np.cumsum(weight[of_class][order])])
            below, up_to = (
                cumulated[np.searchsorted(rows.score[of_class][order], rows.score[of_fold], side)]
                for side in ("left", "right")
            )
            percentile[of_fold] += (below + up_to) / (4 * cumulated[-1])
    return Scored(rows.positive, percentile, rows.group, rows.groups)


def _p_value(level: Sequence[Scored], reference: Sequence[Scored], equal: bool) -> float:
    """Return the p-value of no difference, by swapping the percentiles of both levels for whole subject groups."""
    contributions = [
        swap_contributions(fold_percentiles(one, equal=equal), fold_percentiles(other, equal=equal), equal=equal)
        for one, other in zip(level, reference, strict=True)
    ]
    return swap_test(np.mean(contributions, axis=0))


def _scored(table: pd.DataFrame, groups: SubjectGroups) -> Scored:
    positive = (table["label"] == POSITIVE).to_numpy()
    number = groups.number(table["subject_group"])
    return Scored(positive, table["score"].to_numpy(), number, len(groups), table["fold"].to_numpy(int))
