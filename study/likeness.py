"""Whether two files show the same cell: equal pixels in different files, and near-duplicates.

Near-duplicates are found by a small picture of each cell: its grey values less their mean, scaled so that the cell has
a standard area and stands centred on its centroid, in 32 x 32 pixels of unit norm. The likeness of two cells is the
correlation of their pictures, at the best of the eight quarter turns and mirror images. It does not change with
size, place, brightness or contrast, and hardly with compression; other crops of the same cell still agree.

How often it errs is counted where the answer is known: two cells with different labels are of two people, so any such
pair that is called alike is a false alarm. Pairs of different subject groups are counted too; those may be false
alarms or, as some of C-NMC 2019 are, one cell that was filed under two subjects.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from study.cell import LOSSY_TOLERANCE, Cell, find_cell
from study.errors import StudyError
from study.image import read_picture

SIDE = 32  # px of the small picture
FILL = 0.7  # diameter of the circle of the cell's area, as a share of the side
# On 3,833 distinct images of C-NMC 2019: none of 3.0 million pairs of different labels reaches 0.87, and of 7.1 million
# pairs of different subject groups 28 reach 0.90, each of them one cell in two photographs.
ALIKE = 0.90
MOST_PAIRS = 10_000  # kept in the report; all are counted
_BLOCK = 1024  # rows compared at once: 4 MB a block and side


@dataclass(frozen=True)
class Contents:
    """What decoding the images found; all by path.

    Attributes:
        pixels: Checksum of the decoded pixels, of images that can be decoded.
        failed: Reason of those that cannot.
        pictures: Small picture of each cell, where asked for and where there is a cell. [shape=(32, 32), float32]
    """

    pixels: dict[str, str]
    failed: dict[str, str]
    pictures: dict[str, np.ndarray]


@dataclass(frozen=True)
class Alike:
    """Near-duplicates, and how often the method errs.

    Attributes:
        threshold: Least likeness of a pair.
        compared: Number of cells compared, each once however many copies there are.
        pairs: `path`, `other`, `likeness`, `group` and `other_group` of the likest pairs, at most `MOST_PAIRS`; those
            of different subject groups first.
        found: Number of pairs found.
        between_groups: Of these, pairs of different subject groups; and how many such pairs were compared.
        between_labels: The same of pairs of different labels: these are false alarms.
    """

    threshold: float
    compared: int
    pairs: pd.DataFrame
    found: int
    between_groups: tuple[int, int]
    between_labels: tuple[int, int]

    def between_ties(self) -> dict[tuple[str, str], int]:
        """Count the listed pairs of each two different subject groups, the most first."""
        known = self.pairs[(self.pairs["group"] != "") & (self.pairs["other_group"] != "")]
        between = known[known["group"] != known["other_group"]]
        ties = Counter(tuple(sorted(pair)) for pair in between[["group", "other_group"]].to_numpy())
        return dict(ties.most_common())


def read_contents(files: dict[str, Path], *, near: bool = False, jobs: int = 1) -> Contents:
    """Decode images.

    Args:
        files: File of each path.
        near: Draw the small picture of each cell, too.
        jobs: Processes.
    """
    reading = Parallel(n_jobs=jobs, return_as="generator", batch_size=16)(
        delayed(_read)(file, near) for file in files.values()
    )
    pixels: dict[str, str] = {}
    failed: dict[str, str] = {}
    pictures: dict[str, np.ndarray] = {}
    results = tqdm(reading, total=len(files), desc="decoding", unit="image", disable=None)
    for path, (checksum, picture, reason) in zip(files, results, strict=True):
        if reason:
            failed[path] = reason
        else:
            pixels[path] = checksum
        if picture is not None:
            pictures[path] = picture
    return Contents(pixels, failed, pictures)


def small_picture(cell: Cell) -> np.ndarray | None:
    """Draw a cell's small picture, of zero mean inside the cell and unit norm. [shape=(32, 32), float32]

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


def find_alike(
    pictures: np.ndarray, paths: Sequence[str], group: Sequence[str], label: Sequence[str], threshold: float = ALIKE
) -> Alike:
    """Find the pairs of cells whose likeness is at least `threshold`.

    Args:
        pictures: Small pictures. [shape=(n, 32, 32)]
        paths: Path of each.
        group: Subject group of each; "" where unknown.
        label: Label of each; "" where unknown.
        threshold: Least likeness.
    """
    groups, labels = (_codes(values) for values in (group, label))
    number = len(pictures)
    flat = pictures.reshape(number, -1)
    turned = [turn.reshape(number, -1) for turn in _turns(pictures)]
    found, hits = 0, {"groups": 0, "labels": 0}
    kept = np.empty((0, 4))
    for start in tqdm(range(0, number, _BLOCK), desc="comparing", unit="block", disable=None):
        rows, columns, likeness = _block(flat, turned, start, threshold)
        between = _differ(groups, rows, columns)
        found += len(rows)
        hits["groups"] += int(between.sum())
        hits["labels"] += int(_differ(labels, rows, columns).sum())
        kept = np.vstack([kept, np.column_stack([rows, columns, likeness, between])])
        kept = kept[np.lexsort((kept[:, 1], kept[:, 0], -kept[:, 2], -kept[:, 3]))][:MOST_PAIRS]
    first, second = kept[:, 0].astype(int), kept[:, 1].astype(int)
    names, ids = np.asarray(paths, object), np.asarray(group, object)
    table = pd.DataFrame({"path": names[first], "other": names[second], "likeness": kept[:, 2].round(4)})
    table["group"], table["other_group"] = ids[first], ids[second]
    return Alike(
        threshold=threshold,
        compared=number,
        pairs=table,
        found=found,
        between_groups=(hits["groups"], _pairs_that_differ(groups)),
        between_labels=(hits["labels"], _pairs_that_differ(labels)),
    )


def _read(file: Path, near: bool) -> tuple[str, np.ndarray | None, str]:
    """Return the checksum of a file's pixels, its small picture if asked for, and why it cannot be decoded."""
    cv2.setNumThreads(1)  # the processes share the cores already
    try:
        picture = read_picture(file)
    except StudyError as error:
        return "", None, str(error)
    rgb = picture.rgb
    checksum = hashlib.sha256(repr(rgb.shape).encode() + rgb.tobytes()).hexdigest()
    tolerance = LOSSY_TOLERANCE if picture.lossy else 0
    try:
        return checksum, small_picture(find_cell(rgb, tolerance=tolerance)) if near else None, ""
    except StudyError:
        return checksum, None, ""  # all black: has pixels but no cell


def _turns(pictures: np.ndarray) -> list[np.ndarray]:
    """Return pictures in their eight quarter turns and mirror images."""
    quarters = [np.rot90(pictures, quarter, axes=(1, 2)) for quarter in range(4)]
    return quarters + [quarter[:, :, ::-1] for quarter in quarters]


def _block(
    flat: np.ndarray, turned: list[np.ndarray], start: int, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare the pictures from `start` on with those before them and among each other, each pair once."""
    stop = min(start + _BLOCK, len(flat))
    rows, columns, likeness = [], [], []
    for other in range(0, stop, _BLOCK):
        best = np.full((stop - start, min(other + _BLOCK, stop) - other), -np.inf, flat.dtype)
        for turn in turned:
            np.maximum(best, flat[start:stop] @ turn[other : other + best.shape[1]].T, out=best)
        row, column = np.nonzero(best >= threshold)
        once = column + other < row + start
        rows.append(column[once] + other)
        columns.append(row[once] + start)
        likeness.append(best[row[once], column[once]])
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(likeness)


def _codes(values: Sequence[str]) -> np.ndarray:
    """Number the distinct values; -1 where unknown ("")."""
    series = pd.Series(values, dtype=object)
    return pd.factorize(series.where(series != ""))[0]


def _differ(codes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    a, b = codes[rows], codes[columns]
    return (a != b) & (a >= 0) & (b >= 0)


def _pairs_that_differ(codes: np.ndarray) -> int:
    sizes = np.bincount(codes[codes >= 0])
    return int((sizes.sum() ** 2 - (sizes**2).sum()) // 2)
