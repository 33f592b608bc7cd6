"""Fingerprints of an image's content: a checksum of its pixels and a thumbnail of its cell."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from leukobench.cells.cell import LOSSY_TOLERANCE, Cell, find_cell
from leukobench.cells.decoding import read_image
from leukobench.cells.threads import one_opencv_thread
from leukobench.core.errors import InputError

SIDE = 32  # px, of the thumbnail
FILL = 0.7  # diameter of the circle of the cell's area / side of the thumbnail


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of images; every attribute is a dictionary by path.

    Attributes:
        pixels: Checksum of the decoded pixels of each image that can be decoded.
        failed: Reason of each image that cannot be decoded.
        thumbnails: Thumbnail of each cell, if asked for and if the image shows a cell. [shape=(32, 32), float32]
    """

    pixels: dict[str, str]
    failed: dict[str, str]
    thumbnails: dict[str, np.ndarray]


def read_fingerprints(
    files: Mapping[str, str | os.PathLike[str]], *, near: bool = False, jobs: int = 1
) -> Fingerprints:
    """Decode images and compute their fingerprints.

    Args:
        files: File of each path.
        near: Also draw the thumbnail of each cell, which near-duplicates are found by.
        jobs: Number of parallel processes.
    """
    reading = Parallel(n_jobs=jobs, return_as="generator", batch_size=16)(
        delayed(_read)(file, near) for file in files.values()
    )
    pixels: dict[str, str] = {}
    failed: dict[str, str] = {}
    thumbnails: dict[str, np.ndarray] = {}
    results = tqdm(reading, total=len(files), desc="decoding", unit="image", disable=None)
    for path, (checksum, drawn, reason) in zip(files, results, strict=True):
        if reason:
            failed[path] = reason
        else:
            pixels[path] = checksum
        if drawn is not None:
            thumbnails[path] = drawn
    return Fingerprints(pixels, failed, thumbnails)


def thumbnail(cell: Cell) -> np.ndarray | None:
    """Draw a cell's thumbnail, with mean 0 inside the cell and Euclidean norm 1. [shape=(32, 32), float32]

    A margin of 1/16 of the cell's longer side is left out, because segmentation and resizing differ there.
    Returns None for a cell without texture.
    """
    margin = max(1, max(cell.mask.shape) // 16)
    block = np.ones((margin, margin), np.uint8)
    inner = np.asarray(cv2.erode(np.pad(cell.mask, 1).astype(np.uint8), block))[1:-1, 1:-1].astype(bool)
    inner = inner if inner.any() else cell.mask
    grey = cell.rgb.mean(axis=2, dtype=np.float32)
    texture = np.where(inner, grey - grey[inner].mean(), np.float32(0))
    rows, columns = np.nonzero(cell.mask)
    large = 4 * SIDE  # drawn larger, then averaged, against aliasing
    scale = FILL * large / np.sqrt(4 * len(rows) / np.pi)
    middle = (large - 1) / 2
    matrix = np.array([[scale, 0, middle - scale * columns.mean()], [0, scale, middle - scale * rows.mean()]])
    drawn = cv2.resize(cv2.warpAffine(texture, matrix, (large, large)), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    norm = np.linalg.norm(drawn)
    return drawn / norm if norm > 1e-3 else None


def _read(file: str | os.PathLike[str], near: bool) -> tuple[str, np.ndarray | None, str]:
    """Return the checksum of a file's pixels, its thumbnail if asked for, and the reason if it cannot be decoded."""
    try:
        image = read_image(file)
    except InputError as error:
        return "", None, str(error)
    checksum = hashlib.sha256(repr(image.rgb.shape).encode() + image.rgb.tobytes()).hexdigest()
    if not near:
        return checksum, None, ""
    tolerance = LOSSY_TOLERANCE if image.lossy else 0
    try:
        with one_opencv_thread():
            return checksum, thumbnail(find_cell(image.rgb, tolerance=tolerance)), ""
    except InputError:
        return checksum, None, ""  # all black: the image has pixels but no cell
