"""A crop of a blood smear -> the mask of its nucleated cell, found by its stain."""

from __future__ import annotations

import cv2
import numpy as np

from leukobench.cells.components import central_component, fill_holes
from leukobench.core.errors import InputError

SMOOTHING = 1 / 100  # window of the median filter / shorter side of the image
OPENING = 1 / 50  # diameter of the disk of the morphological opening / shorter side of the image
DARK = 30  # grey levels: pixels darker than this in all channels have no reliable colour
MIN_CONTRAST = 25  # of 255: smallest difference in mean saturation between stained and other pixels, if there is a cell
NUCLEAR_SHARE = 0.25  # of the red light that nuclei absorb: red blood cells absorb less, blue cytoplasm more


def segment_smear(rgb: np.ndarray, name: str = "image") -> tuple[np.ndarray, int]:
    """Segment the nucleated cell in an uncut crop of a smear.

    1. Stained pixels are those above Otsu's threshold of the HSV saturation, after a median filter.
    2. Of these, the foreground keeps the pixels that absorb at least a quarter of the red light that nuclei absorb.
       Red blood cells do not absorb red light, so they are left out even where they touch the cell.
    3. A morphological opening cuts bridges and removes specks.
    4. Of the components that absorb at least half as much red light as any other, the most central one is the cell,
       because the crop was made around it. Its holes are filled.

    Args:
        rgb: The crop, 0 to 255. [shape=(height, width, 3), uint8]
        name: Name of the image in error messages.

    Returns:
        The mask of the cell [shape=(height, width), uint8, 0 or 255], and the number of components.

    Raises:
        InputError: nothing is stained, or no stained component is larger than a speck.

    Source: Otsu, N. (1979). A threshold selection method from gray-level histograms. IEEE Trans. SMC 9(1), 62-66.
    """
    side = min(rgb.shape[:2])
    bright = rgb.max(axis=2) > DARK
    saturation = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[..., 1] * bright
    window = _odd(side * SMOOTHING)
    saturation = np.asarray(cv2.medianBlur(saturation, window))
    stained = _above_otsu(saturation)
    uniform = stained.all() or not stained.any()
    if uniform or saturation[stained].mean() - saturation[~stained].mean() < MIN_CONTRAST:
        raise InputError(f"{name}: holds no cell (nothing is stained); remove it or replace it")
    pale = rgb[..., 0][bright & ~stained]
    unabsorbed = np.median(pale) if pale.size else 255
    darkening = np.clip(unabsorbed - rgb[..., 0].astype(np.float32), 0, 255).astype(np.uint8)
    absorbed = np.asarray(cv2.medianBlur(darkening, window))
    nuclear = absorbed[stained][_above_otsu(absorbed[stained])]
    if nuclear.size:
        stained &= absorbed >= NUCLEAR_SHARE * nuclear.mean()
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_odd(side * OPENING),) * 2)
    mask = np.asarray(cv2.morphologyEx(stained.astype(np.uint8), cv2.MORPH_OPEN, disk))
    if not mask.any():
        raise InputError(f"{name}: holds no cell (only specks are stained); remove it or replace it")
    cell, components = central_component(mask, absorbed)
    fill_holes(cell)
    return cell, components


def _above_otsu(values: np.ndarray) -> np.ndarray:
    """Return which of some uint8 values are above their Otsu threshold."""
    threshold = cv2.threshold(np.ascontiguousarray(values), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0]
    return values > threshold


def _odd(length: float) -> int:
    """Round a length in px to an odd number, at least 3."""
    return max(3, 2 * round((length - 1) / 2) + 1)
