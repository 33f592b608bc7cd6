"""Images for the networks: read and resized once, kept on disk, and mapped into memory."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from leukobench.cells.cell import BACKGROUNDS, Cell, read_cell
from leukobench.cnn.cache import cache_folder, cached, new_array
from leukobench.cohort.layout import refuse_other_folder
from leukobench.core.errors import InputError
from leukobench.core.opening import Place, refuse_other_image
from leukobench.core.progress import ProgressBar

LOG = logging.getLogger(__name__)

_FORMAT = 5  # increase it when `load_images` reads other pixels or checks more, so that old caches are not used


@dataclass(frozen=True)
class Images:
    """Preprocessed images.

    Attributes:
        key: Name of the pixels in the cache: a checksum of files and preprocessing.
        pixels: One row an image, mapped from disk. [shape=(n, side, side, 3), uint8]
        row: Row of each image, by path.
        failed: Reason of each image that could not be read, by path.
        folder: Folder that the paths are relative to.
        frame: Side of the square cut from the middle of each image, px.
        background: What surrounds the cells, see `leukobench.cells.cell.find_cell`.
    """

    key: str
    pixels: np.ndarray
    row: Mapping[str, int]
    failed: Mapping[str, str]
    folder: Path = Path()
    frame: int = 0
    background: str = BACKGROUNDS[0]

    @property
    def side(self) -> int:
        """Side of the pixels that were resized from that square, px."""
        return self.pixels.shape[1]


def square(cell: Cell, frame: int, side: int) -> np.ndarray:
    """Put a cell back in its place in the image, cut a square from the middle of the image, and resize it.

    Args:
        cell: The cell.
        frame: Side of the square, px; outside the image it is black.
        side: Side of the result, px.

    Returns:
        The square. [shape=(side, side, 3), uint8]
    """
    canvas = np.zeros((frame, frame, 3), np.uint8)
    top, left = (offset - (whole - frame) // 2 for offset, whole in zip(cell.offset, cell.image_shape, strict=True))
    height, width = cell.mask.shape
    rows = slice(max(0, top), max(0, min(frame, top + height)))
    columns = slice(max(0, left), max(0, min(frame, left + width)))
    canvas[rows, columns] = cell.rgb[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    if side == frame:
        return canvas
    return cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA if side < frame else cv2.INTER_LINEAR)


def read_square(path: Path, background: str, frame: int, side: int) -> np.ndarray:
    """Read an image as the input of a network: its cell, in the square of `square`. [shape=(side, side, 3), uint8]

    Raises:
        InputError: see `read_cell`; or no part of the cell is within the square.
    """
    pixels = square(read_cell(path, background), frame, side)
    if not pixels.any():
        raise InputError(f"{path}: no cell within the {frame} px in the middle that are the input of the network")
    return pixels


def try_square(path: Path, background: str, frame: int, side: int) -> np.ndarray | str:
    """Return an image as `read_square` does, or the reason why it cannot be read."""
    try:
        return read_square(path, background, frame, side)
    except InputError as error:
        return str(error).removeprefix(f"{path}: ")


def load_images(
    folder: Path,
    manifest: pd.DataFrame,
    *,
    frame: int,
    side: int,
    background: str = BACKGROUNDS[0],
    jobs: int = 1,
) -> Images:
    """Return the images of a manifest's rows; from the cache, if they have been read before.

    The cache is keyed by the paths and checksums of the rows and by the preprocessing; a changed manifest is read
    again, and so is everything if the cache was damaged. Cached images do not need their files; images that could not
    be read, or whose SHA-256 is not that of their row, are tried again.

    Args:
        folder: Folder that the paths are relative to.
        manifest: Rows to read.
        frame: See `square`.
        side: See `square`.
        background: What surrounds the cells, see `leukobench.cells.cell.find_cell`.
        jobs: Number of threads that read.

    Raises:
        InputError: no image could be read.
    """
    paths = manifest["path"].tolist()
    identity: list[Any] = [_FORMAT, background, frame, side, paths, manifest["sha256"].tolist()]
    expected = dict(zip(paths, manifest["sha256"], strict=True))

    def read(path: str) -> np.ndarray | str:
        found = try_square(folder / path, background, frame, side)
        if isinstance(found, str):
            return found
        try:
            refuse_other_image(folder / path, expected[path])
        except InputError as error:
            return str(error)
        return found

    images = None
    while True:
        key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
        fill = partial(_read_all, folder, paths, read, side, jobs, images)
        found = cached(cache_folder() / "images" / key, fill)
        failed = json.loads((found / "failed.json").read_text(encoding="utf-8"))
        row = {path: number for number, path in enumerate(paths) if path not in failed}
        pixels = np.load(found / "pixels.npy", mmap_mode="r")
        images = Images(key, pixels, row, failed, folder, frame, background)
        readable = [path for path in failed if not isinstance(read(path), str)]
        if not readable:
            return images
        identity.append(readable)  # under another key: another process may be using the first


def _read_all(
    folder: Path,
    paths: list[str],
    read: Callable[[str], np.ndarray | str],
    side: int,
    jobs: int,
    before: Images | None,
    out: Path,
) -> None:
    """Write `pixels.npy` and `failed.json`, with what was read before; the row of a failed image is black."""
    pixels = new_array(out / "pixels.npy", np.uint8, (len(paths), side, side, 3))
    if before is not None:
        pixels[:] = before.pixels
    rows = [number for number, path in enumerate(paths) if before is None or path in before.failed]

    def fill(row: int) -> str | None:
        found = read(paths[row])
        if isinstance(found, str):
            return found
        pixels[row] = found
        return None

    place = Place(folder)
    reading = Parallel(n_jobs=jobs, prefer="threads", return_as="generator")(delayed(fill)(row) for row in rows)
    reasons = list(ProgressBar(LOG, reading, total=len(rows), desc="reading images", unit="image"))
    pixels.flush()
    failed = {paths[row]: reason for row, reason in zip(rows, reasons, strict=True) if reason}
    if failed:
        place.check()
    if len(failed) == len(paths):
        refuse_other_folder(folder, paths)
        first, reason = next(iter(failed.items()))
        raise InputError(f"{folder}: none of {len(paths)} images could be read; the first: {first}: {reason}")
    (out / "failed.json").write_text(json.dumps(failed), encoding="utf-8")
