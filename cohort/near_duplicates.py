"""Near-duplicates: pairs of images that show the same cell, found by the similarity of their thumbnails.

The similarity of two cells is the correlation of their thumbnails (`leukobench.cells.fingerprints`) at the best of
eight orientations: four rotations by 90 degrees, each with its mirror image. It does not depend on size, position,
brightness or contrast, and little on compression; other crops of the same cell still match.

The false-positive rate is measured on pairs of different labels: they come from two subjects, so every such pair above
the threshold is a false positive. Pairs from different subject groups are counted too; these are false positives or, as
in C-NMC 2019, one cell with two subject IDs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

# On 3,833 distinct images of C-NMC 2019, none of 3.0 million pairs of different labels reaches 0.87. Of 7.1 million
# pairs of different subject groups, 28 reach 0.90, each of them one cell in two photographs.
MIN_SIMILARITY = 0.90
MOST_PAIRS = 10_000  # listed in the report; all are counted
_BLOCK = 1024  # rows compared at once: 4 MB a block


@dataclass(frozen=True)
class NearDuplicates:
    """Near-duplicates, and the counts behind the false-positive rate.

    Attributes:
        threshold: Smallest similarity of a pair.
        compared: Number of distinct cells compared.
        pairs: `path`, `other`, `similarity`, `group` and `other_group` of the most similar pairs, at most `MOST_PAIRS`;
            pairs of different subject groups first.
        found: Number of pairs found.
        between_groups: Number of found and of compared pairs of different subject groups.
        between_labels: Number of found (false positives) and of compared pairs of different labels.
    """

    threshold: float
    compared: int
    pairs: pd.DataFrame
    found: int
    between_groups: tuple[int, int]
    between_labels: tuple[int, int]

    def between_ties(self) -> dict[tuple[str, str], int]:
        """Count the listed pairs of every two different subject groups, the largest count first."""
        known = self.pairs[(self.pairs["group"] != "") & (self.pairs["other_group"] != "")]
        between = known[known["group"] != known["other_group"]]
        ties = Counter(tuple(sorted(pair)) for pair in between[["group", "other_group"]].to_numpy())
        return dict(ties.most_common())


def similar_pairs(
    thumbnails: np.ndarray,
    paths: Sequence[str],
    group: Sequence[str],
    label: Sequence[str],
    threshold: float = MIN_SIMILARITY,
) -> NearDuplicates:
    """Find the pairs of cells whose similarity is at least `threshold`.

    Args:
        thumbnails: Thumbnails. [shape=(n, 32, 32)]
        paths: Path of each cell.
        group: Subject group of each cell; "" if unknown.
        label: Label of each cell; "" if unknown.
        threshold: Smallest similarity of a pair.
    """
    groups, labels = (_codes(values) for values in (group, label))
    number = len(thumbnails)
    flat = thumbnails.reshape(number, -1)
    oriented = [view.reshape(number, -1) for view in _orientations(thumbnails)]
    found, hits = 0, {"groups": 0, "labels": 0}
    kept = np.empty((0, 4))
    for start in tqdm(range(0, number, _BLOCK), desc="comparing", unit="block", disable=None):
        rows, columns, similarity = _block(flat, oriented, start, threshold)
        between = _differ(groups, rows, columns)
        found += len(rows)
        hits["groups"] += int(between.sum())
        hits["labels"] += int(_differ(labels, rows, columns).sum())
        kept = np.vstack([kept, np.column_stack([rows, columns, similarity, between])])
        kept = kept[np.lexsort((kept[:, 1], kept[:, 0], -kept[:, 2], -kept[:, 3]))][:MOST_PAIRS]
    first, second = kept[:, 0].astype(int), kept[:, 1].astype(int)
    names, ids = np.asarray(paths, object), np.asarray(group, object)
    table = pd.DataFrame({"path": names[first], "other": names[second], "similarity": kept[:, 2].round(4)})
    table["group"], table["other_group"] = ids[first], ids[second]
    return NearDuplicates(
        threshold=threshold,
        compared=number,
        pairs=table,
        found=found,
        between_groups=(hits["groups"], _pairs_that_differ(groups)),
        between_labels=(hits["labels"], _pairs_that_differ(labels)),
    )


def _orientations(thumbnails: np.ndarray) -> list[np.ndarray]:
    """Return thumbnails in their eight orientations: four rotations by 90 degrees, and their mirror images."""
    rotations = [np.rot90(thumbnails, number, axes=(1, 2)) for number in range(4)]
    return rotations + [rotated[:, :, ::-1] for rotated in rotations]


def _block(
    flat: np.ndarray, oriented: list[np.ndarray], start: int, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare the block of thumbnails at `start` with the blocks before it and with itself, each pair once."""
    stop = min(start + _BLOCK, len(flat))
    rows, columns, similarity = [], [], []
    for other in range(0, stop, _BLOCK):
        best = np.full((stop - start, min(other + _BLOCK, stop) - other), -np.inf, flat.dtype)
        for view in oriented:
            np.maximum(best, flat[start:stop] @ view[other : other + best.shape[1]].T, out=best)
        row, column = np.nonzero(best >= threshold)
        once = column + other < row + start
        rows.append(column[once] + other)
        columns.append(row[once] + start)
        similarity.append(best[row[once], column[once]])
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(similarity)


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
