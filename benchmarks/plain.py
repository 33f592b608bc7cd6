"""The features of Patel & Mishra 2015 by direct library calls on the whole image.

It uses scikit-image's `regionprops`, `graycomatrix` and `rank.entropy` and SciPy's `median_filter`, without cropping
and without shared intermediate results. `benchmarks/features.py` compares the extractor with it. Unlike the extractor,
its texture features count pairs with the background, and its median filter includes the black around the cell.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import median_filter
from scipy.stats import skew
from skimage.color import rgb2gray
from skimage.feature import graycomatrix, graycoprops
from skimage.filters.rank import entropy
from skimage.io import imread
from skimage.measure import label, perimeter, regionprops
from skimage.morphology import disk
from skimage.util import img_as_ubyte


def plain_features(path: Path) -> dict[str, float]:
    """Measure one image file."""
    rgb = imread(path)
    grey = img_as_ubyte(rgb2gray(rgb))
    cell = max(regionprops(label(grey > 0), grey), key=lambda region: region.area)
    height, width = cell.image.shape
    convex_perimeter = perimeter(cell.image_convex)
    matrix = graycomatrix(grey, [1], [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4], 256, symmetric=True, normed=True)
    texture = {name: graycoprops(matrix, name).mean() for name in ("contrast", "homogeneity", "energy", "correlation")}
    across, down = grey.sum(axis=0).astype(float), grey.sum(axis=1).astype(float)
    return {
        "mean_color": rgb[grey > 0].mean(),
        "perimeter": cell.perimeter,
        "radius": cell.equivalent_diameter_area / 2,
        "area": cell.area,
        "rectangularity": cell.extent,
        "compactness": cell.area / cell.perimeter**2,
        "convexity": convex_perimeter / cell.perimeter,
        "concavity": cell.area_convex - cell.area,
        "symmetry": (cell.image & cell.image[:, ::-1]).sum() / cell.area,
        "elongation": 1 - cell.axis_minor_length / cell.axis_major_length,
        "eccentricity": cell.eccentricity,
        "solidity": cell.solidity,
        "box_ratio": width / height,
        "entropy": entropy(grey, disk(5))[grey > 0].mean(),
        **texture,
        "mean_x": across.mean(),
        "mean_y": down.mean(),
        "variance_x": across.var(),
        "variance_y": down.var(),
        "skewness_x": skew(across),
        "skewness_y": skew(down),
        "median": median_filter(grey, size=16)[grey > 0].mean(),
    }
