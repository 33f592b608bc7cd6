"""Texture features: co-occurrence, local entropy, local binary patterns, derivatives at several scales."""

from __future__ import annotations

import cv2
import numpy as np

from leukobench.core.compiled import compiled
from leukobench.features.derivatives import gradient_and_laplacian
from leukobench.features.haralick import MEASURES, haralick_measures
from leukobench.features.prepared import PreparedCell, extent

ENTROPY_RADIUS = 5  # px
PATTERNS = {1: 8, 2: 16}  # radius of the circle of neighbours, px -> their number
SCALES = (1, 2, 4)  # px
_OUTSIDE = 256  # code of the pixels outside the cell, beside the 256 grey values
_VALUES = 257
_ROWS = 4  # whose histograms are kept side by side
_NUMBER = len(MEASURES)
_SECOND_MOMENT = list(MEASURES).index("angular_second_moment")


def co_occurrence_matrices(
    levels: np.ndarray, number: int, distances: tuple[int, ...] = (1,), *, symmetric: bool = True
) -> np.ndarray:
    """Count the pairs of grey levels of neighbouring pixels inside a cell.

    Both pixels of a pair must lie in the cell. The second pixel of a pair lies `distance` steps along a
    row, a diagonal, a column or the other diagonal from the first: in directions of 0, 45, 90 and 135 degrees from the
    row down.

    Args:
        levels: Grey levels from 0; `number` for the background. [shape=(height, width), uint16]
        number: Number of grey levels.
        distances: Distances between the pixels of a pair, px.
        symmetric: Whether each pair counts in both orders.

    Returns:
        Counts, a matrix for each distance and direction. [shape=(distances, 4, number, number), int64]

    Source: Haralick, R. M., Shanmugam, K., & Dinstein, I. (1973). Textural features for image classification. IEEE
    Trans. Syst. Man Cybern. SMC-3(6).
    """
    counts = np.stack([_count_pairs(levels, number, distance) for distance in distances], dtype=np.int64)
    return counts + counts.swapaxes(-1, -2) if symmetric else counts


def co_occurrence(cell: PreparedCell) -> dict[str, float]:
    """Compute the co-occurrence features of the Image Biomarker Standardisation Initiative.

    See `leukobench.features.haralick` for the formulas. `texture_{name}_d{distance}` is the mean over the four
    directions, `..._range` the largest minus the smallest value. Directions without a pair are left out; all features
    of a cell without any pair are 0.

    `texture_energy_d{distance}` is the mean of the square root of the angular second moment, which scikit-image's
    `graycoprops` calls energy.
    """
    settings = cell.settings
    values = {}
    for distance in settings.distances:
        matrices = co_occurrence_matrices(cell.levels, settings.levels, (distance,))[0]
        means, ranges, energy = _mean_and_range(matrices)
        for name, mean, spread in zip(MEASURES, means.tolist(), ranges.tolist(), strict=True):
            values[f"texture_{name}_d{distance}"] = mean
            values[f"texture_{name}_d{distance}_range"] = spread
        values[f"texture_energy_d{distance}"] = energy
    return values


def local_entropy(cell: PreparedCell) -> dict[str, float]:
    """Compute the mean over the cell of the local entropy around each pixel.

    `texture_local_entropy`: -sum p log2 p of the 256 grey values in a disk of radius 5 px, bits; background
    pixels are left out.
    """
    return {"texture_local_entropy": _mean_local_entropy(cell.intensity, cell.mask, _half_widths(ENTROPY_RADIUS))}


def local_binary_patterns(cell: PreparedCell) -> dict[str, float]:
    """Compute the histogram of rotation-invariant uniform local binary patterns.

    `texture_lbp_r{radius}_{bin}`: a pixel has N neighbours on a circle (8 at 1 px, 16 at 2 px, interpolated between
    pixels). In bin b, the b neighbours that are at least as bright as the pixel form one run; the last bin, N + 1, has
    all other patterns. Values are shares of the pixels whose neighbours all lie in the cell; 0 if there are none.

    Source: Ojala, T., Pietikainen, M., & Maenpaa, T. (2002). Multiresolution gray-scale and rotation invariant
    texture classification with local binary patterns. IEEE Trans. Pattern Anal. Mach. Intell. 24(7).
    """
    values: dict[str, float] = {}
    for radius, neighbours in PATTERNS.items():
        block = np.ones((2 * radius + 1,) * 2, np.uint8)
        inside = cv2.erode(cell.mask, block, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        counts = _count_patterns(cell.intensity, inside, _circle(radius, neighbours))
        shares = counts / max(1, counts.sum())
        values |= {f"texture_lbp_r{radius}_{pattern}": share for pattern, share in enumerate(shares)}
    return values


def derivatives(cell: PreparedCell) -> dict[str, float]:
    """Compute moments of gradient and Laplacian at scales of 1, 2 and 4 px, see `leukobench.features.derivatives`.

    `texture_gradient_s{scale}_{mean,std,skewness,kurtosis}` and `texture_laplacian_s{scale}_...`, grey levels for mean
    and standard deviation; 0 if the cell is too small for the scale.
    """
    values = {}
    for scale in SCALES:
        for name, moments in zip(
            ("gradient", "laplacian"), gradient_and_laplacian(cell.intensity, cell.mask, scale), strict=True
        ):
            prefix = f"texture_{name}_s{scale}"
            values[f"{prefix}_mean"] = moments.mean
            values[f"{prefix}_std"] = moments.deviation
            values[f"{prefix}_skewness"] = moments.skewness
            values[f"{prefix}_kurtosis"] = moments.kurtosis
    return values


@compiled
def _mean_and_range(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return mean and range of `MEASURES` over the directions that have pairs, and the mean energy."""
    measured = np.zeros((4, _NUMBER))
    directions = 0
    for matrix in matrices:
        if matrix.any():
            measured[directions] = haralick_measures(matrix)
            directions += 1
    measured = measured[: max(1, directions)]
    means, ranges = np.empty(_NUMBER), np.empty(_NUMBER)
    for i in range(_NUMBER):
        means[i], ranges[i] = measured[:, i].mean(), measured[:, i].max() - measured[:, i].min()
    return means, ranges, np.sqrt(measured[:, _SECOND_MOMENT]).mean()


@compiled
def _count_pairs(levels: np.ndarray, number: int, distance: int) -> np.ndarray:
    """Count the pairs of levels in four directions. [shape=(4, number, number)]

    A margin of background avoids tests for the image border; pairs with background are counted, and cut off at the end.
    """
    height, width = levels.shape
    stride, side = width + 2 * distance, number + 1
    framed = np.full((height + distance, stride), np.uint16(number))
    framed[:height, distance : distance + width] = levels
    flat, counts = framed.ravel(), np.zeros(4 * side * side, np.int32)
    right, below, matrix = np.uintp(distance), np.uintp(distance * stride), np.uintp(side * side)
    for place in range(right, np.uintp(height * stride) - right):
        level = flat[place]
        if level != number:
            row = np.uintp(level) * np.uintp(side)
            counts[row + np.uintp(flat[place + right])] += 1
            counts[matrix + row + np.uintp(flat[place + below + right])] += 1
            counts[matrix + matrix + row + np.uintp(flat[place + below])] += 1
            counts[matrix + matrix + matrix + row + np.uintp(flat[place + below - right])] += 1
    return counts.reshape(4, side, side)[:, :number, :number]


def _half_widths(radius: int) -> np.ndarray:
    """Return half the width of a disk, px, for each of its rows from -radius to radius."""
    rows = np.arange(-radius, radius + 1)
    return np.floor(np.sqrt(radius**2 - rows**2)).astype(np.int64)


@compiled
def _mean_local_entropy(grey: np.ndarray, mask: np.ndarray, half_widths: np.ndarray) -> float:
    """Return the mean over a mask of the entropy, bits, of the grey values of the mask within a disk.

    The disk slides along the row: with n pixels and S = sum c log2 c over the histogram's counts c, the entropy is
    log2 n - S / n, and a pixel that enters or leaves changes one count. S is an integer, in units of 2^-40 bits:
    integers are added faster than floating-point numbers, and without rounding errors. Pixels outside the mask have a
    count of their own, which is subtracted at the end. The disks of `_ROWS` rows slide side by side, because a
    change of a count has to wait for the one before in the same histogram.
    """
    height, width = grey.shape
    reach = len(half_widths)
    radius = reach // 2
    area = 2 * half_widths.sum() + reach
    logarithm = np.log2(np.arange(area + 2).astype(np.float64))
    logarithm[0] = 0.0
    c_log_c = np.rint(2.0**40 * np.arange(area + 2) * logarithm).astype(np.int64)
    gain = np.diff(c_log_c)  # from c to c + 1
    framed, inside = _framed(grey, mask, radius)
    stride = width + 2 * radius + 1
    # of each row of the disk around the pixel 0: the last pixel on the left that is outside, and the last inside
    leaving = np.arange(reach) * stride + radius - half_widths
    entering = leaving + 2 * half_widths + 1
    histograms = np.zeros(_ROWS * _VALUES, np.int64)
    weighted = np.zeros(_ROWS, np.int64)
    total = 0.0
    for row in range(0, height, _ROWS):
        first, last = _common_extent(inside, row)
        start = row * stride + first
        _fill(histograms, weighted, framed, start, stride, leaving, entering, gain)
        for column in range(first, last + 1):
            _slide(histograms, weighted, framed, start + column - first, stride, leaving, entering, gain)
            for j in range(_ROWS):
                if inside[row + j, column]:
                    outside = histograms[j * _VALUES + _OUTSIDE]
                    number = area - outside
                    total += logarithm[number] - (weighted[j] - c_log_c[outside]) / 2.0**40 / number
    return total / inside.sum()


@compiled
def _framed(grey: np.ndarray, mask: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of a mask row after row, `_OUTSIDE` outside the mask; and the mask. [uint16, bool]

    The values have a margin of `radius` px, and one more on the left. Both have `_ROWS` more rows, outside.
    """
    height, width = grey.shape
    framed = np.full((height + 2 * radius + _ROWS, width + 2 * radius + 1), np.uint16(_OUTSIDE))
    inside = np.zeros((height + _ROWS, width), np.bool_)
    for row in range(height):
        for column in range(width):
            if mask[row, column]:
                framed[row + radius, column + radius + 1] = grey[row, column]
                inside[row, column] = True
    return framed.reshape(-1), inside


@compiled
def _common_extent(inside: np.ndarray, row: int) -> tuple[int, int]:
    """Return the first and the last column of a mask in `_ROWS` rows."""
    first, last = inside.shape[1], -1
    for j in range(_ROWS):
        start, end = extent(inside[row + j])
        if end >= 0:
            first, last = min(first, start), max(last, end)
    return (first, last) if last >= 0 else (0, -1)


@compiled
def _fill(
    histograms: np.ndarray,
    weighted: np.ndarray,
    framed: np.ndarray,
    start: int,
    stride: int,
    leaving: np.ndarray,
    entering: np.ndarray,
    gain: np.ndarray,
) -> None:
    """Set the histograms of the disks around the pixels before `start` and below it, and their sums of c log c."""
    histograms[:] = 0
    weighted[:] = 0
    for j in range(_ROWS):
        for k in range(len(leaving)):
            for place in range(start + j * stride + leaving[k], start + j * stride + entering[k]):
                value = j * _VALUES + np.int64(framed[place])
                weighted[j] += gain[histograms[value]]
                histograms[value] += 1


@compiled
def _slide(
    histograms: np.ndarray,
    weighted: np.ndarray,
    framed: np.ndarray,
    start: int,
    stride: int,
    leaving: np.ndarray,
    entering: np.ndarray,
    gain: np.ndarray,
) -> None:
    """Move the disks of `_ROWS` rows by one pixel, to `start` and below it."""
    for k in range(len(leaving)):
        for j in range(_ROWS):
            row = start + j * stride
            added = np.uintp(framed[np.uintp(row + entering[k])]) + np.uintp(j * _VALUES)
            removed = np.uintp(framed[np.uintp(row + leaving[k])]) + np.uintp(j * _VALUES)
            fewer = histograms[removed] - 1
            histograms[removed] = fewer
            count = histograms[added]
            histograms[added] = count + 1
            weighted[j] += gain[np.uintp(count)] - gain[np.uintp(fewer)]


def _circle(radius: int, neighbours: int) -> np.ndarray:
    """Return the neighbours on a circle, down and to the right of its centre, px. [shape=(neighbours, 2)]"""
    angle = 2 * np.pi * np.arange(neighbours) / neighbours
    return np.round(radius * np.stack([-np.sin(angle), np.cos(angle)], axis=1), 5)


@compiled
def _count_patterns(grey: np.ndarray, inside: np.ndarray, circle: np.ndarray) -> np.ndarray:
    """Count the rotation-invariant uniform patterns of the pixels of a mask, row by row. [shape=(neighbours + 2,)]

    Rows are ranges of flat arrays: a slice as an argument would cost more than the work on a row. Two neighbours that
    mirror each other lie between the same rows of pixels, which are interpolated once.
    """
    neighbours = len(circle)
    corners = np.floor(circle)
    shares, steps = circle - corners, corners.astype(np.int64)
    height, width = grey.shape
    pixels, values = grey.ravel(), grey.ravel().astype(np.float64)
    between_rows = np.empty(width)
    bright = np.zeros(neighbours * width, np.uint8)
    patterns, changes = np.empty((2, width), np.uint8)
    # in turn: equal patterns side by side need not wait for each other
    counts = np.zeros((4, neighbours + 3), np.int64)
    for row in range(height):
        first, last = extent(inside[row])
        number = last + 1 - first
        for k in range(neighbours if last >= 0 else 0):
            right, share = steps[k, 1], shares[k, 1]
            centre = row * width + first
            above = centre + steps[k, 0] * width
            if share == 0 and shares[k, 0] == 0:
                _compare(bright, k * width, pixels, centre, above + right, number)
            elif right >= 0:
                reach = right + 1
                _interpolate(between_rows, values, above - reach, width, shares[k, 0], number + 2 * reach)
                mirrored = (neighbours // 2 - k) % neighbours
                _compare_between(bright, k * width, values, centre, between_rows, 2 * reach, -1, share, number)
                _compare_between(bright, mirrored * width, values, centre, between_rows, 0, 1, share, number)
        if last >= 0:
            _find_patterns(patterns, changes, bright, neighbours, width, number)
            for column in range(number):
                pattern = patterns[column] if inside[row, first + column] else neighbours + 2
                counts[column % 4, pattern] += 1
    return counts[:, :-1].sum(axis=0)


@compiled
def _compare(bright: np.ndarray, at: int, pixels: np.ndarray, centre: int, neighbour: int, number: int) -> None:
    """Set for each pixel of a row whether its neighbour is at least as bright."""
    for i in range(np.uintp(number)):
        bright[np.uintp(at) + i] = pixels[np.uintp(neighbour) + i] >= pixels[np.uintp(centre) + i]


@compiled
def _interpolate(out: np.ndarray, values: np.ndarray, start: int, width: int, share: float, number: int) -> None:
    """Interpolate between a row of pixels and the row below."""
    upper, lower = np.uintp(start), np.uintp(start + width)
    for i in range(np.uintp(number)):
        out[i] = (1 - share) * values[upper + i] + share * values[lower + i]


@compiled
def _compare_between(
    bright: np.ndarray,
    at: int,
    values: np.ndarray,
    centre: int,
    between_rows: np.ndarray,
    nearer: int,
    step: int,
    share: float,
    number: int,
) -> None:
    """Set for each pixel of a row whether its neighbour, interpolated between two columns, is at least as bright.

    `share` is that of the column at `nearer`; the other is `step` away.
    """
    near, other = np.uintp(nearer), np.uintp(nearer + step)
    for i in range(np.uintp(number)):
        value = (1 - share) * between_rows[other + i] + share * between_rows[near + i]
        # neighbours that are equal stay equal despite rounding errors of the interpolation
        bright[np.uintp(at) + i] = value - values[np.uintp(centre) + i] >= -1e-6


@compiled
def _find_patterns(
    patterns: np.ndarray, changes: np.ndarray, bright: np.ndarray, neighbours: int, width: int, number: int
) -> None:
    """Set the pattern of each pixel of a row: its number of bright neighbours, if they form one run.

    Otherwise it is `neighbours + 1`. `changes` is set to the number of changes between bright and dark around the
    circle.
    """
    patterns[:number] = 0
    changes[:number] = 0
    for k in range(neighbours):
        now, before = np.uintp(k * width), np.uintp((k - 1) % neighbours * width)
        for i in range(np.uintp(number)):
            patterns[i] += bright[now + i]
            changes[i] += bright[now + i] ^ bright[before + i]
    for i in range(np.uintp(number)):
        if changes[i] > 2:
            patterns[i] = neighbours + 1
