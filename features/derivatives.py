"""Gradient and Laplacian of an intensity at a scale, without the edge of the cell."""

from __future__ import annotations

import cv2
import numpy as np

from leukobench.core.compiled import compiled, compiled_sums
from leukobench.features.distribution import Moments, standardized
from leukobench.features.prepared import extent

REACH = 3  # standard deviations at which the Gaussian is truncated


def gradient_and_laplacian(intensity: np.ndarray, mask: np.ndarray, scale: int) -> tuple[Moments, Moments]:
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
    reach = REACH * scale
    block = np.ones((2 * reach + 3,) * 2, np.uint8)
    inside = cv2.erode(mask, block, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    smooth = intensity.astype(np.float64)
    if reach:
        smooth = _smoothed(smooth, inside, cv2.getGaussianKernel(2 * reach + 1, scale).ravel()[reach:])
    factor = float(scale or 1)
    gradient, laplacian = _derivative_moments(smooth, inside)
    mean, second, third, fourth = gradient * factor ** np.arange(1, 5)
    curvature = laplacian * factor ** (2 * np.arange(1, 5))
    return standardized(mean, second, third, fourth), standardized(*curvature)


@compiled
def _smoothed(values: np.ndarray, inside: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Smooth values along columns, then rows, where a pixel of a mask or a neighbour of it lies; 0 elsewhere.

    Rows are ranges of flat arrays: a slice as an argument would cost more than the work on a row.

    Args:
        values: [shape=(height, width), float64]
        inside: 1 inside; 0 within `len(weights)` px of the border of the image. [shape=(height, width), uint8]
        weights: Half of the symmetric filter, from its centre on. [shape=(reach + 1,); reach a multiple of 3]
    """
    height, width = values.shape
    reach = len(weights) - 1
    pixels, smooth = values.ravel(), np.zeros(height * width)
    along = np.empty(width)
    first, last = np.full(height, width), np.full(height, -1)
    for row in range(1, height - 1):
        start, end = extent(inside[row])
        for near in range(row - 1, row + 2 if end >= 0 else row - 1):
            first[near], last[near] = min(first[near], start - 1), max(last[near], end + 1)
    for row in range(height):
        if last[row] >= 0:
            number = last[row] + 1 - first[row]
            left = first[row] - reach
            _filter(along, left, pixels, row * width + left, width, weights, number + 2 * reach)
            _filter(smooth, row * width + first[row], along, first[row], 1, weights, number)
    return smooth.reshape(height, width)


@compiled
def _filter(
    out: np.ndarray, at: int, values: np.ndarray, start: int, step: int, weights: np.ndarray, number: int
) -> None:
    """Apply a symmetric filter to `number` values from `start` on; its taps are `step` apart."""
    to, centre, weight = np.uintp(at), np.uintp(start), weights[0]
    for i in range(np.uintp(number)):
        out[to + i] = weight * values[centre + i]
    for k in range(1, len(weights), 3):
        _add_three_pairs(out, at, values, start, step, weights, k, number)


@compiled
def _add_three_pairs(
    out: np.ndarray, at: int, values: np.ndarray, start: int, step: int, weights: np.ndarray, k: int, number: int
) -> None:
    """Add the weighted pairs of values k, k + 1 and k + 2 steps before and after.

    Three at a time, so that the output is read and written less often.
    """
    to = np.uintp(at)
    before_1, after_1 = np.uintp(start - k * step), np.uintp(start + k * step)
    before_2, after_2 = np.uintp(start - (k + 1) * step), np.uintp(start + (k + 1) * step)
    before_3, after_3 = np.uintp(start - (k + 2) * step), np.uintp(start + (k + 2) * step)
    weight_1, weight_2, weight_3 = weights[k], weights[k + 1], weights[k + 2]
    for i in range(np.uintp(number)):
        total = out[to + i] + weight_1 * (values[before_1 + i] + values[after_1 + i])
        total += weight_2 * (values[before_2 + i] + values[after_2 + i])
        out[to + i] = total + weight_3 * (values[before_3 + i] + values[after_3 + i])


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
    width = smooth.shape[1]
    values, counted = smooth.ravel(), inside.ravel()
    for row in range(1, smooth.shape[0] - 1, every):
        first, last = extent(inside[row])
        of_row = _sums_of_row(values, counted, row * width + first, width, last + 1 - first, gradient, laplacian)
        for k in range(len(sums)):
            sums[k] += of_row[k]
    return sums


@compiled_sums
def _sums_of_row(
    values: np.ndarray, inside: np.ndarray, start: int, width: int, number: int, gradient: float, laplacian: float
) -> tuple[float, float, float, float, float, float, float, float, float]:
    """Return the sums of `number` pixels of a row from `start` on, see `_sums_of_powers`."""
    centre, up, down = np.uintp(start), np.uintp(start - width), np.uintp(start + width)
    left, right = np.uintp(start - 1), np.uintp(start + 1)
    pixels = first = second = third = fourth = 0.0
    first_l = second_l = third_l = fourth_l = 0.0
    for i in range(np.uintp(max(0, number))):
        counts = np.float64(inside[centre + i])
        across, along = values[right + i] - values[left + i], values[down + i] - values[up + i]
        deviation = counts * (0.5 * np.sqrt(across * across + along * along) - gradient)
        square = deviation * deviation
        pixels += counts
        first += deviation
        second += square
        third += square * deviation
        fourth += square * square
        neighbours = values[left + i] + values[right + i] + values[up + i] + values[down + i]
        deviation = counts * (neighbours - 4 * values[centre + i] - laplacian)
        square = deviation * deviation
        first_l += deviation
        second_l += square
        third_l += square * deviation
        fourth_l += square * square
    return pixels, first, second, third, fourth, first_l, second_l, third_l, fourth_l
