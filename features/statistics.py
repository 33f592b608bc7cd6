"""Statistical features: the distribution of the intensity, by value and by position in the cell."""

from __future__ import annotations

import cv2
import numpy as np

from leukobench.core.compiled import compiled
from leukobench.features.derivatives import gradient_and_laplacian
from leukobench.features.distribution import entropy_of, moments_of
from leukobench.features.prepared import PreparedCell

MEDIAN_WINDOW = 16  # px


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
    """Return the mean over a mask of the median of the mask's pixels in a window of side x side px.

    Each column of the window's height has a histogram, and so has the window. The window slides by adding the histogram
    of the column that enters and subtracting that of the column that leaves, so that the cost per pixel does not depend
    on the window's size.

    Source: Perreault, S., & Hebert, P. (2007). Median filtering in constant time. IEEE Trans. Image Process. 16(9).
    """
    height, width = grey.shape
    before = side // 2
    after = side - before
    darkest, brightest = _range(grey, mask)
    values = (brightest - darkest + 16) // 16 * 16  # a multiple of 16 is faster
    columns = np.zeros((width + side, values), np.uint16)  # histogram of column c - before; empty outside the image
    occupied = np.zeros(width + side, np.int64)
    window = np.zeros(values, np.uint16)
    total = 0
    cells = 0
    for row in range(1 - after, height):
        entering, leaving = row + after - 1, row - before - 1
        if entering < height:
            for column in range(width):
                if mask[entering, column]:
                    columns[column + before, grey[entering, column] - darkest] += np.uint16(1)
                    occupied[column + before] += 1
        if leaving >= 0:
            for column in range(width):
                if mask[leaving, column]:
                    columns[column + before, grey[leaving, column] - darkest] -= np.uint16(1)
                    occupied[column + before] -= 1
        if row < 0:
            continue
        first, last = _extent(mask[row])
        window[:] = 0
        inside = median = below = 0  # `below` of the window's pixels are darker than `median`
        for column in range(first, first + side):
            window += columns[column]
            inside += occupied[column]
        for column in range(first, last + 1):
            if column > first:
                below += _slide(window, columns[column + side - 1], columns[column - 1], median)
                inside += occupied[column + side - 1] - occupied[column - 1]
            if mask[row, column]:
                while below + window[median] <= inside // 2:
                    below += window[median]
                    median += 1
                while below > inside // 2:
                    median -= 1
                    below -= window[median]
                total += darkest + median
                cells += 1
    return total / cells


@compiled
def _slide(window: np.ndarray, entering: np.ndarray, leaving: np.ndarray, median: int) -> np.int16:
    """Add one histogram and subtract another; return the change in the number of values below the median."""
    below = np.uint16(0)
    for value in range(len(window)):
        change = np.uint16(entering[value] - leaving[value])
        window[value] += change
        below += change if value < median else np.uint16(0)
    return np.int16(below)


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


@compiled
def _extent(row: np.ndarray) -> tuple[int, int]:
    """Return the first and the last nonzero column; (0, -1) if there is none."""
    first, last = 0, -1
    for column in range(len(row)):
        if row[column]:
            if last < 0:
                first = column
            last = column
    return first, last
