"""The AUROC of clustered cells: its value, the influence of each subject group, and the test of two runs.

AUROC = sum of w_i w_j [s_i > s_j] / sum of w_i w_j, over pairs of a positive i and a negative j; a tie counts half.
Of a cross-validation, only pairs within a fold count: the scores of two folds come from two models and have no common
scale. With w = 1 every cell has the same weight. With w = 1 / (cells of the group) every subject group of a class has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from leukobench.comparison.intervals import Measured
from leukobench.comparison.weighted_metrics import Scored


@dataclass(frozen=True)
class _Pairs:
    """Sums over the pairs of each group. [each of shape=(groups,)]

    Attributes:
        as_positive: Of pairs whose positive is in the group.
        as_negative: Of pairs whose negative is in the group.
    """

    as_positive: np.ndarray
    as_negative: np.ndarray

    @property
    def both(self) -> np.ndarray:
        return self.as_positive + self.as_negative


def auroc(rows: Scored, *, equal: bool = False) -> Measured:
    """Compute the AUROC, NaN where no fold has both classes, and the influence of each group.

    Args:
        rows: The scored rows.
        equal: Whether all subject groups of a class have the same weight, else each cell has.
    """
    weight = rows.weight(equal)
    won, pairs = _won(rows, rows.score, rows.score, weight), _won(rows, rows.positive, rows.positive, weight)
    total = pairs.as_positive.sum()
    if not total:
        return Measured(float("nan"), np.zeros(rows.groups))
    value = float(won.as_positive.sum() / total)
    return Measured(value, (won.both - value * pairs.both) / total)


def independent_pairs(rows: Scored) -> int:
    """Return how many pairs of a positive and a negative group, within a fold, have no group in common."""
    return sum(
        min(len(np.unique(rows.group[of_fold & of_class])) for of_class in (rows.positive, ~rows.positive))
        for of_fold in rows.by_fold()
    )


def rank_scores(rows: Scored) -> np.ndarray:
    """Return the rank of each score among those of its fold. [shape=(n,)]"""
    rank = np.empty(len(rows.score))
    for of_fold in rows.by_fold():
        rank[of_fold] = rankdata(rows.score[of_fold])
    return rank


def swap_contributions(first: Scored, second: Scored, *, equal: bool = False) -> np.ndarray:
    """Return what each group contributes to the difference of two AUROCs when the runs are swapped group by group.

    The scores of both runs are replaced by their ranks, within folds, so that they have a common scale. If the runs
    exchange their ranks for the groups with sign -1 and not for those with +1, the difference of their AUROCs is
    exactly sum of sign * contribution. With all signs +1 it is the observed difference.

    Args:
        first: Rows with the scores of a run.
        second: The same rows with the scores of another run.
        equal: See `auroc`.

    Returns:
        One number for each group. [shape=(groups,)]
    """
    weight, one, two = first.weight(equal), rank_scores(first), rank_scores(second)
    total = _won(first, first.positive, first.positive, weight).as_positive.sum()
    own, others = _won(first, one, one, weight), _won(first, two, two, weight)
    mixed, reverse = _won(first, one, two, weight), _won(first, two, one, weight)
    straight = own.both - others.both
    crossed = (mixed.as_positive - mixed.as_negative) - (reverse.as_positive - reverse.as_negative)
    return (straight + crossed) / (2 * total)


def _won(rows: Scored, of_positives: np.ndarray, of_negatives: np.ndarray, weight: np.ndarray) -> _Pairs:
    """Return the weight of the pairs, within folds, in which the positive has the higher score.

    Args:
        rows: The rows; their own scores are not used.
        of_positives: Score of each row if it is positive. [shape=(n,)]
        of_negatives: Score of each row if it is negative. [shape=(n,)]
        weight: Weight of each row. [shape=(n,)]
    """
    won = np.zeros(len(weight))
    for of_fold in rows.by_fold():
        positive, negative = np.flatnonzero(of_fold & rows.positive), np.flatnonzero(of_fold & ~rows.positive)
        high, low = of_positives[positive], of_negatives[negative]
        won[positive] = weight[positive] * _weight_below(high, low, weight[negative])
        won[negative] = weight[negative] * (weight[positive].sum() - _weight_below(low, high, weight[positive]))
    return _Pairs(rows.sums(won * rows.positive), rows.sums(won * ~rows.positive))


def _weight_below(values: np.ndarray, others: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the total weight of the others that are below each value; equal ones count half."""
    order = np.argsort(others, kind="stable")
    cumulated = np.concatenate([[0.0], np.cumsum(weight[order])])
    ordered = others[order]
    return (
        cumulated[np.searchsorted(ordered, values, "left")] + cumulated[np.searchsorted(ordered, values, "right")]
    ) / 2
