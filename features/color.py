"""Colour features: what the stain looks like inside the cell."""

from __future__ import annotations

import cv2
import numpy as np

from study.cell import Cell


def grey_levels(rgb: np.ndarray) -> np.ndarray:
    """Convert RGB to grey, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601). [shape=(height, width), uint8]"""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


def color_features(cell: Cell) -> dict[str, float]:
    """Compute the mean colour of a cell.

    `color_mean_red`, `_green` and `_blue` are the means of the channels over the mask; `color_mean` is the mean of the
    three (the "mean colour value" of Patel & Mishra 2015). Unit: grey levels, 0 to 255.
    """
    red, green, blue = cv2.mean(cell.rgb, cell.mask.view(np.uint8))[:3]
    return {
        "color_mean_red": red,
        "color_mean_green": green,
        "color_mean_blue": blue,
        "color_mean": (red + green + blue) / 3,
    }
