"""Gradient and Laplacian of an intensity at a scale, without the edge of the cell."""

from __future__ import annotations

import cv2
import numpy as np

from leukobench.core.compiled import compiled
from leukobench.features.distribution import Moments, standardized

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
    smooth = intensity.astype(np.float64)
    if reach:
        smooth = np.asarray(cv2.GaussianBlur(smooth, (2 * reach + 1,) * 2, scale))
    block = np.ones((2 * reach + 3,) * 2, np.uint8)
    inside = cv2.erode(mask, block, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    factor = scale or 1.0
    gradient, laplacian = _derivative_moments(smooth, inside)
    mean, second, third, fourth = gradient * factor ** np.arange(1, 5)
    curvature = laplacian * factor ** (2 * np.arange(1, 5))
    return standardized(mean, second, third, fourth), standardized(*curvature)


@compiled
def _derivative_moments(smooth: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and central moments 2 to 4 of gradient magnitude and Laplacian over a mask. [shapes=(4,), (4,)]"""
    height, width = smooth.shape
    values = np.empty((2, height * width))
    count = 0
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            if inside[row, column]:
                left, right = smooth[row, column - 1], smooth[row, column + 1]
                up, down = smooth[row - 1, column], smooth[row + 1, column]
                values[0, count] = 0.5 * np.sqrt((right - left) ** 2 + (down - up) ** 2)
                values[1, count] = left + right + up + down - 4 * smooth[row, column]
                count += 1
    return _central_moments(values[0, :count]), _central_moments(values[1, :count])


@compiled
def _central_moments(values: np.ndarray) -> np.ndarray:
    """Return mean and central moments 2 to 4; all 0 without values. [shape=(4,)]"""
    moments = np.zeros(4)
    if len(values) == 0:
        return moments
    mean = values.mean()
    second = third = fourth = 0.0
    for value in values:
        deviation = value - mean
        square = deviation * deviation
        second += square
        third += square * deviation
        fourth += square * square
    moments[0] = mean
    moments[1:] = np.array([second, third, fourth]) / len(values)
    return moments
