"""One image file -> one cell: its pixels, its mask, and where it lay."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from study.errors import StudyError


@dataclass(frozen=True)
class Cell:
    """A segmented cell, cropped to its bounding box.

    Attributes:
        rgb: Pixels in the crop; black where `mask` is false. [shape=(height, width, 3), uint8]
        mask: Which pixels of the crop belong to the cell. [shape=(height, width), bool]
        offset: Row and column of the crop's upper left pixel in the whole image, in px.
        image_shape: Height and width of the whole image, in px.
        pieces: Connected pieces in the image; the largest is the cell.
    """

    rgb: np.ndarray
    mask: np.ndarray
    offset: tuple[int, int]
    image_shape: tuple[int, int]
    pieces: int = 1


def read_image(path: Path) -> np.ndarray:
    """Read an image file as 8-bit RGB. [shape=(height, width, 3), uint8]

    Raises:
        StudyError: the file is missing, truncated, or no image that Pillow can read.
    """
    try:
        with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
            return np.asarray(Image.open(path).convert("RGB"))
    except UnidentifiedImageError:
        raise StudyError(f"{path}: is no image that can be read; replace it") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Warning) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StudyError(f"{path}: cannot be read ({reason}); replace it") from None


def find_cell(rgb: np.ndarray, name: str = "image") -> Cell:
    """Find the cell in an image whose background is pure black (0, 0, 0).

    The largest 8-connected piece that is not black is the cell; smaller pieces are counted and blacked out.

    Args:
        rgb: The whole image. [shape=(height, width, 3), uint8]
        name: What to call the image in errors.

    Raises:
        StudyError: the whole image is black.
    """
    foreground = rgb.any(axis=2)
    labels, pieces, boxes = _connected_pieces(foreground)
    if pieces == 0:
        raise StudyError(f"{name}: holds no cell (every pixel is black); remove it or replace it")
    largest = int(np.argmax(boxes[:, cv2.CC_STAT_AREA]))
    left, top, width, height = boxes[largest, :4]
    window = (slice(top, top + height), slice(left, left + width))
    mask = labels[window] == largest + 1
    crop = np.where(mask[..., None], rgb[window], np.uint8(0))
    return Cell(crop, mask, (int(top), int(left)), rgb.shape[:2], pieces)


def read_cell(path: Path) -> Cell:
    """Read an image file and find its cell.

    Raises:
        StudyError: see `read_image` and `find_cell`.
    """
    return find_cell(read_image(path), str(path))


def _connected_pieces(foreground: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """Label 8-connected pieces from 1; return labels, their number, and OpenCV's statistics of each."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(foreground.view(np.uint8), connectivity=8)
    return labels, count - 1, statistics[1:]
