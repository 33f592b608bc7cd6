"""scikit-learn splitters over subject groups: the same folds as `leukobench split`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator

from leukobench.cohort.manifest import LABELS, NEGATIVE, POSITIVE
from leukobench.cohort.splitting import assign_folds, draw_units
from leukobench.core.errors import InputError


class SubjectKFold(BaseCrossValidator):
    """K-fold cross-validation over subject groups, stratified by class.

    The test folds are those of `leukobench split --method kfold` with the same seed. Each fold tests equally many
    groups of a class, or one more, and about equally many cells of it. The folds follow from the SHA-256 of seed and
    group, not from a random generator, so they are the same on every machine.

    Args:
        n_splits: Number of folds, at least 2.
        seed: Random seed.

    Example:
        >>> import leukobench as lb
        >>> y = ["all", "all", "hem", "hem", "all", "hem"]
        >>> subjects = ["1", "1", "H1", "H1", "2", "H2"]
        >>> for train, test in lb.SubjectKFold(2).split(y, y, groups=subjects):
        ...     print(train, test)
        [0 1 5] [2 3 4]
        [2 3 4] [0 1 5]
    """

    __metadata_request__split = {"groups": True}  # noqa: RUF012, scikit-learn's metadata routing reads it

    def __init__(self, n_splits: int = 5, *, seed: int = 0) -> None:
        self.n_splits = n_splits
        self.seed = seed

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the row numbers of training and of test, fold by fold.

        Args:
            X: Anything with one entry a cell; only its length counts. [length n]
            y: `all` or `hem` of each cell, or 1 (or True) and 0 (or False). [length n]
            groups: Subject group of each cell. [length n]

        Raises:
            InputError: y or groups are missing or of another length, a label is unknown, or a class has fewer groups
                than there are folds.
        """
        if self.n_splits < 2:
            raise InputError(f"n_splits={self.n_splits}; a cross-validation takes at least 2 folds")
        label, group = _labels_and_groups(X, y, groups)
        number = assign_folds(group, label, self.n_splits, self.seed).to_numpy()
        for fold in range(self.n_splits):
            yield np.flatnonzero(number != fold), np.flatnonzero(number == fold)


class SubjectSplit(BaseCrossValidator):
    """Repeated random split into training and test over subject groups, stratified by class.

    The test part is that of `leukobench split --method subject` with the same test size and seed; further splits use
    the next seeds.

    Args:
        n_splits: Number of splits.
        test_size: Share of each class's groups for testing, in (0, 1); at least one group. Each group has the
            same probability of being tested, whatever its number of cells. Groups are not divided, so the share of
            cells is approximate.
        seed: Random seed of the first split.

    Example:
        >>> import leukobench as lb
        >>> y = ["all", "all", "hem", "hem", "all", "hem"]
        >>> subjects = ["1", "1", "H1", "H1", "2", "H2"]
        >>> next(lb.SubjectSplit(test_size=0.4).split(y, y, groups=subjects))
        (array([4, 5]), array([0, 1, 2, 3]))
    """

    __metadata_request__split = {"groups": True}  # noqa: RUF012, scikit-learn's metadata routing reads it

    def __init__(self, n_splits: int = 1, *, test_size: float = 0.2, seed: int = 0) -> None:
        self.n_splits = n_splits
        self.test_size = test_size
        self.seed = seed

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits."""
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the row numbers of training and of test, split by split; see `SubjectKFold.split`."""
        if not 0 < self.test_size < 1:
            raise InputError(f"test_size={self.test_size}; expected a share between 0 and 1")
        label, group = _labels_and_groups(X, y, groups)
        for seed in range(self.seed, self.seed + self.n_splits):
            test = draw_units(group, label, self.test_size, seed).to_numpy()
            yield np.flatnonzero(~test), np.flatnonzero(test)


def _labels_and_groups(X: Any, y: Any, groups: Any) -> tuple[pd.Series, pd.Series]:
    if y is None or groups is None:
        raise InputError(
            "a subject-level split needs y (the class of each cell) and groups (its subject group); give both"
        )
    length = X.shape[0] if hasattr(X, "shape") else len(X)
    y, groups = np.asarray(y), np.asarray(groups)
    if not len(y) == len(groups) == length:
        raise InputError(f"X has {length} cells, y {len(y)} and groups {len(groups)}; expected the same number")
    label = pd.Series(y.astype(str) if y.dtype.kind in "OUST" else np.where(y == 1, POSITIVE, NEGATIVE))
    known = label.isin(LABELS) if y.dtype.kind in "OUST" else pd.Series(np.isin(y, [0, 1]))
    if not known.all():
        raise InputError(f"y has the label {str(y[~known.to_numpy()][0])!r}; expected {', '.join(LABELS)}, or 1 and 0")
    return label, pd.Series(groups.astype(str))
