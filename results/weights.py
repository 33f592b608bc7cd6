"""Sample weights of the training cells."""

from __future__ import annotations

import numpy as np

FULL_WEIGHT_CELLS = 25  # `class-subject-capped`: subject groups of at least so many cells have the same weight


def cell_weights(weight: str, positive: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Compute the sample weight of each cell, 1 on average.

    Args:
        weight: `none`: all cells weighted equally. `class`: classes weighted equally (equal sums of weights).
            `subject`: subject groups weighted equally, whatever their number of cells. `class-subject`: classes
            weighted equally, and within each class its subject groups weighted equally. `class-subject-capped`: the
            same, but a subject group of fewer than 25 cells counts in proportion to them, so that none of its cells
            outweighs a cell of a group of 25.
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
        share = _share(2 * group + label, FULL_WEIGHT_CELLS if weight == "class-subject-capped" else 1)
        share /= np.bincount(label, share)[label]
    return share * len(positive) / share.sum()


def _share(unit: np.ndarray, fewest: int = 1) -> np.ndarray:
    """Return the reciprocal of the number of rows of each row's unit, or of `fewest` if it has fewer."""
    return 1 / np.maximum(np.bincount(unit)[unit], fewest)
