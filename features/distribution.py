"""Moments, percentiles and entropy of the values inside a cell, by histogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leukobench.core.compiled import compiled

PERCENTILES = (10, 25, 50, 75, 90)
_SHARES = np.array(PERCENTILES, float)


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
    return standardized(*_central_moments(values, counts))


@compiled
def _central_moments(values: np.ndarray, counts: np.ndarray) -> tuple[float, float, float, float]:
    """Return mean and central moments 2 to 4 of values with their counts; all 0 if every count is 0."""
    total = counts.sum()
    if total == 0:
        return 0.0, 0.0, 0.0, 0.0
    mean = (values * counts).sum() / total
    second = third = fourth = 0.0
    for i in range(len(values)):
        deviation = values[i] - mean
        weighted = counts[i] * deviation * deviation
        second += weighted
        third += weighted * deviation
        fourth += weighted * deviation * deviation
    return mean, second / total, third / total, fourth / total


def standardized(mean: float, second: float, third: float, fourth: float) -> Moments:
    """Return the moments of a distribution from its mean and its central moments 2 to 4."""
    if second <= 1e-12 * max(1.0, mean * mean):  # a constant, up to rounding errors
        return Moments(float(mean), 0.0, 0.0, 0.0)
    return Moments(float(mean), float(second), float(third / second**1.5), float(fourth / second**2 - 3))


def percentiles_of(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Compute `PERCENTILES` of ascending values with their counts, with NumPy's linear interpolation.

    All 0 if every count is 0. [shapes=(n,), (n,) -> (5,)]
    """
    return _percentiles(values, counts, _SHARES)


@compiled
def _percentiles(values: np.ndarray, counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Interpolate between the values at the ranks below and above each share of the counts. [shape=shares.shape]"""
    cumulated = np.cumsum(counts)
    found = np.zeros(len(shares))
    if cumulated[-1] == 0:
        return found
    for i in range(len(shares)):
        rank = (cumulated[-1] - 1) * shares[i] / 100
        below = np.floor(rank)
        low = values[np.searchsorted(cumulated, below, side="right")]
        high = values[np.searchsorted(cumulated, np.ceil(rank), side="right")]
        found[i] = low + (high - low) * (rank - below)
    return found


def entropy_of(counts: np.ndarray) -> float:
    """Return the Shannon entropy -sum p log2 p of a histogram, bits; 0 if every count is 0. [shape=(n,)]"""
    seen = counts[counts > 0]
    total = seen.sum()
    return float(np.log2(total) - seen @ np.log2(seen) / total) if total else 0.0
