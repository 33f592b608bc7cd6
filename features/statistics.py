"""Statistical features: the distribution of the intensity, by value and by position in the cell."""

from __future__ import annotations

import cv2
import numpy as np

from leukobench.core.compiled import compiled
from leukobench.features.derivatives import gradient_and_laplacian
from leukobench.features.distribution import entropy_of, moments_of
from leukobench.features.prepared import PreparedCell, extent

MEDIAN_WINDOW = 16  # px
_BAND = 32
_BLOCK = 32


def intensity_distribution(cell: PreparedCell) -> dict[str, float]:
    """Compute moments and entropy of the intensity over the cell.

    - `statistics_mean`, grey levels; `statistics_variance`, squared grey levels
    - `statistics_skewness`, `statistics_kurtosis` (0 for a normal distribution); 0 if the intensity is constant
    - `statistics_entropy`: -sum p log2 p over the 256 grey values, bits
    """
    counts = cell.histogram(cell.settings.channel)
    moments = moments_of(np.arange(256.0), counts)
    return {
        "statistics_mean": moments.mean,
        "statistics_variance": moments.variance,
        "statistics_skewness": moments.skewness,
        "statistics_kurtosis": moments.kurtosis,
        "statistics_entropy": entropy_of(counts),
    }


def intensity_projections(cell: PreparedCell) -> dict[str, float]:
    """Compute moments of the projections of the intensity on both axes (Patel & Mishra 2015).

    The projections I(x) and I(y), column and row sums of the intensity over the cell, are weights of positions, px from
    the left and upper edge of the cell's bounding box:

    - `statistics_mean_x`, `_y`: intensity centroid, px
    - `statistics_variance_x`, `_y`: variance about it, px^2
    - `statistics_skewness_x`, `_y`: third central moment / variance^1.5; 0 if the variance is 0

    An intensity of 0 everywhere is treated as constant and positive.
    """
    moments = cv2.moments(cell.intensity)
    if moments["m00"] == 0:
        moments = cell.moments
    total = moments["m00"]
    values = {}
    for axis, first, second, third in (("x", "m10", "mu20", "mu30"), ("y", "m01", "mu02", "mu03")):
        variance = moments[second] / total
        spread = variance > 1e-9  # px^2; not a rounding error of a cell one pixel wide
        values[f"statistics_mean_{axis}"] = moments[first] / total
        values[f"statistics_variance_{axis}"] = variance if spread else 0.0
        values[f"statistics_skewness_{axis}"] = moments[third] / total / variance**1.5 if spread else 0.0
    return values


def median_filtered(cell: PreparedCell) -> dict[str, float]:
    """Compute the mean over the cell of its median filter (Patel & Mishra 2015).

    `statistics_median_filter_mean`, grey levels: the window is 16x16 px, from 8 px before to 7 px after the pixel.
    Background pixels are left out. The median of an even number of pixels is the upper of the middle two.
    """
    return {"statistics_median_filter_mean": _mean_of_medians(cell.intensity, cell.mask, MEDIAN_WINDOW)}


def gradient_distribution(cell: PreparedCell) -> dict[str, float]:
    """Compute moments of the gradient magnitude of the intensity, by central differences.

    `statistics_gradient_mean` (grey levels / px), `_variance`, `_skewness`, `_kurtosis`, over the pixels whose
    neighbours all lie in the cell; 0 if there are none.
    """
    gradient, _ = gradient_and_laplacian(cell.intensity, cell.mask, 0)
    return {
        "statistics_gradient_mean": gradient.mean,
        "statistics_gradient_variance": gradient.variance,
        "statistics_gradient_skewness": gradient.skewness,
        "statistics_gradient_kurtosis": gradient.kurtosis,
    }


@compiled
def _mean_of_medians(grey: np.ndarray, mask: np.ndarray, side: int) -> float:
    """Return the mean over a mask of the median of the mask's pixels in a window of side x side px; side at most 16.

    Each column of the window's height has a cumulative histogram: how many of its pixels are at most as bright as each
    value. A pixel that replaces another changes it between their two values only. The window's cumulative histogram is
    the sum of its columns. It slides by adding the column that enters and subtracting the one that leaves, and only a
    band of values around the median is kept, so that the cost per pixel does not depend on the window's size.

    Source: Perreault, S., & Hebert, P. (2007). Median filtering in constant time. IEEE Trans. Image Process. 16(9).
    """
    height, width = grey.shape
    before = side // 2
    after = side - before
    darkest, brightest = _range(grey, mask)
    values = brightest - darkest + 1
    none = values + _BAND  # code of no pixel; histograms are constant beyond the brightest value, so that bands fit in
    length = none + 32  # of a column's histogram; more than is used, so that blocks of two columns seldom overlap
    codes = np.full((side + height + after, width), np.uint16(none))
    _encode(codes[side : side + height], grey, mask, darkest)
    columns = np.zeros((width + side) * length + _BLOCK, np.uint8)  # of column c - before; empty outside the image
    window = np.zeros(_BAND, np.uint16)
    band = 0  # first value of the window's band
    total = 0
    cells = 0
    for row in range(1 - after, height):
        entering, leaving = codes[side + row + after - 1], codes[side + row - before - 1]
        for column in range(width):
            if entering[column] != leaving[column]:
                start = (column + before) * length
                _exchange(columns, start, np.int64(entering[column]), np.int64(leaving[column]))
        if row < 0:
            continue
        first, last = extent(mask[row])
        inside = np.int64(0)
        for column in range(first, first + side):
            inside += columns[column * length + values]
        _sum_columns(window, columns, first * length + band, length, side)
        for column in range(first, last + 1):
            enters = leaves = 0
            if column > first:
                enters, leaves = (column + side - 1) * length, (column - 1) * length
                inside += np.int64(columns[enters + values]) - np.int64(columns[leaves + values])
                enters, leaves = enters + band, leaves + band
            below = _slide(window, columns, enters, leaves, inside // 2)
            if mask[row, column]:
                while below == _BAND or (below == 0 and band > 0):  # the median is outside the band
                    band = min(max(0, band + below - _BAND // 2), values)
                    _sum_columns(window, columns, column * length + band, length, side)
                    below = _slide(window, columns, 0, 0, inside // 2)
                total += darkest + band + below
                cells += 1
    return total / cells


@compiled
def _encode(codes: np.ndarray, grey: np.ndarray, mask: np.ndarray, darkest: int) -> None:
    """Set the codes of the pixels of a mask: their values above the darkest."""
    for row in range(grey.shape[0]):
        for column in range(grey.shape[1]):
            if mask[row, column]:
                codes[row, column] = grey[row, column] - darkest


@compiled
def _exchange(columns: np.ndarray, start: int, new: int, old: int) -> None:
    """Replace a value by another in the cumulative histogram that begins at `start`."""
    for value in range(min(new, old), max(new, old), _BLOCK):
        at = np.uintp(start + value)
        added, removed = np.uint8(max(0, min(new - value, _BLOCK))), np.uint8(max(0, min(old - value, _BLOCK)))
        for k in range(_BLOCK):  # the type of every term is that of the histogram, so that the loop is vectorised
            change = np.uint8(np.uint8(k) >= added) - np.uint8(np.uint8(k) >= removed)
            columns[at + np.uintp(k)] += np.uint8(change)


@compiled
def _sum_columns(window: np.ndarray, columns: np.ndarray, start: int, length: int, side: int) -> None:
    """Sum a band of values of `side` histograms, which are `length` apart, from `start` on."""
    window[:] = 0
    for column in range(side):
        at = np.uintp(start + column * length)
        for k in range(_BAND):
            window[k] += columns[at + np.uintp(k)]


@compiled
def _slide(window: np.ndarray, columns: np.ndarray, entering: int, leaving: int, half: np.int64) -> np.int64:
    """Add one cumulative histogram and subtract another; return how many counts of the band are at most `half`."""
    enters, leaves, most = np.uintp(entering), np.uintp(leaving), np.uint16(half)
    below = np.uint16(0)
    for k in range(_BAND):
        count = np.uint16(window[k] + columns[enters + np.uintp(k)] - columns[leaves + np.uintp(k)])
        window[k] = count
        below = np.uint16(below + np.uint16(count <= most))  # in the type of the counts, so that 32 are added at a time
    return np.int64(below)


@compiled
def _range(grey: np.ndarray, mask: np.ndarray) -> tuple[np.int64, np.int64]:
    """Return the smallest and the largest value in a mask."""
    smallest, largest = np.int64(255), np.int64(0)
    for row in range(grey.shape[0]):
        for column in range(grey.shape[1]):
            if mask[row, column]:
                value = np.int64(grey[row, column])
                smallest = min(smallest, value)
                largest = max(largest, value)
    return smallest, largest
