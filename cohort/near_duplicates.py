"""Near-duplicates: pairs of photographs of the same cell.

The search has two steps. Both compare the textures of the cells (`leukobench.cells.fingerprints`), which are centred
and of standard area; neither depends on brightness or contrast.

1. Coarse: every pair of cells is compared at 16 x 16 px, at 30 rotations with and without reflection. Pairs that
   correlate by less than 0.65 at every one are left out. Only 15 rotations are computed: flips of the first cell along
   rows, columns and both give the others.
2. Fine: each remaining pair is registered at 64 x 64 px (`leukobench.cohort.registration`). The similarity of a pair is
   the correlation after registration, over the part of the cell that both images show.

The false-positive rate is measured on pairs of different labels: they come from two subjects, so every such pair above
the threshold is a false positive. Pairs from different subject groups are counted too; these are false positives or, as
in C-NMC 2019, one cell with two subject IDs.
"""

from __future__ import annotations

import functools
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from leukobench.cells.cell import BACKGROUNDS
from leukobench.cells.fingerprints import OUTSIDE, read_fingerprints
from leukobench.cohort.layout import image_files
from leukobench.cohort.registration import Registrations, register
from leukobench.core.compiled import compiled
from leukobench.core.errors import InputError
from leukobench.core.progress import ProgressBar

LOG = logging.getLogger(__name__)

# On 4,117 distinct images of C-NMC 2019, pairs of one cell under two subject IDs have a similarity of 0.95 or more; the
# largest of other pairs of different people is 0.89, that of 3.6 million pairs of different labels 0.87.
MIN_SIMILARITY = 0.92
_SIDE = 16  # px, of the coarse comparison
_MIN_COARSE = 0.65
_ANGLES = 30
_BLOCK = 1024  # cells compared at once; their rotations are 31 MB
_PIECE = 128  # cells of a block that a thread compares with another block
_FLIPS = ((1, 1), (1, -1), (-1, 1), (-1, -1))  # steps along rows and columns: none, mirrored, upside down, half a turn


@dataclass(frozen=True)
class Pairs:
    """Pairs of cells whose similarity is at least a threshold, the most similar first.

    Attributes:
        first: Number of the first cell of each pair.
        second: Number of the second cell, larger than that of the first.
        registration: Similarity and transform of each pair.
    """

    first: np.ndarray
    second: np.ndarray
    registration: Registrations


@dataclass(frozen=True)
class NearDuplicates:
    """Near-duplicates, and the counts behind the false-positive rate.

    Attributes:
        threshold: Smallest similarity of a pair.
        compared: Number of distinct cells compared.
        pairs: `path`, `other`, `similarity`, `group` and `other_group` of each pair; pairs of different subject groups
            first, and of these the most similar first.
        between_groups: Number of found and of compared pairs of different subject groups.
        between_labels: Number of found (false positives) and of compared pairs of different labels.
    """

    threshold: float
    compared: int
    pairs: pd.DataFrame
    between_groups: tuple[int, int]
    between_labels: tuple[int, int]

    def between_ties(self) -> dict[tuple[str, str], int]:
        """Count the pairs of every two different subject groups, the largest count first."""
        known = self.pairs[(self.pairs["group"] != "") & (self.pairs["other_group"] != "")]
        between = known[known["group"] != known["other_group"]]
        ties = Counter(tuple(sorted(pair)) for pair in between[["group", "other_group"]].to_numpy())
        return dict(ties.most_common())


def find_near_duplicates(
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    threshold: float = MIN_SIMILARITY,
    background: str = BACKGROUNDS[0],
    jobs: int = 1,
) -> pd.DataFrame:
    """Find pairs of images that show the same cell, in any orientation, size, brightness and contrast.

    The similarity of two cells is the correlation of their textures after registration, see the module
    `leukobench.cohort.near_duplicates`.

    Args:
        images: A folder, searched with its subfolders, or image files.
        threshold: Smallest similarity of a pair, in [-1, 1].
        background: What surrounds the cell, one of `leukobench.cells.cell.BACKGROUNDS`, see `read_cell`.
        jobs: Number of parallel processes.

    Returns:
        One row a pair: `path`, `other` and `similarity`, the most similar first. `attrs["failures"]` has the reason of
        each image that was not compared: it cannot be read, or shows no cell.

    Raises:
        InputError: there is no image, or no cell can be compared.

    Example:
        >>> import shutil
        >>> import leukobench as lb
        >>> truth = lb.generate_cohort("images", subjects=2, cells_per_subject=2)
        >>> copy = shutil.copy("images/training_data/fold_0/all/UID_1_1_1_all.bmp", "images/copy.bmp")
        >>> lb.find_near_duplicates("images")[["path", "similarity"]].values.tolist()
        [['copy.bmp', 1.0]]
    """
    if isinstance(images, str | os.PathLike):
        files = {path: Path(images) / path for path in image_files(Path(images))}
    else:
        files = {os.fspath(path): Path(path) for path in images}
    read = read_fingerprints(files, near=True, background=background, jobs=jobs)
    failures = {**read.failed, **read.not_compared}
    if not read.textures:
        first = next(iter(failures.values()), "there is no image")
        raise InputError(f"no cell can be compared (first: {first})")
    paths = np.array(list(read.textures), object)
    found = similar_pairs(np.stack(list(read.textures.values())), threshold, jobs=jobs)
    table = pd.DataFrame({"path": paths[found.first], "other": paths[found.second]})
    table["similarity"] = found.registration.similarity.round(4)
    table.attrs["failures"] = failures
    return table


def near_duplicates(
    textures: np.ndarray,
    paths: Sequence[str],
    group: Sequence[str],
    label: Sequence[str],
    threshold: float = MIN_SIMILARITY,
    *,
    jobs: int = 1,
) -> NearDuplicates:
    """Find near-duplicates, and count those of different subject groups and labels.

    Args:
        textures: Textures. [shape=(n, 64, 64), int8]
        paths: Path of each cell.
        group: Subject group of each cell; "" if unknown.
        label: Label of each cell; "" if unknown.
        threshold: Smallest similarity of a pair.
        jobs: Number of parallel threads.
    """
    found = similar_pairs(textures, threshold, jobs=jobs)
    groups, labels = (_codes(values) for values in (group, label))
    between = _differ(groups, found.first, found.second)
    order = np.argsort(~between, kind="stable")
    first, second = found.first[order], found.second[order]
    names, ids = np.asarray(paths, object), np.asarray(group, object)
    table = pd.DataFrame({"path": names[first], "other": names[second]})
    table["similarity"] = found.registration.similarity[order].round(4)
    table["group"], table["other_group"] = ids[first], ids[second]
    return NearDuplicates(
        threshold=threshold,
        compared=len(textures),
        pairs=table,
        between_groups=(int(between.sum()), _pairs_that_differ(groups)),
        between_labels=(int(_differ(labels, found.first, found.second).sum()), _pairs_that_differ(labels)),
    )


def similar_pairs(textures: np.ndarray, threshold: float = MIN_SIMILARITY, *, jobs: int = 1) -> Pairs:
    """Find the pairs of cells whose similarity is at least a threshold.

    Time grows with the square of the number of cells, memory with their number.

    Args:
        textures: Textures. [shape=(n, 64, 64), int8]
        threshold: Smallest similarity of a pair.
        jobs: Number of parallel threads.
    """
    coarse, rotations = _coarse(textures), _rotations()
    firsts, seconds, registrations = [], [], []
    blocks = range(0, len(textures), _BLOCK)
    with (
        threadpool_limits(1, "blas"),  # threads of BLAS wait actively, which other programs on the machine slow down
        ProgressBar(LOG, total=len(textures) ** 2, desc="comparing", unit="pair", unit_scale=0.5) as progress,
    ):
        for start in blocks:
            views = _views(coarse[start : start + _BLOCK], rotations)
            parts = [_symmetric_parts(view) for view in views]
            for other in range(0, start + 1, _BLOCK):
                row, column = _candidates(coarse[other : other + _BLOCK], parts, jobs)
                once = row + other < column + start
                first, second = row[once] + other, column[once] + start
                angle, mirrored = _best_views(coarse[first], [view[column[once]] for view in views])
                found = register(textures, first, second, angle, mirrored, jobs=jobs)
                near = found.similarity >= threshold
                firsts.append(first[near])
                seconds.append(second[near])
                registrations.append([values[near] for values in vars(found).values()])
                pairs = len(views[0]) * len(coarse[other : other + _BLOCK])
                progress.update(pairs * (2 - (other == start)))
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    joined = [np.concatenate(values) for values in zip(*registrations, strict=True)]
    order = np.lexsort((second, first, -joined[0]))
    return Pairs(first[order], second[order], Registrations(*(values[order] for values in joined)))


def align(first: np.ndarray, second: np.ndarray) -> Registrations:
    """Register two textures, starting from the best coarse view, however little they correlate."""
    pair = np.stack([first, second])
    coarse = _coarse(pair)
    angle, mirrored = _best_views(coarse[:1], _views(coarse[1:], _rotations()))
    return register(pair, np.array([0]), np.array([1]), angle, mirrored)


@functools.cache
def _rotations() -> list[np.ndarray]:
    return [_rotation(2 * np.pi * number / _ANGLES) for number in range(_ANGLES // 2)]


def _coarse(textures: np.ndarray) -> np.ndarray:
    """Average textures to 16 x 16 px, of Euclidean norm 1. [shape=(n, 256), float32]"""
    coarse = np.empty((len(textures), _SIDE * _SIDE), np.float32)
    for number, texture in enumerate(textures):
        values = np.where(texture == OUTSIDE, 0, texture).astype(np.float32)
        coarse[number] = np.asarray(cv2.resize(values, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)).ravel()
    return _normalized(coarse)


def _rotation(angle: float) -> np.ndarray:
    """Return the matrix that rotates a flattened coarse texture, by bilinear interpolation. [shape=(256, 256)]"""
    middle, cosine, sine = (_SIDE - 1) / 2, np.cos(angle), np.sin(angle)
    matrix = np.array([[cosine, -sine, middle * (1 - cosine + sine)], [sine, cosine, middle * (1 - sine - cosine)]])
    pixels = np.eye(_SIDE * _SIDE, dtype=np.float32).reshape(-1, _SIDE, _SIDE)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.stack([cv2.warpAffine(pixel, matrix, (_SIDE, _SIDE), flags=flags).ravel() for pixel in pixels])


def _views(coarse: np.ndarray, rotations: list[np.ndarray]) -> list[np.ndarray]:
    """Return coarse textures at every rotation up to half a turn."""
    return [_normalized(coarse @ rotation) for rotation in rotations]


def _normalized(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)


def _best_views(coarse: np.ndarray, views: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the angle at which the second cell of each pair correlates best with the first, and whether mirrored.

    Args:
        coarse: Coarse texture of the first cell of each pair. [shape=(n, 256)]
        views: Views of the second cell of each pair, see `_views`.
    """
    images = coarse.reshape(-1, _SIDE, _SIDE)
    flipped = [images[:, ::rows, ::columns].reshape(coarse.shape) for rows, columns in _FLIPS]
    similarity = np.stack([np.einsum("ij,ij->i", cells, view) for view in views for cells in flipped])
    number, flip = np.divmod(similarity.argmax(axis=0), len(_FLIPS))
    rows, columns = np.array(_FLIPS)[flip].T
    # to flip the first cell is to flip the rotated second cell: it is mirrored first, and then rotated backwards
    turns = (rows * columns * number + np.where(rows < 0, _ANGLES // 2, 0)) % _ANGLES
    return turns * (2 * np.pi / _ANGLES), rows * columns < 0


def _candidates(coarse: np.ndarray, parts: list[np.ndarray], jobs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of the pairs that correlate by at least `_MIN_COARSE` in some view."""
    pieces = range(0, len(coarse), _PIECE)
    compared = Parallel(n_jobs=jobs, prefer="threads")(
        delayed(_correlated)(coarse[start : start + _PIECE], parts) for start in pieces
    )
    rows = np.concatenate([start + row for start, (row, _) in zip(pieces, compared, strict=True)])
    return rows, np.concatenate([column for _, column in compared])


def _correlated(coarse: np.ndarray, parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of the pairs that correlate by at least `_MIN_COARSE` in some view."""
    cells = _symmetric_parts(coarse)
    best = np.full((len(coarse), parts[0].shape[1]), -np.inf, np.float32)
    products = np.empty((len(_FLIPS), *best.shape), np.float32)
    for part in parts:
        _raise_best(best, np.matmul(cells, part.transpose(0, 2, 1), out=products))
    rows, columns = np.nonzero(best >= _MIN_COARSE)
    return rows, columns


def _symmetric_parts(vectors: np.ndarray) -> np.ndarray:
    """Split coarse textures into parts that are even or odd along rows and columns, a quarter of the pixels each.

    The scalar product of two textures is the sum of the products of their parts; a flip changes the signs of odd parts.
    So four products of 64 values replace four of 256.

    Returns:
        Even in both, odd along columns, odd along rows, odd in both. [shape=(4, n, 64)]
    """
    half = _SIDE // 2
    images = vectors.reshape(-1, _SIDE, _SIDE)
    upper, lower = images[:, :half], images[:, : -half - 1 : -1]
    parts = [
        side[:, :, :half] + sign * side[:, :, : -half - 1 : -1]
        for side in (upper + lower, upper - lower)
        for sign in (1, -1)
    ]
    return np.stack(parts).reshape(len(parts), len(vectors), half * half) / 2


@compiled
def _raise_best(best: np.ndarray, products: np.ndarray) -> None:
    """Raise the best correlation of each pair to the largest of the four flips.

    Args:
        best: Best correlation so far, changed in place. [shape=(n, m)]
        products: Scalar products of the parts, in the order of `_symmetric_parts`. [shape=(4, n, m)]
    """
    for i in range(best.shape[0]):
        for j in range(best.shape[1]):
            even, odd_columns, odd_rows, odd = (
                products[0, i, j],
                products[1, i, j],
                products[2, i, j],
                products[3, i, j],
            )
            upright = even + odd_rows + abs(odd_columns + odd)
            upside_down = even - odd_rows + abs(odd_columns - odd)
            best[i, j] = max(best[i, j], upright, upside_down)


def _codes(values: Sequence[str]) -> np.ndarray:
    """Number the distinct values; -1 for unknown ones ("")."""
    series = pd.Series(values, dtype=object)
    return pd.factorize(series.where(series != ""))[0]


def _differ(codes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    a, b = codes[rows], codes[columns]
    return (a != b) & (a >= 0) & (b >= 0)


def _pairs_that_differ(codes: np.ndarray) -> int:
    sizes = np.bincount(codes[codes >= 0])
    return int((sizes.sum() ** 2 - (sizes**2).sum()) // 2)
