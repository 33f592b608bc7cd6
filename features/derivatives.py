"""Gradient and Laplacian of an intensity at a scale, without the edge of the cell."""

from __future__ import annotations

import cv2
import numpy as np

from leukobench.core.compiled import compiled, compiled_sums
from leukobench.features.distribution import Moments, standardized
from leukobench.features.prepared import extent

REACH = 3  # standard deviations at which the Gaussian is truncated


def gradient_and_laplacian(intensity: np.ndarray, mask: np.ndarray, scale: float) -> tuple[Moments, Moments]:
    """Compute the moments of the gradient magnitude and the Laplacian of an intensity smoothed by a Gaussian.

    With s the scale and S the smoothed intensity: s |grad S| and s^2 laplace S (Lindeberg's normalisation; factor 1 at
    scale 0), by central differences. A pixel counts only if the Gaussian to three standard deviations and the
    neighbours lie in the mask, because the edge of the cell does not belong to its texture.

    Args:
        intensity: [shape=(height, width), uint8]
        mask: 1 inside. [shape=(height, width), uint8]
        scale: Standard deviation of the Gaussian, px; 0: no smoothing.

    Returns:
        The moments of s |grad S| and of s^2 laplace S; all 0 if no pixel counts.

    Source: Lindeberg, T. (1998). Feature detection with automatic scale selection. Int. J. Comput. Vis. 30(2).
    """
    reach = int(np.ceil(REACH * scale))
    block = np.ones((2 * reach + 3,) * 2, np.uint8)
    inside = cv2.erode(mask, block, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    smooth = intensity.astype(np.float64)
    if reach:
        smooth = _smoothed(smooth, inside, cv2.getGaussianKernel(2 * reach + 1, scale).ravel()[reach:])
    factor = scale or 1.0
    gradient, laplacian = _derivative_moments(smooth, inside)
    mean, second, third, fourth = gradient * factor ** np.arange(1, 5)
    curvature = laplacian * factor ** (2 * np.arange(1, 5))
    return standardized(mean, second, third, fourth), standardized(*curvature)


@compiled
def _smoothed(values: np.ndarray, inside: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Smooth values along columns, then rows, where a pixel of a mask or a neighbour of it lies; 0 elsewhere.

    Args:
        values: [shape=(height, width), float64]
        inside: 1 inside; 0 within `len(weights)` px of the border of the image. [shape=(height, width), uint8]
        weights: Half of the symmetric filter, from its centre on. [shape=(reach + 1,)]
    """
    height, width = values.shape
    reach = len(weights) - 1
    smooth = np.zeros((height, width))
    along = np.empty(width)
    first, last = np.full(height, width), np.full(height, -1)
    for row in range(1, height - 1):
        start, end = extent(inside[row])
        for near in range(row - 1, row + 2 if end >= 0 else row - 1):
            first[near], last[near] = min(first[near], start - 1), max(last[near], end + 1)
    for row in range(height):
        if last[row] >= 0:
            start, end = first[row], last[row] + 1
            left, right = start - reach, end + reach
            _scale(along[left:right], values[row, left:right], weights[0])
            for k in range(1, reach + 1):
                _add_pair(along[left:right], values[row - k, left:right], values[row + k, left:right], weights[k])
            _scale(smooth[row, start:end], along[start:end], weights[0])
            for k in range(1, reach + 1):
                _add_pair(smooth[row, start:end], along[start - k : end - k], along[start + k : end + k], weights[k])
    return smooth


@compiled
def _scale(out: np.ndarray, values: np.ndarray, weight: float) -> None:
    """Set a row to another, times a weight."""
    for i in range(len(out)):
        out[i] = weight * values[i]


@compiled
def _add_pair(out: np.ndarray, before: np.ndarray, after: np.ndarray, weight: float) -> None:
    """Add two rows to a row, times a weight."""
    for i in range(len(out)):
        out[i] += weight * (before[i] + after[i])


@compiled
def _derivative_moments(smooth: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and central moments 2 to 4 of gradient magnitude and Laplacian over a mask. [shapes=(4,), (4,)]

    They come from the sums of powers of the deviations from an estimate of the mean, that of every eighth row: one pass
    without storing the values, and without the cancellation of powers of the values themselves.
    """
    sampled = _sums_of_powers(smooth, inside, 0.0, 0.0, 8)
    if sampled[0] == 0:
        sampled = _sums_of_powers(smooth, inside, 0.0, 0.0, 1)
    if sampled[0] == 0:
        return np.zeros(4), np.zeros(4)
    gradient, laplacian = sampled[1] / sampled[0], sampled[5] / sampled[0]
    sums = _sums_of_powers(smooth, inside, gradient, laplacian, 1)
    return _central_moments(gradient, sums[1:5] / sums[0]), _central_moments(laplacian, sums[5:] / sums[0])


@compiled
def _central_moments(origin: float, moments: np.ndarray) -> np.ndarray:
    """Return mean and central moments 2 to 4 from the moments 1 to 4 about an origin. [shape=(4,)]"""
    first, second, third, fourth = moments[0], moments[1], moments[2], moments[3]
    return np.array(
        [
            origin + first,
            second - first**2,
            third - 3 * first * second + 2 * first**3,
            fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4,
        ]
    )


@compiled
def _sums_of_powers(
    smooth: np.ndarray, inside: np.ndarray, gradient: float, laplacian: float, every: int
) -> np.ndarray:
    """Sum powers 1 to 4 of the deviations of gradient magnitude and Laplacian from two values over a mask.

    Args:
        smooth: [shape=(height, width), float64]
        inside: 1 inside; 0 at the border of the image. [shape=(height, width), uint8]
        gradient: Origin of the gradient magnitude.
        laplacian: Origin of the Laplacian.
        every: Distance of the rows that count.

    Returns:
        Number of pixels, four sums for the gradient magnitude, four for the Laplacian. [shape=(9,)]
    """
    sums = np.zeros(9)
    for row in range(1, smooth.shape[0] - 1, every):
        first, last = extent(inside[row])
        if last < 0:
            continue
        end = last + 1
        of_row = _sums_of_row(
            smooth[row - 1, first:end],
            smooth[row + 1, first:end],
            smooth[row, first - 1 : end - 1],
            smooth[row, first + 1 : end + 1],
            smooth[row, first:end],
            inside[row, first:end],
            gradient,
            laplacian,
        )
        for k in range(len(sums)):
            sums[k] += of_row[k]
    return sums


@compiled_sums
def _sums_of_row(
    up: np.ndarray,
    down: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    centre: np.ndarray,
    inside: np.ndarray,
    gradient: float,
    laplacian: float,
) -> tuple[float, float, float, float, float, float, float, float, float]:
    """Return the sums of a row of pixels, see `_sums_of_powers`."""
    number = first = second = third = fourth = 0.0
    first_l = second_l = third_l = fourth_l = 0.0
    for i in range(len(centre)):
        counts = np.float64(inside[i])
        across, along = right[i] - left[i], down[i] - up[i]
        deviation = counts * (0.5 * np.sqrt(across * across + along * along) - gradient)
        square = deviation * deviation
        number += counts
        first += deviation
        second += square
        third += square * deviation
        fourth += square * square
        deviation = counts * (left[i] + right[i] + up[i] + down[i] - 4 * centre[i] - laplacian)
        square = deviation * deviation
        first_l += deviation
        second_l += square
        third_l += square * deviation
        fourth_l += square * square
    return number, first, second, third, fourth, first_l, second_l, third_l, fourth_l
