"""The least time that a step of feature extraction can take on this machine, from what its formulas need.

A step has three counts, taken from the pixels of the cell at hand:

- bytes: what it must read at least once, and the histograms that a sliding window reads and writes;
- operations: additions, multiplications, comparisons and roots of 64-bit floating-point numbers;
- updates: increments and decrements of a count at a place that a grey value gives, which no vector instruction does.

The rates of this machine are measured in the same run, each by the fastest of many short loops: the sum of an array of
48 KB, about the size of a cell; a polynomial of an array in the first cache; and the histogram of random bytes in four
banks. The floor is the largest of count / rate: a processor may do the three at the same time. A step reaches the share
floor / time. Geometry is counted as one reading of the mask, its contour as nothing. Fixed costs of a call, such as the
start of a function of OpenCV, are not in the floor, so that short steps reach a small share.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numba
import numpy as np

from leukobench.features import color, geometry, statistics, texture
from leukobench.features.derivatives import REACH
from leukobench.features.prepared import PreparedCell
from leukobench.features.settings import CHANNELS

_TERMS = 8  # of the polynomial
_MOMENTS = 28  # operations of gradient magnitude and Laplacian of a pixel, and of the sums of their four powers


@dataclass(frozen=True)
class Counts:
    """What a step needs."""

    bytes: float = 0
    operations: float = 0
    updates: float = 0


@dataclass(frozen=True)
class Rates:
    """What this machine does in a second."""

    bytes: float
    operations: float
    updates: float

    @classmethod
    def measured(cls) -> Rates:
        """Measure the rates."""
        random = np.random.default_rng(0)
        words, values = np.ones(6 * 1024, np.uint64), random.random(2 * 1024)
        grey = random.integers(0, 256, 48 * 1024).astype(np.uint8)
        return cls(
            words.nbytes / _fastest(lambda: _sum(words)),
            2 * _TERMS * len(values) / _fastest(lambda: _polynomial(values)),
            len(grey) / _fastest(lambda: _histogram(grey)),
        )

    def floor(self, counts: Counts) -> tuple[float, str]:
        """Return the least time, ms, and what takes it."""
        times = {name: 1e3 * getattr(counts, name) / getattr(self, name) for name in ("bytes", "operations", "updates")}
        bound = max(times, key=times.__getitem__)
        return times[bound], bound


def counts_of(measure: Callable[..., dict[str, float]], cell: PreparedCell) -> Counts:
    """Return what a measure of the feature catalogue needs for a cell."""
    pixels, box = cell.area, cell.mask.size
    if measure is texture.co_occurrence:
        return Counts(bytes=box, updates=4 * len(cell.settings.distances) * pixels)
    if measure is texture.local_entropy:  # a pixel enters and one leaves in each row of the disk
        return Counts(bytes=box, updates=2 * (2 * texture.ENTROPY_RADIUS + 1) * pixels)
    if measure is texture.local_binary_patterns:
        return Counts(bytes=box, operations=sum(_comparisons(n) * _inner(cell, r) for r, n in texture.PATTERNS.items()))
    if measure is texture.derivatives:
        filtered = ((3 * REACH * scale + 1, _inner(cell, REACH * scale + 1)) for scale in texture.SCALES)
        return Counts(bytes=box, operations=sum((2 * taps + _MOMENTS) * inner for taps, inner in filtered))
    if measure is statistics.gradient_distribution:
        return Counts(bytes=box, operations=_MOMENTS * _inner(cell, 1))
    if measure is statistics.median_filtered:  # two counts of the column's histogram; the window's band of 32 values
        return Counts(bytes=box + pixels * 32 * (1 + 1 + 2 + 2), updates=2 * pixels)
    if measure is color.channel_distribution:
        return Counts(bytes=3 * box, updates=len(CHANNELS) * pixels)
    if measure is color.mean_color:
        return Counts(bytes=3 * box, updates=3 * pixels)
    if measure is statistics.intensity_distribution:
        return Counts(bytes=box, updates=pixels)
    assert measure is statistics.intensity_projections or measure.__module__ == geometry.__name__, measure
    return Counts(bytes=box)


def _inner(cell: PreparedCell, margin: int) -> int:
    """Return the number of pixels that are at least `margin` px inside the cell."""
    block = np.ones((2 * margin + 1,) * 2, np.uint8)
    return cv2.countNonZero(cv2.erode(cell.mask, block, borderType=cv2.BORDER_CONSTANT, borderValue=0))


def _comparisons(neighbours: int) -> float:
    """Return the operations of a pixel's binary pattern.

    Four neighbours lie on pixels: a comparison of bytes. The others are interpolated between columns (3), subtracted
    from (1) and compared (1); the interpolation between rows (3) is shared by two.
    """
    return (neighbours - 4) * (5 + 3 / 2)


def _fastest(work: Callable[[], object], repeats: int = 300) -> float:
    """Return the time of the fastest call, s, after one that compiles."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(10):
            work()
        times.append((time.perf_counter() - start) / 10)
    return min(times)


@numba.njit
def _sum(words: np.ndarray) -> np.uint64:
    total = np.uint64(0)
    for i in range(len(words)):
        total += words[i]
    return total


@numba.njit
def _polynomial(values: np.ndarray) -> None:
    for i in range(len(values)):
        value = values[i]
        for _ in range(_TERMS):
            value = value * 0.5 + 0.25
        values[i] = value


@numba.njit
def _histogram(grey: np.ndarray) -> np.ndarray:
    counts = np.zeros((4, 256), np.int64)
    for i in range(len(grey)):
        counts[i % 4, grey[i]] += 1
    return counts
