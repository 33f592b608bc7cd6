"""Sample weights of the training cells."""

from __future__ import annotations

import numpy as np


def cell_weights(weight: str, positive: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Compute the sample weight of each cell, 1 on average.

    Args:
        weight: `none`: all cells weighted equally. `class`: classes weighted equally (equal sums of weights).
            `subject`: subject groups weighted equally, whatever their number of cells. `class-subject`: classes
            weighted equally, and within each class its subject groups weighted equally.
        positive: Which training cells are blasts. [shape=(n,), bool]
        group: Subject group of each. [shape=(n,)]

    Returns:
        [shape=(n,)]
    """
    if weight == "none":
        return np.ones(len(positive))
    _, group = np.unique(group, return_inverse=True)
    label = positive.astype(int)
    if weight == "class":
        share = _share(label)
    elif weight == "subject":
        share = _share(group)
    else:
        unit = 2 * group + label
        groups_of_class = np.array([len(np.unique(unit[label == of_class])) for of_class in (0, 1)])
        share = _share(unit) / groups_of_class[label]
    return share * len(positive) / share.sum()


def _share(unit: np.ndarray) -> np.ndarray:
    """Return the reciprocal of the number of rows of each row's unit."""
    return 1 / np.bincount(unit)[unit]
