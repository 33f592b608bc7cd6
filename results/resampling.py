"""Resampling of subject groups: drawing the groups, and computing the AUROC of all resamples at once.

Cells of one subject are not independent observations. So whole subject groups are drawn, separately for each class.
Permutation importance and the comparison of runs both use these functions.
"""

from __future__ import annotations

import numpy as np


def positive_groups(positive: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return which groups are of the positive class: those with at least half of their rows. [shape=(groups,), bool]

    Args:
        positive: Which rows are positive. [shape=(n,), bool]
        group: Number of each row's group, counted from 0. [shape=(n,)]
    """
    return np.bincount(group, positive) * 2 >= np.bincount(group)


def draw_counts(positive: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw groups with replacement, as many of each class as exist, and count how often each was drawn.

    Args:
        positive: Which groups are of the positive class. [shape=(groups,), bool]
        resamples: Number of resamples.
        rng: Random generator.

    Returns:
        How often each group was drawn. [shape=(resamples, groups), float]
    """
    counts = np.zeros((resamples, len(positive)))
    for members in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        if len(members):
            counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), resamples)
    return counts


def pairwise_wins(score: np.ndarray, positive: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Count, for every two groups, the pairs in which a positive of one scores higher than a negative of the other.

    The sum over all groups, divided by the number of pairs, is the AUROC. With the groups weighted by how often each
    was drawn, it is the AUROC of a resample.

    Args:
        score: Score of each row. [shape=(n,)]
        positive: Which rows are positive. [shape=(n,), bool]
        group: Number of each row's group, counted from 0. [shape=(n,)]
        groups: Number of groups.

    Returns:
        Pairwise wins; a tie counts half. Row: group of the positive; column: group of the negative.
        [shape=(groups, groups)]
    """
    wins = np.zeros((groups, groups))
    positives, of_positive = score[positive], group[positive]
    negatives, of_negative = score[~positive], group[~positive]
    for number in np.unique(of_negative):
        beaten = np.sort(negatives[of_negative == number])
        won = (np.searchsorted(beaten, positives, "left") + np.searchsorted(beaten, positives, "right")) / 2
        wins[:, number] = np.bincount(of_positive, won, minlength=groups)
    return wins
