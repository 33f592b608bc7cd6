"""Geometric features: size and shape of the cell's mask.

A pixel is a square of side 1 px: an area is a number of pixels, and convex hulls and rectangles are drawn round the
pixels' corners, so that no shape is larger than its hull. The perimeter is Crofton's estimate, which is unbiased for
outlines without a preferred direction, where counting boundary steps overshoots by 5% to 12%.
"""

from __future__ import annotations

import cv2
import numpy as np
from skimage.measure import perimeter_crofton

from study.cell import Cell

_CORNERS = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]], np.float32)


def geometric_features(cell: Cell) -> dict[str, float]:
    """Measure a cell's mask: the eleven geometric features that Patel & Mishra 2015 list.

    With area A, perimeter P, convex hull H, and the eigenvalues l1 >= l2 of the covariance of the pixel squares:

    - `geometry_area`: A, px^2
    - `geometry_perimeter`: P, px (Crofton's formula over four directions)
    - `geometry_radius`: sqrt(A / pi), px, the radius of the disk of the same area
    - `geometry_rectangularity`: A / area of the smallest rectangle round the cell, at any angle; 1 for a rectangle
    - `geometry_compactness`: A / P^2; 1 / (4 pi) for a disk, less for everything else
    - `geometry_convexity`: perimeter of H / P
    - `geometry_concavity`: depth of the deepest notch below H / radius; 0 for a convex cell
    - `geometry_symmetry`: share of the cell that its mirror image about the major axis covers; 1 if symmetric
    - `geometry_elongation`: 1 - smallest / largest Feret diameter; 0 for a disk. (The sides of the smallest rectangle
      would not do: for a nearly round cell its angle is arbitrary.)
    - `geometry_eccentricity`: sqrt(1 - l2 / l1), of the ellipse of the same second moments; 0 for a disk
    - `geometry_solidity`: A / area of H; 1 for a convex cell
    """
    mask = cell.mask.view(np.uint8)
    area = float(cv2.countNonZero(mask))
    # a frame of background lets shapes that touch the crop's edge have an outline there
    perimeter = perimeter_crofton(np.pad(mask, 1), directions=4)
    radius = np.sqrt(area / np.pi)
    outline = max(cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=lambda contour: len(contour))
    hull = cv2.convexHull((outline.reshape(-1, 1, 2).astype(np.float32) + _CORNERS).reshape(-1, 1, 2))
    hull_area = cv2.contourArea(hull)
    sides = cv2.minAreaRect(hull)[1]
    centroid, covariance = mask_moments(mask)
    minor, major = np.linalg.eigvalsh(covariance)
    return {
        "geometry_area": area,
        "geometry_perimeter": perimeter,
        "geometry_radius": radius,
        "geometry_rectangularity": area / (sides[0] * sides[1]),
        "geometry_compactness": area / perimeter**2,
        "geometry_convexity": cv2.arcLength(hull, True) / perimeter,
        "geometry_concavity": _deepest_notch(outline) / radius,
        "geometry_symmetry": _mirror_overlap(mask, centroid, covariance) / area,
        "geometry_elongation": 1 - np.divide(*feret_diameters(hull.reshape(-1, 2))),
        "geometry_eccentricity": np.sqrt(max(0.0, 1 - minor / major)),
        "geometry_solidity": area / hull_area,
    }


def mask_moments(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centroid (x, y) of a mask, px, and the covariance of its pixel squares, px^2. [shapes=(2,), (2, 2)]

    Each pixel adds the 1/12 px^2 of a unit square about its own centre.
    """
    moments = cv2.moments(mask, binaryImage=True)
    area = moments["m00"]
    centroid = np.array([moments["m10"], moments["m01"]]) / area
    xy = moments["mu11"] / area
    covariance = np.array([[moments["mu20"] / area, xy], [xy, moments["mu02"] / area]]) + np.eye(2) / 12
    return centroid, covariance


def feret_diameters(hull: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest distance between two parallel lines that enclose a convex hull, px.

    The smallest is found with one line along an edge, the largest between two corners.

    Args:
        hull: Corners in order. [shape=(n, 2)]
    """
    edges = np.roll(hull, -1, axis=0) - hull
    normals = np.stack([-edges[:, 1], edges[:, 0]]) / np.hypot(edges[:, 0], edges[:, 1])
    widths = np.ptp(hull @ normals, axis=0)
    largest = np.sqrt(((hull[:, None] - hull[None]) ** 2).sum(axis=2).max())
    return float(widths.min()), float(largest)


def _deepest_notch(outline: np.ndarray) -> float:
    """Return how far the outline falls below its convex hull at most, px."""
    if len(outline) < 4:
        return 0.0
    hull = np.sort(cv2.convexHull(outline, returnPoints=False), axis=0)[::-1]
    defects = cv2.convexityDefects(outline, hull)
    return 0.0 if defects is None else float(defects.reshape(-1, 4)[:, 3].max()) / 256  # OpenCV's 8-bit fixed point


def _mirror_overlap(mask: np.ndarray, centroid: np.ndarray, covariance: np.ndarray) -> float:
    """Return the area that a mask shares with its mirror image about its major axis, px^2."""
    angle = 0.5 * np.arctan2(2 * covariance[0, 1], covariance[0, 0] - covariance[1, 1])
    mirror = np.array([[np.cos(2 * angle), np.sin(2 * angle)], [np.sin(2 * angle), -np.cos(2 * angle)]])
    shift = centroid - mirror @ centroid
    mirrored = cv2.warpAffine(
        mask,
        np.column_stack([mirror, shift]),
        mask.shape[::-1],
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
    )
    return float(cv2.countNonZero(mask & mirrored))
