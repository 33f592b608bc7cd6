"""Statistical features: how the intensity is spread over the cell."""

from __future__ import annotations

import numpy as np
from skimage.filters.rank import median

from features.color import grey_levels
from study.cell import Cell

MEDIAN_WINDOW = np.ones((16, 16), np.uint8)


def statistical_features(cell: Cell) -> dict[str, float]:
    """Compute the seven statistical features of Patel & Mishra 2015 on grey values.

    The intensity projections I(x) and I(y), column and row sums of the grey values over the cell, are taken as
    distributions of position, from the left and upper edge of the cell's bounding box:

    - `statistics_mean_x`, `_y`: intensity centroid, px
    - `statistics_variance_x`, `_y`: variance about it, px^2
    - `statistics_skewness_x`, `_y`: third central moment / variance^1.5; 0 where the variance is 0
    - `statistics_median_filter_mean`: mean over the cell of its 16x16 median filter, grey levels; background pixels
      do not take part in any median
    """
    grey = grey_levels(cell.rgb)
    features = {}
    for axis, projection in (("x", grey.sum(axis=0)), ("y", grey.sum(axis=1))):
        mean, variance, skewness = projection_moments(projection.astype(float))
        features[f"statistics_mean_{axis}"] = mean
        features[f"statistics_variance_{axis}"] = variance
        features[f"statistics_skewness_{axis}"] = skewness
    filtered = median(grey, MEDIAN_WINDOW, mask=cell.mask.view(np.uint8))
    features["statistics_median_filter_mean"] = float(filtered[cell.mask].mean())
    return features


def projection_moments(projection: np.ndarray) -> tuple[float, float, float]:
    """Return mean, variance and skewness of position under weights `projection`. [shape=(n,)]

    A projection that sums to zero (grey values that all round to 0) counts as uniform.
    """
    weight = projection if projection.any() else np.ones_like(projection)
    weight = weight / weight.sum()
    position = np.arange(len(weight))
    mean = weight @ position
    deviation = position - mean
    variance = weight @ deviation**2
    skewness = weight @ deviation**3 / variance**1.5 if variance > 0 else 0.0
    return float(mean), float(variance), float(skewness)
