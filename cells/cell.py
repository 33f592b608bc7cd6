"""One image file -> one cell: its pixels, its mask, and its place in the image."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import cv2
import numpy as np

from leukobench.cells.components import count_components, fill_holes, largest_component
from leukobench.cells.decoding import DecodedImage, contiguous, read_image
from leukobench.cells.smear import segment_smear
from leukobench.cells.white_cell import segment_white_cell
from leukobench.core.compiled import compiled
from leukobench.core.errors import InputError

# what surrounds the cell; the first is the default. "smear" is the segmentation of earlier versions
BACKGROUNDS = ("black", "white", "smear-cell", "smear-nucleus", "smear")
# grey levels; cells of C-NMC 2019 saved as JPEG or WebP of quality 50 to 95 then have an IoU of 0.98 or more
LOSSY_TOLERANCE = 24
OTHER_BACKGROUND = "choose another background (smear-cell for a photograph of a smear)"


@dataclass(frozen=True)
class Cell:
    """A segmented cell, cropped to its bounding box.

    `read_cell` and `find_cell` make one. To measure a cell that you segmented yourself, build it from its pixels and
    its mask.

    Attributes:
        rgb: Pixels of the crop, 0 to 255, black (0, 0, 0) where `mask` is false. [shape=(height, width, 3), uint8]
        mask: True for the pixels of the crop that belong to the cell. [shape=(height, width), bool]
        offset: Row and column of the crop's top left pixel in the whole image, px.
        image_shape: Height and width of the whole image, px.
        pieces: Number of connected foreground components in the image. The cell is one of them.

    Example:
        >>> import numpy as np
        >>> from leukobench.cells.cell import Cell
        >>> mask = np.hypot(*np.mgrid[-20:21, -20:21]) <= 20
        >>> rgb = np.where(mask[..., None], np.uint8([90, 40, 120]), np.uint8(0))
        >>> cell = Cell(rgb, mask, offset=(0, 0), image_shape=(41, 41))
        >>> int(cell.mask.sum()), cell.pieces
        (1257, 1)
    """

    rgb: np.ndarray
    mask: np.ndarray
    offset: tuple[int, int]
    image_shape: tuple[int, int]
    pieces: int = 1


def read_cell(path: str | os.PathLike[str], background: str = BACKGROUNDS[0]) -> Cell:
    """Read an image file of one cell and segment the cell.

    Transparent pixels count as background. In a file with lossy compression, so do pixels that differ from pure black
    or white by at most `LOSSY_TOLERANCE` grey levels in every channel.

    Args:
        path: Image file: BMP, PNG, JPEG, TIFF or WebP; grey, colour or palette; 8 or 16 bits per channel.
        background: What surrounds the cell: `"black"` or `"white"` for a cell that was cut out, `"smear-cell"` or
            `"smear-nucleus"` for the white cell, or its nucleus only, in an uncut crop of a blood smear. See
            `find_cell`.

    Returns:
        The cell, cropped to its bounding box of height x width px.

    Raises:
        InputError: the file is missing or damaged or cannot be reduced to 8 bits; there is no such background; the
            image shows no cell; or the cell covers all four corners of the image, so that the image was not cut out
            on this background.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import cv2
        >>> import numpy as np
        >>> from leukobench.cells.cell import read_cell
        >>> image = np.zeros((100, 120, 3), np.uint8)
        >>> image = cv2.ellipse(image, (60, 50), (30, 20), 0, 0, 360, (120, 40, 90), cv2.FILLED)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "cell.png"
        ...     written = cv2.imwrite(str(path), image)  # OpenCV writes blue, green, red
        ...     cell = read_cell(path)
        >>> cell.rgb.shape, cell.offset, cell.image_shape
        ((41, 61, 3), (30, 30), (100, 120))
        >>> cell.rgb[20, 30].tolist()
        [90, 40, 120]
    """
    return cell_of(decode_on(path, background), os.fspath(path), background)


def decode_on(path: str | os.PathLike[str], background: str) -> DecodedImage:
    """Decode an image file; transparent pixels become white, or black on a black background. See `read_cell`."""
    return read_image(path, transparent=0 if background == "black" else 255)


def cell_of(image: DecodedImage, name: str, background: str) -> Cell:
    """Segment the cell of a decoded image; see `read_cell`."""
    tolerance = LOSSY_TOLERANCE if image.lossy else 0
    cell = find_cell(image.rgb, name, background=background, tolerance=tolerance)
    if cell.mask.shape == cell.image_shape and cell.mask[[0, 0, -1, -1], [0, -1, 0, -1]].all():
        raise InputError(f"{name}: is not cut out on {background}, the cell covers its corners; {OTHER_BACKGROUND}")
    return cell


def find_cell(rgb: np.ndarray, name: str = "image", *, background: str = BACKGROUNDS[0], tolerance: int = 0) -> Cell:
    """Segment the cell of an image that is already in memory.

    - `"black"`: the foreground is every pixel that is not pure black (0, 0, 0). The cell is its largest 8-connected
      component. The other components are counted and set to black.
    - `"white"`: the same with pure white (255, 255, 255). White that the cell encloses belongs to the cell, because a
      vacuole can be white.
    - `"smear-cell"`: the white cell of a crop of a smear, see `leukobench.cells.white_cell.segment_white_cell`.
    - `"smear-nucleus"`: its nucleus only.
    - `"smear"`: the segmentation of earlier versions, between cell and nucleus, for the runs and feature tables that
      were made with it; see `leukobench.cells.smear.segment_smear`.

    Args:
        rgb: The whole image, 0 to 255. [shape=(height, width, 3), uint8]
        name: Name of the image in error messages.
        background: One of `BACKGROUNDS`.
        tolerance: Largest difference of each channel from pure black or white in the background, grey levels.

    Returns:
        The cell, cropped to its bounding box.

    Raises:
        InputError: `rgb` has another shape or type, there is no such background, or the image shows no cell.

    Source: the images of C-NMC 2019 are single cells on pure black (Gupta, A., & Gupta, R. (2019). ALL Challenge
    dataset of ISBI 2019. The Cancer Imaging Archive).

    Example:
        >>> import numpy as np
        >>> from leukobench.cells.cell import find_cell
        >>> image = np.zeros((60, 80, 3), np.uint8)
        >>> image[10:30, 20:50] = (90, 40, 120)
        >>> image[50, 70] = 255  # a bright speck is a second component
        >>> cell = find_cell(image)
        >>> cell.offset, cell.mask.shape, cell.pieces
        ((10, 20), (20, 30), 2)
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise InputError(f"{name}: has shape {rgb.shape} of {rgb.dtype}; expected (height, width, 3) of uint8")
    if background not in BACKGROUNDS:
        raise InputError(f"no background {background!r}; there is {', '.join(BACKGROUNDS)}")
    if background == "black":
        return _find_on_black(rgb, name, tolerance)
    rgb = contiguous(rgb)
    if background in ("smear-cell", "smear-nucleus"):
        whole, nucleus, components = segment_white_cell(rgb, name)
        return _crop(rgb, whole if background == "smear-cell" else nucleus, components)
    if background == "smear":
        return _crop(rgb, *segment_smear(rgb, name))
    foreground = cv2.bitwise_not(cv2.inRange(rgb, (255 - tolerance,) * 3, (255, 255, 255)))
    if not cv2.hasNonZero(foreground):
        raise _without_cell(name, background)
    return cut_out(rgb, foreground, fill=True)


def _find_on_black(rgb: np.ndarray, name: str, tolerance: int) -> Cell:
    """Segment a cell on black; only the bounding box of the foreground is copied from the image."""
    turned = rgb.strides[0] < 0 and rgb.strides[2] < 0  # a bitmap; bounds are found in the order of its bytes
    stored = rgb[::-1, :, ::-1] if turned else rgb
    height, width = rgb.shape[:2]
    top, bottom, left, right = _bounds(stored.reshape(height, 3 * width), tolerance)
    if bottom == 0:
        raise _without_cell(name, "black")
    if turned:
        top, bottom = height - bottom, height - top
    pixels = contiguous(rgb[top:bottom, left:right])
    cell = cut_out(pixels, _foreground(pixels, tolerance))
    return replace(cell, offset=(cell.offset[0] + top, cell.offset[1] + left), image_shape=(height, width))


def _without_cell(name: str, background: str) -> InputError:
    return InputError(f"{name}: holds no cell (every pixel is {background}); remove it or replace it")


@compiled
def _bounds(rows: np.ndarray, tolerance: int) -> tuple[int, int, int, int]:
    """Return the first row, the row after the last, and the same of columns that have values above a tolerance.

    All 0 if there are none.

    Args:
        rows: Three values for each pixel. [shape=(height, 3 * width), uint8]
        tolerance: Largest value of the background.
    """
    brightest = np.zeros(rows.shape[1], np.uint8)  # of each column
    top = bottom = left = right = 0
    for row in range(rows.shape[0]):
        values = rows[row]
        highest = np.uint8(0)
        for i in range(len(values)):
            highest = max(highest, values[i])
            brightest[i] = max(brightest[i], values[i])
        if highest > tolerance:
            top = row if bottom == 0 else top
            bottom = row + 1
    for i in range(len(brightest)):
        if brightest[i] > tolerance:
            left = i // 3 if right == 0 else left
            right = i // 3 + 1
    return top, bottom, left, right


@compiled
def _foreground(rgb: np.ndarray, tolerance: int) -> np.ndarray:
    """Return 255 where a pixel has a value above a tolerance. [shape=(height, width), uint8]"""
    pixels = rgb.reshape(-1, 3)
    foreground = np.empty(len(pixels), np.uint8)
    limit = np.uint8(tolerance)
    for i in range(len(pixels)):
        brightest = max(pixels[i, 0], pixels[i, 1], pixels[i, 2])
        foreground[i] = 255 if brightest > limit else 0
    return foreground.reshape(rgb.shape[:2])


def cut_out(rgb: np.ndarray, foreground: np.ndarray, *, fill: bool = False) -> Cell:
    """Take the largest 8-connected component of a foreground as the cell.

    Args:
        rgb: The whole image. [shape=(height, width, 3), uint8]
        foreground: Nonzero where a pixel may belong to the cell, for at least one pixel; changed in place.
            [shape=(height, width), uint8]
        fill: Whether holes of the component belong to the cell.
    """
    left, top, width, height = cv2.boundingRect(foreground)
    window = foreground[top : top + height, left : left + width]
    components = count_components(window)
    if components > 1:
        window[:] = largest_component(window)
    if fill:
        fill_holes(window)
    return _crop(rgb, foreground, components)


def _crop(rgb: np.ndarray, mask: np.ndarray, components: int) -> Cell:
    """Crop image and mask to the mask's bounding box; pixels outside the mask become black."""
    left, top, width, height = cv2.boundingRect(mask)
    window = (slice(top, top + height), slice(left, left + width))
    inside = mask[window]
    pixels = np.asarray(cv2.copyTo(rgb[window], inside))
    return Cell(pixels, inside != 0, (top, left), (rgb.shape[0], rgb.shape[1]), components)
