"""Texture features: grey-level co-occurrence inside the cell (Haralick 1973), as the IBSI defines them."""

from __future__ import annotations

import numpy as np

from features.color import grey_levels
from study.cell import Cell

LEVELS = 64  # grey levels after quantising 0..255 in equal steps: 4 grey values each
DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))  # row and column steps: 0, 45, 90 and 135 degrees


def co_occurrence_matrices(
    grey: np.ndarray, mask: np.ndarray, *, levels: int = LEVELS, distance: int = 1
) -> np.ndarray:
    """Count which grey levels lie next to each other inside a mask.

    Grey values 0..255 are quantised in `levels` equal steps, the same for every image. Only pairs whose two pixels
    both lie in the mask count. Each matrix is made symmetric and scaled to sum 1; a direction without any pair stays
    zero.

    Args:
        grey: Grey values. [shape=(height, width), uint8]
        mask: Which pixels count. [shape=(height, width), bool]
        levels: Number of grey levels, a divisor of 256.
        distance: Steps between the pixels of a pair, px.

    Returns:
        One joint probability matrix a direction. [shape=(4, levels, levels)]
    """
    # the background gets a level of its own, cut off after counting: cheaper than picking the pairs first
    level = np.where(mask, grey // (256 // levels), levels).astype(np.intp)
    counts = np.empty((len(DIRECTIONS), levels, levels))
    for direction, (down, right) in enumerate(DIRECTIONS):
        first, second = _pairs(level, down * distance, right * distance)
        joint = np.bincount((first * (levels + 1) + second).ravel(), minlength=(levels + 1) ** 2)
        counts[direction] = joint.reshape(levels + 1, levels + 1)[:levels, :levels]
    counts += counts.transpose(0, 2, 1)
    total = counts.sum(axis=(1, 2), keepdims=True)
    return np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)


def texture_features(cell: Cell) -> dict[str, float]:
    """Compute five co-occurrence features of a cell's grey values, each the mean over four directions at 1 px.

    With the joint probability p(i, j) of grey levels 1..64 and marginal mean m and variance v:

    - `texture_entropy`: joint entropy, -sum p log2 p, bits
    - `texture_energy`: angular second moment, sum p^2
    - `texture_homogeneity`: inverse difference moment, sum p / (1 + (i - j)^2)
    - `texture_correlation`: sum (i - m)(j - m) p / v; 1 where the cell has a single grey level (v = 0)
    - `texture_contrast`: sum (i - j)^2 p, squared grey levels

    A cell of a single pixel has no pair: all are 0. Source: Haralick 1973, names and formulas of the Image Biomarker
    Standardisation Initiative (Zwanenburg 2020).
    """
    matrices = co_occurrence_matrices(grey_levels(cell.rgb), cell.mask)
    matrices = matrices[matrices.any(axis=(1, 2))]
    values = [_haralick(matrix) for matrix in matrices] or [np.zeros(5)]
    names = ("entropy", "energy", "homogeneity", "correlation", "contrast")
    return {f"texture_{name}": float(value) for name, value in zip(names, np.mean(values, axis=0), strict=True)}


def _pairs(level: np.ndarray, down: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the two views of an image that hold the first and the second pixel of each pair."""
    height, width = level.shape
    left = max(0, -right)
    first = level[: max(0, height - down), left : max(left, width - max(0, right))]
    second = level[down:, left + right :][: first.shape[0], : first.shape[1]]
    return first, second


def _haralick(joint: np.ndarray) -> np.ndarray:
    used = np.flatnonzero(joint.any(axis=1))  # dark cells use few of the levels
    joint = joint[np.ix_(used, used)]
    squared_difference = (used[:, None] - used[None, :]) ** 2
    marginal = joint.sum(axis=1)
    deviation = used - marginal @ used
    variance = marginal @ deviation**2
    seen = joint[joint > 0]
    return np.array(
        [
            -(seen * np.log2(seen)).sum(),
            (seen**2).sum(),
            (joint / (1 + squared_difference)).sum(),
            deviation @ joint @ deviation / variance if len(used) > 1 else 1.0,
            (joint * squared_difference).sum(),
        ]
    )
