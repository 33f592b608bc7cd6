"""Images for the networks: read and resized once, kept on disk, mapped into memory, dealt out in batches."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from leukobench.cells.cell import BACKGROUNDS, Cell, read_cell
from leukobench.core.errors import InputError
from leukobench.core.files import whole_folder

CACHE_VARIABLE = "LEUKOBENCH_CACHE"
_FORMAT = 3  # raise it when `read_square` changes, so that old caches are not read


@dataclass(frozen=True)
class Images:
    """Preprocessed images.

    Attributes:
        key: What the pixels are known by in the cache: it tells files and preprocessing.
        pixels: One row an image, mapped from disk. [shape=(n, side, side, 3), uint8]
        row: Row of each image, by path.
        failed: Reason of each image that could not be read, by path.
    """

    key: str
    pixels: np.ndarray
    row: dict[str, int]
    failed: dict[str, str]


def cache_folder() -> Path:
    """Where preprocessed images are kept: $LEUKOBENCH_CACHE, or leukobench in the user's cache folder."""
    if CACHE_VARIABLE in os.environ:
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leukobench"


def square(cell: Cell, frame: int, side: int) -> np.ndarray:
    """Put a cell back where it lay, cut a square from the middle of the image, and resize that.

    Args:
        cell: The cell.
        frame: Side of the square, px; what lies outside the image is black.
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
    """Read an image as a network sees it: its cell, in the square that `square` cuts. [shape=(side, side, 3), uint8]

    Raises:
        InputError: see `read_cell`; or nothing of the cell lies within the square.
    """
    pixels = square(read_cell(path, background), frame, side)
    if not pixels.any():
        raise InputError(f"{path}: no cell within the {frame} px in the middle that the network looks at")
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
    """Return the images of a manifest's rows, from the cache where they have been read before.

    The cache is keyed by the rows' paths and checksums and by the preprocessing, so that a changed manifest reads anew.
    What is in it needs no files any more; images that could not be read are tried again.

    Args:
        folder: Folder that the paths are relative to.
        manifest: Rows to read.
        frame: See `square`.
        side: See `square`.
        background: What lies around the cells, see `leukobench.cells.cell.find_cell`.
        jobs: Threads that read.

    Raises:
        InputError: no image could be read.
    """
    paths = manifest["path"].tolist()
    identity: list[Any] = [_FORMAT, background, frame, side, paths, manifest["sha256"].tolist()]
    read = partial(try_square, background=background, frame=frame, side=side)
    images = None
    while True:
        key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
        cached = cache_folder() / "images" / key
        if not cached.is_dir():
            with whole_folder(cached, shared=True) as unfinished:
                _read_all(folder, paths, read, side, jobs, images, unfinished)
        failed = json.loads((cached / "failed.json").read_text(encoding="utf-8"))
        row = {path: number for number, path in enumerate(paths) if path not in failed}
        images = Images(key, np.load(cached / "pixels.npy", mmap_mode="r"), row, failed)
        mended = [path for path in failed if not isinstance(read(folder / path), str)]
        if not mended:
            return images
        identity.append(mended)  # kept beside what another process may be using


def _read_all(
    folder: Path,
    paths: list[str],
    read: Callable[[Path], np.ndarray | str],
    side: int,
    jobs: int,
    before: Images | None,
    out: Path,
) -> None:
    """Write `pixels.npy` and `failed.json`, with what was read before; the row of an image that failed stays black."""
    pixels = np.lib.format.open_memmap(out / "pixels.npy", mode="w+", dtype=np.uint8, shape=(len(paths), side, side, 3))
    if before is not None:
        pixels[:] = before.pixels
    rows = [number for number, path in enumerate(paths) if before is None or path in before.failed]

    def fill(row: int) -> str | None:
        found = read(folder / paths[row])
        if isinstance(found, str):
            return found
        pixels[row] = found
        return None

    reading = Parallel(n_jobs=jobs, prefer="threads", return_as="generator")(delayed(fill)(row) for row in rows)
    reasons = list(tqdm(reading, total=len(rows), desc="reading images", unit="image", disable=None))
    pixels.flush()
    failed = {paths[row]: reason for row, reason in zip(rows, reasons, strict=True) if reason}
    if len(failed) == len(paths):
        first, reason = next(iter(failed.items()))
        raise InputError(f"{folder}: none of {len(paths)} images could be read; the first: {first}: {reason}")
    (out / "failed.json").write_text(json.dumps(failed), encoding="utf-8")
