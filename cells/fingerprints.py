"""Fingerprints of an image's content: a checksum of its pixels, and the texture of its cell at a standard size."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from joblib import delayed

from leukobench.cells.cell import BACKGROUNDS, Cell, cell_of, decode_on
from leukobench.cells.decoding import contiguous
from leukobench.cells.threads import one_opencv_thread
from leukobench.core.errors import InputError
from leukobench.core.processes import in_processes
from leukobench.core.progress import ProgressBar

LOG = logging.getLogger(__name__)

SIDE = 64  # px, of a texture
OUTSIDE = -128  # value of the pixels of a texture that do not belong to the cell
_FILL = 0.7  # diameter of the circle of the cell's area / side of the texture
_SMOOTHING = 6.0  # px; standard deviation of the Gaussian filter whose result is subtracted


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of one image.

    Attributes:
        pixels: Checksum of the decoded pixels; "" if the image cannot be decoded.
        texture: Texture of the cell; None if it was not asked for, or for the reason in `problem`.
            [shape=(64, 64), int8]
        problem: Reason why the image cannot be decoded, or why it has no texture; "" if there is none.
    """

    pixels: str
    texture: np.ndarray | None = None
    problem: str = ""


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of images; every attribute is a dictionary by path.

    Attributes:
        pixels: Checksum of the decoded pixels of each image that can be decoded.
        failed: Reason of each image that cannot be decoded.
        textures: Texture of each cell, if asked for. [shape=(64, 64), int8]
        not_compared: Reason of each image that can be decoded but has no texture, if asked for.
    """

    pixels: dict[str, str]
    failed: dict[str, str]
    textures: dict[str, np.ndarray]
    not_compared: dict[str, str]


def read_fingerprints(
    files: Mapping[str, str | os.PathLike[str]],
    *,
    near: bool = False,
    background: str = BACKGROUNDS[0],
    jobs: int = 1,
) -> Fingerprints:
    """Decode images and compute their fingerprints.

    Args:
        files: File of each path.
        near: Also compute the texture of each cell, which near-duplicates are found by.
        background: What surrounds the cell, see `leukobench.cells.cell.read_cell`.
        jobs: Number of parallel processes.
    """
    calls = (delayed(read_fingerprint)(file, near=near, background=background) for file in files.values())
    reading = in_processes(calls, jobs, batch_size=16)
    results = ProgressBar(LOG, reading, total=len(files), desc="decoding", unit="image")
    found = dict(zip(files, results, strict=True))
    return Fingerprints(
        pixels={path: one.pixels for path, one in found.items() if one.pixels},
        failed={path: one.problem for path, one in found.items() if not one.pixels},
        textures={path: one.texture for path, one in found.items() if one.texture is not None},
        not_compared={path: one.problem for path, one in found.items() if one.pixels and one.problem},
    )


def read_fingerprint(
    file: str | os.PathLike[str], *, near: bool = False, background: str = BACKGROUNDS[0]
) -> Fingerprint:
    """Decode one image file and compute its fingerprint; see `read_fingerprints`."""
    try:
        image = decode_on(file, background)
    except InputError as error:
        return Fingerprint("", problem=str(error))
    checksum = hashlib.sha256(repr(image.rgb.shape).encode())
    checksum.update(contiguous(image.rgb).data)
    pixels = checksum.hexdigest()
    if not near:
        return Fingerprint(pixels)
    try:
        with one_opencv_thread():
            found = texture(cell_of(image, os.fspath(file), background))
    except InputError as error:
        return Fingerprint(pixels, problem=str(error))
    return Fingerprint(pixels, found, "" if found is not None else f"{os.fspath(file)}: the cell has no texture")


def texture(cell: Cell) -> np.ndarray | None:
    """Compute the texture of a cell at a standard size: where it is brighter or darker than its surroundings.

    The cell is converted to grey (mean of red, green and blue), moved so that its centroid is in the middle, and scaled
    so that the circle of its area has a diameter of 0.7 x 64 px. Then the grey level smoothed by a Gaussian filter
    (standard deviation 6 px, over the cell only) is subtracted. A margin of 1/16 of the cell's longer side does not
    count, because segmentation and resizing differ there.

    Returns:
        The texture, -127 to 127; -128 outside the cell. None for a cell without texture, and for one that is so small
        or thin that nothing remains inside the margin. [shape=(64, 64), int8]
    """
    margin = max(1, max(cell.mask.shape) // 16)
    block = np.ones((margin, margin), np.uint8)
    inside = np.asarray(cv2.erode(np.pad(cell.mask, 1).astype(np.uint8), block))[1:-1, 1:-1].astype(np.float32)
    scale, row, column = standard_frame(cell)
    large = 4 * SIDE  # drawn larger, then averaged, against aliasing
    middle = (large - 1) / 2
    matrix = np.array([[4 * scale, 0, middle - 4 * scale * column], [0, 4 * scale, middle - 4 * scale * row]])

    def drawn(values: np.ndarray) -> np.ndarray:
        enlarged = cv2.warpAffine(values, matrix, (large, large))
        return np.asarray(cv2.resize(enlarged, (SIDE, SIDE), interpolation=cv2.INTER_AREA))

    weight = drawn(inside)
    within = weight > 0.5
    if not within.any():
        return None
    mean = cell.rgb.astype(np.float32) @ np.ones(3, np.float32) / 3  # much faster than NumPy's mean of a short axis
    grey = np.where(within, drawn(mean * inside) / np.maximum(weight, 0.5), 0)
    smooth = [cv2.GaussianBlur(values.astype(np.float32), (0, 0), _SMOOTHING) for values in (grey, within)]
    contrast = grey - smooth[0] / np.maximum(smooth[1], 1e-3)
    contrast -= contrast[within].mean()
    strongest = np.abs(contrast[within]).max()
    if strongest < 1:  # grey level: less is rounding
        return None
    return np.where(within, np.rint(contrast * (127 / strongest)), OUTSIDE).astype(np.int8)


def standard_frame(cell: Cell) -> tuple[float, float, float]:
    """Return the scale of a cell's texture, px of the texture per px of the image, and row and column of its centroid.

    The centroid is in the middle of the texture. Row and column count from the top left of the cell's crop.
    """
    rows, columns = np.nonzero(cell.mask)
    return _FILL * SIDE / np.sqrt(4 * len(rows) / np.pi), rows.mean(), columns.mean()
