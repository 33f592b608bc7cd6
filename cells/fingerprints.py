"""What identifies the content of an image: a checksum of its pixels, and a thumbnail of its cell."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from leukobench.cells.cell import LOSSY_TOLERANCE, Cell, find_cell
from leukobench.cells.decoding import read_picture
from leukobench.core.errors import InputError

SIDE = 32  # px of the thumbnail
FILL = 0.7  # diameter of the circle of the cell's area, as a share of the side


@dataclass(frozen=True)
class Fingerprints:
    """What decoding the images found; all by path.

    Attributes:
        pixels: Checksum of the decoded pixels, of images that can be decoded.
        failed: Reason of those that cannot.
        thumbnails: Thumbnail of each cell, where asked for and where there is a cell. [shape=(32, 32), float32]
    """

    pixels: dict[str, str]
    failed: dict[str, str]
    thumbnails: dict[str, np.ndarray]


def read_fingerprints(files: Mapping[str, Path], *, near: bool = False, jobs: int = 1) -> Fingerprints:
    """Decode images.

    Args:
        files: File of each path.
        near: Also draw the thumbnail of each cell.
        jobs: Processes.
    """
    reading = Parallel(n_jobs=jobs, return_as="generator", batch_size=16)(
        delayed(_read)(file, near) for file in files.values()
    )
    pixels: dict[str, str] = {}
    failed: dict[str, str] = {}
    thumbnails: dict[str, np.ndarray] = {}
    results = tqdm(reading, total=len(files), desc="decoding", unit="image", disable=None)
    for path, (checksum, picture, reason) in zip(files, results, strict=True):
        if reason:
            failed[path] = reason
        else:
            pixels[path] = checksum
        if picture is not None:
            thumbnails[path] = picture
    return Fingerprints(pixels, failed, thumbnails)


def thumbnail(cell: Cell) -> np.ndarray | None:
    """Draw a cell's thumbnail, of zero mean inside the cell and unit norm. [shape=(32, 32), float32]

    The rim, a sixteenth of the cell's longer side, is left out: it is where segmentation and resizing differ.
    Returns None where the cell has no texture at all.
    """
    rim = max(1, max(cell.mask.shape) // 16)
    inner = cv2.erode(np.pad(cell.mask, 1).astype(np.uint8), np.ones((rim, rim)))[1:-1, 1:-1].astype(bool)
    inner = inner if inner.any() else cell.mask
    grey = cell.rgb.mean(axis=2, dtype=np.float32)
    texture = np.where(inner, grey - grey[inner].mean(), np.float32(0))
    rows, columns = np.nonzero(cell.mask)
    large = 4 * SIDE  # drawn larger and averaged down, against aliasing
    scale = FILL * large / np.sqrt(4 * len(rows) / np.pi)
    middle = (large - 1) / 2
    matrix = np.array([[scale, 0, middle - scale * columns.mean()], [0, scale, middle - scale * rows.mean()]])
    drawn = cv2.resize(cv2.warpAffine(texture, matrix, (large, large)), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    norm = np.linalg.norm(drawn)
    return drawn / norm if norm > 1e-3 else None


def _read(file: Path, near: bool) -> tuple[str, np.ndarray | None, str]:
    """Return the checksum of a file's pixels, its thumbnail if asked for, and why it cannot be decoded."""
    cv2.setNumThreads(1)  # the processes share the cores already
    try:
        picture = read_picture(file)
    except InputError as error:
        return "", None, str(error)
    rgb = picture.rgb
    checksum = hashlib.sha256(repr(rgb.shape).encode() + rgb.tobytes()).hexdigest()
    tolerance = LOSSY_TOLERANCE if picture.lossy else 0
    try:
        return checksum, thumbnail(find_cell(rgb, tolerance=tolerance)) if near else None, ""
    except InputError:
        return checksum, None, ""  # all black: has pixels but no cell
