"""Images for the networks: read and resized once, kept on disk, mapped into memory, dealt out in batches."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from cnn.backend import keras
from study.cell import BACKGROUNDS, Cell, read_cell
from study.errors import StudyError
from study.files import whole_folder

CACHE_VARIABLE = "LEUKOBENCH_CACHE"
_FORMAT = 2  # raise it when `read_cell` or `square` changes, so that old caches are not read


@dataclass(frozen=True)
class Images:
    """Preprocessed images.

    Attributes:
        pixels: One row an image, mapped from disk. [shape=(n, side, side, 3), uint8]
        row: Row of each image, by path.
        failed: Reason of each image that could not be read, by path.
    """

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

    Args:
        folder: Folder that the paths are relative to.
        manifest: Rows to read.
        frame: See `square`.
        side: See `square`.
        background: What lies around the cells, see `study.cell.find_cell`.
        jobs: Threads that read.

    Raises:
        StudyError: no image could be read.
    """
    identity = [_FORMAT, background, frame, side, manifest["path"].tolist(), manifest["sha256"].tolist()]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
    cached = cache_folder() / "images" / key
    if not cached.is_dir():
        with whole_folder(cached) as partial:
            _read_all(folder, manifest["path"].tolist(), background, frame, side, jobs, partial)
    failed = json.loads((cached / "failed.json").read_text(encoding="utf-8"))
    row = {path: number for number, path in enumerate(manifest["path"]) if path not in failed}
    return Images(np.load(cached / "pixels.npy", mmap_mode="r"), row, failed)


class Batches(keras.utils.PyDataset):
    """Rows of an image array in batches, in order or newly shuffled every epoch.

    The order of epoch e depends on the seed and e alone, so that a resumed training sees what an unbroken one does.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        rows: np.ndarray,
        batch: int,
        targets: np.ndarray | None = None,
        shuffle_seed: int | None = None,
    ) -> None:
        super().__init__()
        self._inputs, self._rows, self._targets = inputs, rows, targets
        self._batch, self._seed, self._epoch = batch, shuffle_seed, 0
        self._order = np.arange(len(rows))
        self._shuffle()

    def __len__(self) -> int:
        return math.ceil(len(self._rows) / self._batch)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        chosen = self._order[index * self._batch : (index + 1) * self._batch]
        pixels = self._inputs[self._rows[chosen]]
        return (pixels,) if self._targets is None else (pixels, self._targets[chosen])

    def on_epoch_end(self) -> None:
        """Shuffle for the next epoch."""
        self._epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        if self._seed is not None:
            self._order = np.random.default_rng([self._seed, self._epoch]).permutation(len(self._rows))


def _read_all(folder: Path, paths: list[str], background: str, frame: int, side: int, jobs: int, out: Path) -> None:
    """Write `pixels.npy` and `failed.json`; the row of an image that failed stays black."""
    pixels = np.lib.format.open_memmap(out / "pixels.npy", mode="w+", dtype=np.uint8, shape=(len(paths), side, side, 3))

    def read(number: int) -> str | None:
        try:
            pixels[number] = square(read_cell(folder / paths[number], background), frame, side)
            return None
        except StudyError as error:
            return str(error)

    reading = Parallel(n_jobs=jobs, prefer="threads", return_as="generator")(
        delayed(read)(number) for number in range(len(paths))
    )
    reasons = list(tqdm(reading, total=len(paths), desc="reading images", unit="image", disable=None))
    pixels.flush()
    failed = {path: reason for path, reason in zip(paths, reasons, strict=True) if reason}
    if len(failed) == len(paths):
        raise StudyError(f"{folder}: none of {len(paths)} images could be read; the first: {failed[paths[0]]}")
    (out / "failed.json").write_text(json.dumps(failed), encoding="utf-8")
