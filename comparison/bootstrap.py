"""Intervals by resampling people: the cells of one subject are no independent observations."""

from __future__ import annotations

import numpy as np
import pandas as pd

from study.manifest import POSITIVE

RESAMPLES = 2000
LEVEL = 0.95
FEW_GROUPS = 10  # a class with fewer subject groups than this gives an interval that is not to be trusted


def group_weights(label: pd.Series, group: pd.Series, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Draw subject groups with replacement, class by class, as often as there are.

    A group is of the class that most of its rows have.

    Args:
        label: `all` or `hem` of each row.
        group: Subject group of each row.
        resamples: Number of resamples.
        seed: Equal seeds give equal resamples, which is what pairs two runs.

    Returns:
        How often each row counts in each resample. [shape=(resamples, n), int32]
    """
    rng = np.random.default_rng(seed)
    codes, groups = pd.factorize(group, sort=True)
    positive_share = np.bincount(codes, label == POSITIVE) / np.bincount(codes)
    counts = np.zeros((resamples, len(groups)), np.int32)
    for members in (np.flatnonzero(positive_share >= 0.5), np.flatnonzero(positive_share < 0.5)):
        if len(members):
            counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), resamples)
    return counts[:, codes]


def weighted_auroc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the AUROC under each row of weights: the chance that a positive outscores a negative, ties half.

    Args:
        positive: Which rows are positive. [shape=(n,), bool]
        score: [shape=(n,)]
        weights: [shape=(resamples, n)]

    Returns:
        [shape=(resamples,)], NaN where a resample lacks a class.
    """
    order = np.argsort(score, kind="stable")
    positive, weights = positive[order], weights[:, order].astype(float)
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))  # where each distinct score begins
    positives = np.add.reduceat(weights * positive, starts, axis=1)
    negatives = np.add.reduceat(weights * ~positive, starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    won = (positives * (below + negatives / 2)).sum(axis=1)
    return np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def interval(estimates: np.ndarray) -> tuple[float, float]:
    """Return the percentile interval of bootstrap estimates at the 95% level."""
    low, high = np.nanquantile(estimates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
