"""The most confidently misclassified cells of each run, as small pictures."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from leukobench.cells.cell import read_cell
from leukobench.cohort.manifest import POSITIVE, path_faults
from leukobench.comparison.results import ComparedRuns
from leukobench.core.errors import InputError
from leukobench.results.metrics import THRESHOLD

MOST = 8  # of each run
SIDE = 150  # px


@dataclass(frozen=True)
class WrongCell:
    """A misclassified cell: its picture as PNG, and its path, subject, class and score."""

    path: str
    subject: str
    label: str
    score: float
    png: bytes


def most_wrong(comparison: ComparedRuns, images: Path) -> dict[str, list[WrongCell]]:
    """Return, by run, the misclassified cells whose score is farthest from the true class, the worst first.

    Of identical images the first is shown.

    Args:
        comparison: The comparison.
        images: Folder that the paths of the test rows are relative to. The paths come from run folders, which another
            person may have written, so none may lead out of it. Links in the folder itself are followed.

    Raises:
        InputError: a path leads out of the folder, or an image is missing or cannot be read.
    """
    for outside, reason in path_faults(comparison.rows.index.to_series()):
        if outside.any():
            path = comparison.rows.index[outside][0]
            run = next(iter(comparison.runs.values()))
            raise InputError(f"{run.folder / 'predictions.csv'}: {path!r} {reason}, so no image is shown; train again")
    found = {}
    for name, run in comparison.runs.items():
        rows = comparison.rows
        error = (rows[name] - (rows["label"] == POSITIVE)).abs()
        wrong = (rows[name] >= THRESHOLD) != (rows["label"] == POSITIVE)
        shown: dict[str, WrongCell] = {}  # by checksum of the pixels: an image with two names is shown once
        for path in error[wrong].sort_values(ascending=False, kind="stable").index:
            pixels, cell = _wrong_cell(images, path, rows.loc[path], name, run.info.background)
            shown.setdefault(pixels, cell)
            if len(shown) == MOST:
                break
        found[name] = list(shown.values())
    return found


def _wrong_cell(images: Path, path: str, row: pd.Series, name: str, background: str) -> tuple[str, WrongCell]:
    """Return the SHA-256 of the pixels of a cell, and the cell."""
    file = images / path
    if not file.is_file():
        raise InputError(f"{file}: no such image; images must be the folder that the manifest was made from")
    rgb = read_cell(file, background).rgb
    pixels = hashlib.sha256(f"{rgb.shape}".encode() + rgb.tobytes()).hexdigest()
    picture = Image.fromarray(rgb)
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True)
    return pixels, WrongCell(path, row["subject"], row["label"], float(row[name]), buffer.getvalue())
