"""Moments, percentiles and entropy of the values inside a cell, by histogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PERCENTILES = (10, 25, 50, 75, 90)


@dataclass(frozen=True)
class Moments:
    """The first four moments of a distribution.

    Attributes:
        mean: First moment.
        variance: Second central moment, of the population (divided by n).
        skewness: Third central moment / variance^1.5; 0 where the variance is 0.
        kurtosis: Fourth central moment / variance^2 - 3, 0 for a normal distribution; 0 where the variance is 0.
    """

    mean: float
    variance: float
    skewness: float
    kurtosis: float

    @property
    def deviation(self) -> float:
        """Standard deviation."""
        return self.variance**0.5


def moments_of(values: np.ndarray, counts: np.ndarray) -> Moments:
    """Compute the moments of values with their counts; all 0 if every count is 0. [shapes=(n,), (n,)]"""
    total = counts.sum()
    if total == 0:
        return Moments(0.0, 0.0, 0.0, 0.0)
    mean = counts @ values / total
    deviation = values - mean
    square = deviation * deviation
    weighted = counts * square
    return standardized(mean, weighted.sum() / total, weighted @ deviation / total, weighted @ square / total)


def standardized(mean: float, second: float, third: float, fourth: float) -> Moments:
    """Return the moments of a distribution from its mean and its central moments 2 to 4."""
    if second <= 1e-12 * max(1.0, mean * mean):  # a constant, up to rounding errors
        return Moments(float(mean), 0.0, 0.0, 0.0)
    return Moments(float(mean), float(second), float(third / second**1.5), float(fourth / second**2 - 3))


def percentiles_of(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Compute `PERCENTILES` of ascending values with their counts, with NumPy's linear interpolation.

    All 0 if every count is 0. [shapes=(n,), (n,) -> (5,)]
    """
    cumulated = np.cumsum(counts)
    if cumulated[-1] == 0:
        return np.zeros(len(PERCENTILES))
    rank = (cumulated[-1] - 1) * np.array(PERCENTILES) / 100
    below = np.floor(rank)
    low, high = (values[np.searchsorted(cumulated, at, side="right")] for at in (below, np.ceil(rank)))
    return low + (high - low) * (rank - below)


def entropy_of(counts: np.ndarray) -> float:
    """Return the Shannon entropy -sum p log2 p of a histogram, bits; 0 if every count is 0. [shape=(n,)]"""
    seen = counts[counts > 0]
    total = seen.sum()
    return float(np.log2(total) - seen @ np.log2(seen) / total) if total else 0.0
