"""How much each training cell counts."""

from __future__ import annotations

import numpy as np


def cell_weights(weight: str, positive: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Compute the weight of each cell, 1 on average.

    Args:
        weight: `none`: every cell the same. `class`: both classes the same in sum. `subject`: every subject group the
            same in sum, however many cells of it were taken. `class-subject`: both classes the same in sum, and within
            a class every subject group that has cells of it.
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
    """Return, for each row, one over the number of rows of its unit."""
    return 1 / np.bincount(unit)[unit]
