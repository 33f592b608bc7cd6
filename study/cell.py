"""One image file -> one cell: its pixels, its mask, and where it lay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from study.errors import StudyError
from study.image import read_picture

BACKGROUNDS = ("black", "white", "smear")  # what lies around the cell; the first is the default
LOSSY_TOLERANCE = (
    24  # grey levels: cells of C-NMC 2019 as JPEG or WebP of quality 50 to 95 then overlap by 0.98 or more
)

SMOOTHING = 1 / 100  # window of the median filter, of the image's shorter side
OPENING = 1 / 50  # diameter of the disk that cuts bridges and takes specks away, of the image's shorter side
DARK = 30  # grey levels: what is darker in all channels has no colour, only noise
MIN_CONTRAST = 25  # of 255: by how much the stained are more saturated than the rest, where there is a cell
NUCLEAR_SHARE = 0.25  # of the red light that nuclei take up: red cells take up less, blue cytoplasm more


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
        StudyError: see `read_picture` and `find_cell`; or the cell covers all four corners of the image, which then was
            not cut out on that background.
    """
    picture = read_picture(path, transparent=0 if background == "black" else 255)
    tolerance = LOSSY_TOLERANCE if picture.lossy else 0
    cell = find_cell(picture.rgb, str(path), background=background, tolerance=tolerance)
    if cell.mask.shape == cell.image_shape and cell.mask[[0, 0, -1, -1], [0, -1, 0, -1]].all():
        raise StudyError(f"{path}: is not cut out on {background}, its corners are cell; choose another background")
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
        StudyError: no such background, or the whole image is background.
    """
    if background == "smear":
        return _crop(rgb, *segment_smear(rgb, name))
    if background == "black":
        around = cv2.inRange(rgb, (0, 0, 0), (tolerance,) * 3)
    elif background == "white":
        around = cv2.inRange(rgb, (255 - tolerance,) * 3, (255, 255, 255))
    else:
        raise StudyError(f"no background {background!r}; there is {', '.join(BACKGROUNDS)}")
    foreground = cv2.bitwise_not(around)
    if not cv2.hasNonZero(foreground):
        raise StudyError(f"{name}: holds no cell (every pixel is {background}); remove it or replace it")
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
    pieces = _count_pieces(window)
    if pieces > 1:
        window[:] = _largest_piece(window)
    if fill:
        _fill_holes(window)
    return _crop(rgb, foreground, pieces)


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
        StudyError: nothing is stained, or nothing of it is larger than a speck.

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
        raise StudyError(f"{name}: holds no cell (nothing stands out by its stain); remove it or replace it")
    pale = rgb[..., 0][bright & ~stained]
    unhindered = np.median(pale) if pale.size else 255
    absorbed = cv2.medianBlur(np.clip(unhindered - rgb[..., 0].astype(np.float32), 0, 255).astype(np.uint8), window)
    nuclear = absorbed[stained][_above_otsu(absorbed[stained])]
    if nuclear.size:
        stained &= absorbed >= NUCLEAR_SHARE * nuclear.mean()
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_odd(side * OPENING),) * 2)
    mask = cv2.morphologyEx(stained.astype(np.uint8), cv2.MORPH_OPEN, disk)
    if not mask.any():
        raise StudyError(f"{name}: holds no cell (only specks are stained); remove it or replace it")
    chosen, pieces = _central_piece(mask, absorbed)
    _fill_holes(chosen)
    return chosen, pieces


def _crop(rgb: np.ndarray, mask: np.ndarray, pieces: int) -> Cell:
    """Crop image and mask to the mask's bounding box, black around it."""
    left, top, width, height = cv2.boundingRect(mask)
    window = (slice(top, top + height), slice(left, left + width))
    inside = mask[window]
    return Cell(cv2.copyTo(rgb[window], inside), inside != 0, (top, left), rgb.shape[:2], pieces)


def _count_pieces(mask: np.ndarray) -> int:
    """Count 8-connected pieces by their outer outlines, which is ten times as fast as labelling them."""
    hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)[1]
    return int((hierarchy[0, :, 3] < 0).sum())


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    """Return the mask of the largest 8-connected piece, the first of equals. [uint8, 0 or 255]"""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    largest = 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    return np.where(labels == largest, np.uint8(255), np.uint8(0))


def _central_piece(mask: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, int]:
    """Of the pieces with at least half the weight of the heaviest, return the most central, and the number of all."""
    count, labels, _, centroids = cv2.connectedComponentsWithStats(mask, connectivity=8)
    heaviness = np.bincount(labels.ravel(), np.maximum(weight, 1).ravel(), count)[1:]
    middle = (np.array(mask.shape[::-1]) - 1) / 2
    distance = np.hypot(*(centroids[1:] - middle).T)
    chosen = 1 + int(np.argmin(np.where(heaviness >= heaviness.max() / 2, distance, np.inf)))
    return np.where(labels == chosen, np.uint8(255), np.uint8(0)), count - 1


def _fill_holes(mask: np.ndarray) -> None:
    """Fill, in place, what the pieces of a mask enclose."""
    outlines = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    cv2.drawContours(mask, outlines, -1, 255, cv2.FILLED)


def _above_otsu(values: np.ndarray) -> np.ndarray:
    """Which of some uint8 values lie above Otsu's threshold of them."""
    threshold = cv2.threshold(np.ascontiguousarray(values), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0]
    return values > threshold


def _odd(length: float) -> int:
    """The odd whole number next to a length in px, at least 3."""
    return max(3, 2 * round((length - 1) / 2) + 1)
