"""Resampling people: which subject groups are drawn, and what an AUROC needs to follow every draw at once.

Cells of one person are no independent observations, so whole subject groups are drawn, class by class. The importance
of features and the comparison of runs both stand on this.
"""

from __future__ import annotations

import numpy as np


def positive_groups(positive: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Tell which groups are of the positive class: at least half of their rows are. [shape=(groups,), bool]

    Args:
        positive: Which rows are positive. [shape=(n,), bool]
        group: Number of each row's group, from 0 on. [shape=(n,)]
    """
    return np.bincount(group, positive) * 2 >= np.bincount(group)


def draw_counts(positive: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw groups with replacement, as many of each class as there are; return how often each was drawn.

    Args:
        positive: Class of each group. [shape=(groups,), bool]
        resamples: Number of draws.
        rng: Random generator.

    Returns:
        [shape=(resamples, groups), float]
    """
    counts = np.zeros((resamples, len(positive)))
    for members in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        if len(members):
            counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), resamples)
    return counts


def wins(score: np.ndarray, positive: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Count, for every two groups, the pairs in which a positive of one outscores a negative of the other.

    The sum over all groups, divided by the number of pairs, is the AUROC; with the groups weighted by how often each
    was drawn, that of a resample.

    Args:
        score: [shape=(n,)]
        positive: [shape=(n,), bool]
        group: Number of each row's group, from 0 on. [shape=(n,)]
        groups: How many groups there are.

    Returns:
        Ties count half. Rows: group of the positive; columns: group of the negative. [shape=(groups, groups)]
    """
    counted = np.zeros((groups, groups))
    positives, of_positive = score[positive], group[positive]
    negatives, of_negative = score[~positive], group[~positive]
    for number in np.unique(of_negative):
        beaten = np.sort(negatives[of_negative == number])
        won = (np.searchsorted(beaten, positives, "left") + np.searchsorted(beaten, positives, "right")) / 2
        counted[:, number] = np.bincount(of_positive, won, minlength=groups)
    return counted
