"""A crop of a blood smear -> the mask of its nucleated cell, found by its stain."""

from __future__ import annotations

import cv2
import numpy as np

from leukobench.cells.pieces import central_piece, fill_holes
from leukobench.core.errors import InputError

SMOOTHING = 1 / 100  # window of the median filter, of the image's shorter side
OPENING = 1 / 50  # diameter of the disk that cuts bridges and takes specks away, of the image's shorter side
DARK = 30  # grey levels: what is darker in all channels has no colour, only noise
MIN_CONTRAST = 25  # of 255: by how much the stained are more saturated than the rest, where there is a cell
NUCLEAR_SHARE = 0.25  # of the red light that nuclei take up: red cells take up less, blue cytoplasm more


def segment_smear(rgb: np.ndarray, name: str = "image") -> tuple[np.ndarray, int]:
    """Find the nucleated cell in a crop of a smear that is not cut out.

    Stained is what Otsu's threshold divides off by HSV saturation, after a median filter. Of the stained pixels those
    count that take up at least a quarter of the red light that nuclei take up, which red blood cells, being red, do
    not; so they are left out even where they touch the cell. An opening cuts bridges and takes specks away. Of the
    pieces that then take up at least half as much red light as any other, the most central is the cell, because the
    crop was made around it. Its holes are filled.

    Args:
        rgb: The crop. [shape=(height, width, 3), uint8]
        name: What to call the image in errors.

    Returns:
        The cell's mask [shape=(height, width), uint8, 0 or 255], and the number of pieces that there were.

    Raises:
        InputError: nothing is stained, or nothing of it is larger than a speck.

    Reference: Otsu, N. (1979). A threshold selection method from gray-level histograms. IEEE Trans. SMC 9(1), 62-66.
    """
    side = min(rgb.shape[:2])
    bright = rgb.max(axis=2) > DARK
    saturation = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[..., 1] * bright
    window = _odd(side * SMOOTHING)
    saturation = cv2.medianBlur(saturation, window)
    stained = _above_otsu(saturation)
    even = stained.all() or not stained.any()
    if even or saturation[stained].mean() - saturation[~stained].mean() < MIN_CONTRAST:
        raise InputError(f"{name}: holds no cell (nothing stands out by its stain); remove it or replace it")
    pale = rgb[..., 0][bright & ~stained]
    unhindered = np.median(pale) if pale.size else 255
    absorbed = cv2.medianBlur(np.clip(unhindered - rgb[..., 0].astype(np.float32), 0, 255).astype(np.uint8), window)
    nuclear = absorbed[stained][_above_otsu(absorbed[stained])]
    if nuclear.size:
        stained &= absorbed >= NUCLEAR_SHARE * nuclear.mean()
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_odd(side * OPENING),) * 2)
    mask = cv2.morphologyEx(stained.astype(np.uint8), cv2.MORPH_OPEN, disk)
    if not mask.any():
        raise InputError(f"{name}: holds no cell (only specks are stained); remove it or replace it")
    chosen, pieces = central_piece(mask, absorbed)
    fill_holes(chosen)
    return chosen, pieces


def _above_otsu(values: np.ndarray) -> np.ndarray:
    """Which of some uint8 values lie above Otsu's threshold of them."""
    threshold = cv2.threshold(np.ascontiguousarray(values), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0]
    return values > threshold


def _odd(length: float) -> int:
    """The odd whole number next to a length in px, at least 3."""
    return max(3, 2 * round((length - 1) / 2) + 1)
