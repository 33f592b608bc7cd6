"""One image file -> one cell: its pixels, its mask, and where it lay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from leukobench.cells.decoding import read_picture
from leukobench.cells.pieces import count_pieces, fill_holes, largest_piece
from leukobench.cells.smear import segment_smear
from leukobench.core.errors import InputError

BACKGROUNDS = ("black", "white", "smear")  # what lies around the cell; the first is the default
LOSSY_TOLERANCE = (
    24  # grey levels: cells of C-NMC 2019 as JPEG or WebP of quality 50 to 95 then overlap by 0.98 or more
)


@dataclass(frozen=True)
class Cell:
    """A segmented cell, cropped to its bounding box.

    Attributes:
        rgb: Pixels in the crop; black where `mask` is false. [shape=(height, width, 3), uint8]
        mask: Which pixels of the crop belong to the cell. [shape=(height, width), bool]
        offset: Row and column of the crop's upper left pixel in the whole image, in px.
        image_shape: Height and width of the whole image, in px.
        pieces: Connected pieces in the image; one of them is the cell.
    """

    rgb: np.ndarray
    mask: np.ndarray
    offset: tuple[int, int]
    image_shape: tuple[int, int]
    pieces: int = 1


def read_cell(path: Path, background: str = BACKGROUNDS[0]) -> Cell:
    """Read an image file and find its cell.

    Transparent pixels are background. In a file that was compressed with loss, so is what differs from pure black or
    white by no more than `LOSSY_TOLERANCE` in every channel.

    Args:
        path: The image file.
        background: One of `BACKGROUNDS`, see `find_cell`.

    Raises:
        InputError: see `read_picture` and `find_cell`; or the cell covers all four corners of the image, which then was
            not cut out on that background.
    """
    picture = read_picture(path, transparent=0 if background == "black" else 255)
    tolerance = LOSSY_TOLERANCE if picture.lossy else 0
    cell = find_cell(picture.rgb, str(path), background=background, tolerance=tolerance)
    if cell.mask.shape == cell.image_shape and cell.mask[[0, 0, -1, -1], [0, -1, 0, -1]].all():
        raise InputError(f"{path}: is not cut out on {background}, its corners are cell; choose another background")
    return cell


def find_cell(rgb: np.ndarray, name: str = "image", *, background: str = BACKGROUNDS[0], tolerance: int = 0) -> Cell:
    """Find the cell in an image.

    On `black`, the largest 8-connected piece that is not pure black (0, 0, 0) is the cell; the others are counted and
    blacked out. On `white`, the same with pure white (255, 255, 255), and white that the cell encloses belongs to it,
    because a vacuole can be as white. In a `smear` the nucleated cell is found by its stain, see `segment_smear`.

    Args:
        rgb: The whole image. [shape=(height, width, 3), uint8]
        name: What to call the image in errors.
        background: One of `BACKGROUNDS`.
        tolerance: By how many grey levels each channel of the background may differ from pure black or white.

    Raises:
        InputError: no such background, or the whole image is background.
    """
    if background == "smear":
        return _crop(rgb, *segment_smear(rgb, name))
    if background == "black":
        around = cv2.inRange(rgb, (0, 0, 0), (tolerance,) * 3)
    elif background == "white":
        around = cv2.inRange(rgb, (255 - tolerance,) * 3, (255, 255, 255))
    else:
        raise InputError(f"no background {background!r}; there is {', '.join(BACKGROUNDS)}")
    foreground = cv2.bitwise_not(around)
    if not cv2.hasNonZero(foreground):
        raise InputError(f"{name}: holds no cell (every pixel is {background}); remove it or replace it")
    return cut_out(rgb, foreground, fill=background == "white")


def cut_out(rgb: np.ndarray, foreground: np.ndarray, *, fill: bool = False) -> Cell:
    """Take the largest 8-connected piece of a foreground as the cell.

    Args:
        rgb: The whole image. [shape=(height, width, 3), uint8]
        foreground: What may be cell; changed in place. At least one pixel is. [shape=(height, width), uint8, 0 or not]
        fill: Whether what the cell encloses belongs to it.
    """
    left, top, width, height = cv2.boundingRect(foreground)
    window = foreground[top : top + height, left : left + width]
    pieces = count_pieces(window)
    if pieces > 1:
        window[:] = largest_piece(window)
    if fill:
        fill_holes(window)
    return _crop(rgb, foreground, pieces)


def _crop(rgb: np.ndarray, mask: np.ndarray, pieces: int) -> Cell:
    """Crop image and mask to the mask's bounding box, black around it."""
    left, top, width, height = cv2.boundingRect(mask)
    window = (slice(top, top + height), slice(left, left + width))
    inside = mask[window]
    return Cell(cv2.copyTo(rgb[window], inside), inside != 0, (top, left), rgb.shape[:2], pieces)
