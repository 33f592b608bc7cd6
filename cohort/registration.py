"""Register the textures of two cells: find the rotation, scale and shift under which they correlate best.

The textures are those of `leukobench.cells.fingerprints`. A point (u, v) of the first texture, measured from its
middle, is taken to the point

    (u', v') = exp(log_scale) R(angle) (u, v) + (right, down)

of the second, and the similarity is the correlation of both textures over the pixels where both show the cell. It is
maximised by Gauss-Newton steps on |first - gain * second(u', v') - offset|^2 over the four parameters of the transform
and over gain and offset, so that brightness and contrast do not count.

Source: the forward-additive algorithm of Lucas and Kanade, in Baker, S., & Matthews, I. (2004). Lucas-Kanade 20 years
on: a unifying framework. International Journal of Computer Vision, 56(3), 221-255, with a linear change of contrast as
in Evangelidis, G. D., & Psarakis, E. Z. (2008). Parametric image alignment using enhanced correlation coefficient
maximization. IEEE TPAMI, 30(10), 1858-1865.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed

from leukobench.cells.fingerprints import OUTSIDE
from leukobench.core.compiled import compiled, compiled_sums

_STEPS = 20  # at most
_FIRST_STEPS = 5  # on every second row and column; a pair that then correlates less than _HOPELESS is given up
_HOPELESS = 0.6
_SMALLEST_GAIN = 1e-4  # of similarity: less ends the search
_OVERLAP = 0.6  # of the smaller cell must be compared
# a step is limited to what the linear approximation can follow: log_scale, angle (radians), right and down (px)
_LARGEST_STEP = (0.1, 0.15, 3.0, 3.0)
_LARGEST_LOG_SCALE = 0.35  # both cells have the same area, so their scales differ by little
_BATCH = 64  # pairs that a thread registers at once


@dataclass(frozen=True)
class Registrations:
    """The registrations of pairs of textures; every attribute has one value for each pair.

    Attributes:
        similarity: Correlation over the pixels that both cells share, in [-1, 1]; -1 where the cells do not overlap.
        log_scale: Natural logarithm of the scale.
        angle: Angle, radians.
        right: Shift along the columns, px of the texture.
        down: Shift along the rows, px of the texture.
        mirrored: Whether the second texture was mirrored (left to right) first.
    """

    similarity: np.ndarray
    log_scale: np.ndarray
    angle: np.ndarray
    right: np.ndarray
    down: np.ndarray
    mirrored: np.ndarray


def register(
    textures: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    angle: np.ndarray,
    mirrored: np.ndarray,
    *,
    jobs: int = 1,
) -> Registrations:
    """Register pairs of textures.

    Args:
        textures: Textures, see `leukobench.cells.fingerprints.texture`. [shape=(n, side, side), int8]
        first: Number of the first texture of each pair.
        second: Number of the second texture of each pair.
        angle: Angle from which the search starts, radians.
        mirrored: Whether the second texture is mirrored first.
        jobs: Number of parallel threads.
    """

    def some(start: int) -> list[tuple[float, float, float, float, float]]:
        found = []
        for pair in range(start, min(start + _BATCH, len(first))):
            other = textures[second[pair]]
            other = np.ascontiguousarray(other[:, ::-1]) if mirrored[pair] else other
            found.append(_register(textures[first[pair]], other, angle[pair]))
        return found

    batches = Parallel(n_jobs=jobs, prefer="threads")(delayed(some)(start) for start in range(0, len(first), _BATCH))
    values = np.array([one for batch in batches for one in batch]).reshape(-1, 5)
    similarity, log_scale, last_angle, right, down = values.T
    return Registrations(similarity, log_scale, last_angle, right, down, np.asarray(mirrored))


@compiled
def _register(first: np.ndarray, second: np.ndarray, angle: float) -> tuple[float, float, float, float, float]:
    """Return the best similarity of two textures, and log_scale, angle, right and down of its transform."""
    fewest = _OVERLAP * min(np.sum(first != OUTSIDE), np.sum(second != OUTSIDE))
    change = np.array([0.0, angle, 0.0, 0.0, 1.0, 0.0])  # log_scale, angle, right, down, gain, offset
    best = (-1.0, 0.0, angle, 0.0, 0.0)
    squares, products = np.empty((6, 6)), np.empty(6)
    rows = np.empty((7, first.size))
    for step in range(_STEPS):
        stride = 2 if step < _FIRST_STEPS else 1
        number, similarity = _linearize(first, second, change, stride, rows, squares, products)
        if number * stride**2 < fewest or (step == _FIRST_STEPS and similarity < _HOPELESS):
            break
        improvement = similarity - best[0]
        if step >= _FIRST_STEPS and improvement > 0:
            best = (similarity, change[0], change[1], change[2], change[3])
            if improvement < _SMALLEST_GAIN:
                break
        for p in range(6):  # a little more on the diagonal, so that the equations have a solution
            squares[p, p] = squares[p, p] * (1 + 1e-6) + 1e-9
        steps = np.linalg.solve(squares, products)
        for p in range(4):
            steps[p] = min(max(steps[p], -_LARGEST_STEP[p]), _LARGEST_STEP[p])
        change += steps
        if abs(change[0]) > _LARGEST_LOG_SCALE:
            break
    return best


@compiled
def _linearize(
    first: np.ndarray,
    second: np.ndarray,
    change: np.ndarray,
    stride: int,
    rows: np.ndarray,
    squares: np.ndarray,
    products: np.ndarray,
) -> tuple[int, float]:
    """Fill in the normal equations of a Gauss-Newton step; return the number of compared pixels and their correlation.

    Args:
        first: The first texture.
        second: The second texture.
        change: log_scale, angle, right, down, gain, offset.
        stride: Distance of the compared rows and columns.
        rows: Filled with the columns of J and the first texture, one value for each compared pixel. [shape=(7, n)]
        squares: Filled with J'J of the Jacobian matrix J of the model. [shape=(6, 6)]
        products: Filled with J'r of the residuals r. [shape=(6,)]
    """
    log_scale, angle, right, down, gain, offset = change
    along, across = np.exp(log_scale) * np.cos(angle), np.exp(log_scale) * np.sin(angle)
    side, middle = first.shape[0], (first.shape[0] - 1) / 2
    number = 0
    for row in range(0, side, stride):
        for column in range(0, side, stride):
            if first[row, column] == OUTSIDE:
                continue
            turned_u = along * (column - middle) - across * (row - middle)
            turned_v = across * (column - middle) + along * (row - middle)
            x, y = turned_u + right + middle, turned_v + down + middle
            if x < 0 or y < 0 or x >= side - 1 or y >= side - 1:
                continue
            i, j = int(y), int(x)
            b00, b01, b10, b11 = second[i, j], second[i, j + 1], second[i + 1, j], second[i + 1, j + 1]
            if b00 == OUTSIDE or b01 == OUTSIDE or b10 == OUTSIDE or b11 == OUTSIDE:
                continue
            below, beside = y - i, x - j
            upper, lower = b00 + (b01 - b00) * beside, b10 + (b11 - b10) * beside
            a, b = float(first[row, column]), upper + (lower - upper) * below
            slope_x, slope_y = (b01 - b00) * (1 - below) + (b11 - b10) * below, lower - upper
            rows[0, number] = gain * (slope_x * turned_u + slope_y * turned_v)
            rows[1, number] = gain * (slope_y * turned_u - slope_x * turned_v)
            rows[2, number], rows[3, number] = gain * slope_x, gain * slope_y
            rows[4, number], rows[5, number], rows[6, number] = b, 1.0, a
            number += 1
    if number == 0:
        return 0, -1.0
    sums = _scalar_products(rows, number)
    squares[:] = sums[:6, :6]
    products[:] = sums[6, :6] - gain * sums[4, :6] - offset * sums[5, :6]  # J'r; r = a - gain b - offset
    sum_a, sum_b = sums[6, 5], sums[4, 5]
    variances = (sums[6, 6] - sum_a * sum_a / number) * (sums[4, 4] - sum_b * sum_b / number)
    return number, (sums[6, 4] - sum_a * sum_b / number) / np.sqrt(max(variances, 1e-9))


@compiled_sums
def _scalar_products(rows: np.ndarray, number: int) -> np.ndarray:
    """Return the scalar product of every two rows, over their first values."""
    products = np.empty((len(rows), len(rows)))
    for p in range(len(rows)):
        for q in range(p + 1):
            total = 0.0
            for i in range(number):
                total += rows[p, i] * rows[q, i]
            products[p, q] = products[q, p] = total
    return products
