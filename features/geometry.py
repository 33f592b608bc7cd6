"""Geometric features: size and shape of the cell's mask.

A pixel is a square of side 1 px: an area is a number of pixels, and convex hulls and rectangles enclose the corners of
the pixels, so that no shape is larger than its hull. The perimeter is Crofton's estimate, which is unbiased for
contours without a preferred direction; counting boundary steps overestimates it by 5% to 12%.
"""

from __future__ import annotations

import cv2
import numpy as np

from leukobench.core.compiled import compiled
from leukobench.features.prepared import PreparedCell

PROFILE_ANGLES = 256  # number of angles of the radial profile
HARMONICS = 8


def size_and_hull(cell: PreparedCell) -> dict[str, float]:
    """Compute the size of a cell, and compare its shape with circle, rectangle, ellipse and convex hull.

    With area A, perimeter P, convex hull H, bounding box of width w and height h, and the eigenvalues l1 >= l2 of the
    covariance of the pixel squares:

    - `geometry_area`: A, px^2
    - `geometry_perimeter`: P, px, see `crofton_perimeter`
    - `geometry_radius`: sqrt(A / pi), px, the radius of the disk of the same area
    - `geometry_longer_side`: max(w, h), px (the radius of Clinton et al. 2020)
    - `geometry_rectangularity`: A / area of the smallest enclosing rectangle, at any angle; 1 for a rectangle
    - `geometry_box_rectangularity`: A / (w h)
    - `geometry_compactness`: A / P^2; 1 / (4 pi) for a disk, less for all other shapes
    - `geometry_circularity`: 4 pi A / P^2; 1 for a disk
    - `geometry_convexity`: perimeter of H / P
    - `geometry_concavity`: depth of the deepest concavity below H / radius; 0 for a convex cell
    - `geometry_elongation`: 1 - smallest / largest Feret diameter; 0 for a disk. (The sides of the smallest rectangle
      are unsuitable: for a nearly round cell its angle is arbitrary.)
    - `geometry_box_elongation`: 1 - h / w; `geometry_box_ratio`: w / h (elongation and eccentricity of Clinton et al.)
    - `geometry_feret_min`, `geometry_feret_max`: smallest and largest Feret diameter, px
    - `geometry_eccentricity`: sqrt(1 - l2 / l1), of the ellipse of the same second moments; 0 for a disk
    - `geometry_solidity`: A / area of H; 1 for a convex cell
    """
    area = float(cell.area)
    perimeter = crofton_perimeter(cell.mask)
    radius = np.sqrt(area / np.pi)
    height, width = cell.mask.shape
    sides = cv2.minAreaRect(cell.hull)[1]
    smallest, largest = feret_diameters(cell.hull.reshape(-1, 2).astype(float))
    minor, major = np.linalg.eigvalsh(cell.covariance)
    return {
        "geometry_area": area,
        "geometry_perimeter": perimeter,
        "geometry_radius": radius,
        "geometry_longer_side": float(max(width, height)),
        "geometry_rectangularity": area / (sides[0] * sides[1]),
        "geometry_box_rectangularity": area / (width * height),
        "geometry_compactness": area / perimeter**2,
        "geometry_circularity": 4 * np.pi * area / perimeter**2,
        "geometry_convexity": cv2.arcLength(cell.hull, True) / perimeter,
        "geometry_concavity": _deepest_notch(cell) / radius,
        "geometry_elongation": 1 - smallest / largest,
        "geometry_box_elongation": 1 - height / width,
        "geometry_box_ratio": width / height,
        "geometry_feret_min": smallest,
        "geometry_feret_max": largest,
        "geometry_eccentricity": np.sqrt(max(0.0, 1 - minor / major)),
        "geometry_solidity": area / cv2.contourArea(cell.hull),
    }


def symmetry(cell: PreparedCell, about: str) -> dict[str, float]:
    """Compute the share of a cell that its mirrored or rotated copy covers; 1 if symmetric.

    - `geometry_symmetry_major`: mirrored about its major axis
    - `geometry_symmetry_minor`: mirrored about its minor axis
    - `geometry_symmetry_rotation`: rotated by 180 degrees about its centroid

    Args:
        cell: The cell.
        about: `major`, `minor` or `rotation`.
    """
    if about == "rotation":
        matrix = -np.eye(2)
    else:
        covariance = cell.covariance
        # twice the angle of the major axis
        angle = np.arctan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])
        matrix = np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])
        if about == "minor":
            matrix = -matrix
    return {f"geometry_symmetry_{about}": _shared_area(cell.mask, cell.centroid, matrix) / cell.area}


def radial_profile(cell: PreparedCell) -> dict[str, float]:
    """Measure how the distance r from the centroid to the contour varies with the angle.

    r is sampled at 256 angles, interpolated between the pixels of the contour. With its mean and its Fourier
    coefficients c(n) = mean of r exp(-i n angle):

    - `geometry_radial_deviation`: standard deviation of r / mean
    - `geometry_fourier_{1..8}`: 2 |c(n)| / mean, the Fourier descriptors of the centroid distance: for a contour
      r = R (1 + e cos(n angle)) the n-th is e
    - `geometry_roughness`: standard deviation of r without its harmonics 0 to 8 / mean

    All are 0 for a disk, and for a cell of one pixel.

    Source: Zhang, D., & Lu, G. (2001). A comparative study on shape retrieval using Fourier descriptors with
    different shape signatures. Proc. ICIMADE.
    """
    apart = cell.contour.reshape(-1, 2) - cell.centroid
    angles = np.arctan2(apart[:, 1], apart[:, 0])
    order = np.argsort(angles, kind="stable")
    grid = 2 * np.pi * np.arange(PROFILE_ANGLES) / PROFILE_ANGLES
    profile = np.interp(grid, angles[order], np.hypot(*apart.T)[order], period=2 * np.pi)
    spectrum = np.abs(np.fft.rfft(profile)) / PROFILE_ANGLES
    scale = spectrum[0] or 1.0
    power = (2 * spectrum[1:-1] ** 2).cumsum()
    values = {
        "geometry_radial_deviation": float(profile.std() / scale),
        "geometry_roughness": float(np.sqrt(max(0.0, power[-1] - power[HARMONICS - 1])) / scale),
    }
    return values | {f"geometry_fourier_{n}": 2 * spectrum[n] / scale for n in range(1, HARMONICS + 1)}


def hu_moments(cell: PreparedCell) -> dict[str, float]:
    """Compute the seven moment invariants of the mask.

    `geometry_hu_{1..7}`: invariant to translation, scale and rotation (the seventh changes its sign under reflection).

    Source: Hu, M.-K. (1962). Visual pattern recognition by moment invariants. IRE Trans. Inf. Theory 8(2).
    """
    return {f"geometry_hu_{n}": float(value) for n, value in enumerate(cv2.HuMoments(cell.moments).ravel(), start=1)}


def crofton_perimeter(mask: np.ndarray) -> float:
    """Estimate the length of a mask's contours, px.

    Crofton's formula: the number of parallel lines that enter the mask, times their distance, is the width of a convex
    shape across the lines, and its perimeter is pi times its mean width. Lines have four directions; diagonal lines are
    1 / sqrt(2) px apart.

    Args:
        mask: [shape=(height, width), uint8, 0 or 1]
    """
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    after, before = framed[1:, 1:], framed[:-1, :-1]
    upper, lower = framed[:-1, 1:], framed[1:, :-1]
    straight = np.count_nonzero(after > lower) + np.count_nonzero(after > upper)
    diagonal = np.count_nonzero(after > before) + np.count_nonzero(lower > upper)
    return np.pi / 4 * (straight + diagonal / np.sqrt(2))


@compiled
def feret_diameters(hull: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest distance between two parallel lines that enclose a convex hull, px.

    The smallest has one line along an edge; the largest is between two corners.

    Args:
        hull: Corners in order, clockwise or anticlockwise. [shape=(n, 2)]
    """
    smallest, largest = np.inf, 0.0
    for i in range(len(hull)):
        along_x, along_y = hull[i, 0] - hull[i - 1, 0], hull[i, 1] - hull[i - 1, 1]
        width = 0.0
        for j in range(len(hull)):
            x, y = hull[j, 0] - hull[i, 0], hull[j, 1] - hull[i, 1]
            width = max(width, abs(along_x * y - along_y * x))
            largest = max(largest, x * x + y * y)
        smallest = min(smallest, width / np.hypot(along_x, along_y))
    return smallest, np.sqrt(largest)


def _deepest_notch(cell: PreparedCell) -> float:
    """Return the largest depth of the contour below its convex hull, px."""
    if len(cell.contour) < 4:
        return 0.0
    defects = cv2.convexityDefects(cell.contour, np.sort(cell.hull_corners, axis=0)[::-1])
    return 0.0 if defects is None else float(defects.reshape(-1, 4)[:, 3].max()) / 256  # OpenCV's 8-bit fixed point


@compiled
def _shared_area(mask: np.ndarray, centroid: np.ndarray, matrix: np.ndarray) -> int:
    """Count the pixels of a mask that a linear map about its centroid maps into the mask, px^2."""
    height, width = mask.shape
    shared = 0
    beyond = 2 * (height + width)  # keeps positions positive: then int() rounds down, and faster than floor()
    for row in range(height):
        y = row - centroid[1]
        for column in range(width):
            if mask[row, column]:
                x = column - centroid[0]
                to_column = int(centroid[0] + matrix[0, 0] * x + matrix[0, 1] * y + 0.5 + beyond) - beyond
                to_row = int(centroid[1] + matrix[1, 0] * x + matrix[1, 1] * y + 0.5 + beyond) - beyond
                if 0 <= to_row < height and 0 <= to_column < width:
                    shared += mask[to_row, to_column]
    return shared
