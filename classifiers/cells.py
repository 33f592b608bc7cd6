"""The training data of classifiers: features, class and subject group of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leukobench.cohort.manifest import POSITIVE


@dataclass(frozen=True)
class LabelledCells:
    """Rows of a feature table with their labels.

    Attributes:
        features: One row a cell. [shape=(n, columns)]
        positive: Which cells are blasts. [shape=(n,), bool]
        group: Subject group of each cell. [shape=(n,)]
    """

    features: np.ndarray
    positive: np.ndarray
    group: np.ndarray

    def __len__(self) -> int:
        """Number of cells."""
        return len(self.positive)

    def take(self, rows: np.ndarray) -> LabelledCells:
        """Return some of the rows, by number or by mask."""
        return LabelledCells(self.features[rows], self.positive[rows], self.group[rows])


def labelled_cells(values: pd.DataFrame, label: Sequence[str], group: Sequence[str]) -> LabelledCells:
    """Combine features, labels (`all` or `hem`) and subject groups of the same rows."""
    return LabelledCells(values.to_numpy(float), np.asarray(label, str) == POSITIVE, np.asarray(group, str))


def evenly(group: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return the numbers of at most `most` rows: one of each group, then a second of each, and so on."""
    order = rng.permutation(len(group))
    place = pd.Series(group[order]).groupby(group[order]).cumcount().to_numpy()
    return np.sort(order[np.argsort(place, kind="stable")[:most]])
