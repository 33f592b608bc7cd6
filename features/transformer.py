"""The features as a scikit-learn transformer: image files in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from leukobench.cells.cell import BACKGROUNDS
from leukobench.core.errors import InputError
from leukobench.features.catalog import DEFAULT_SET, settings_of
from leukobench.features.measuring import IMAGES_PER_TASK, Measurement, measure
from leukobench.features.workers import in_order


class CellFeatures(TransformerMixin, BaseEstimator):
    """Measure cells inside a scikit-learn pipeline: the same numbers as a feature table holds.

    Nothing is learned: `fit` only looks at the parameters. X is a sequence of image files (list, array or Series of
    paths, one cell a file); images are read anew at every call, so that for many fits a feature table is quicker.

    Args:
        feature_set: Name of a set in `leukobench.features.catalog`.
        channel: What texture and statistics are taken of; None, here and below: as the set has it.
        levels: Grey levels of the co-occurrence matrices.
        quantisation: `fixed` or `cell`.
        distances: Steps between the pixels of a pair, px.
        stain: `none`, `standardised`, `reinhard` or `macenko`.
        size: Length in px that images are scaled to, or `native`.
        background: What lies around the cells, see `leukobench.cells.cell.find_cell`.
        jobs: Processes.

    Example:
        >>> make_pipeline(CellFeatures(levels=16), StandardScaler(), SVC()).fit(paths, labels)  # doctest: +SKIP
    """

    def __init__(
        self,
        feature_set: str = DEFAULT_SET,
        *,
        channel: str | None = None,
        levels: int | None = None,
        quantisation: str | None = None,
        distances: Sequence[int] | None = None,
        stain: str | None = None,
        size: int | str | None = None,
        background: str = BACKGROUNDS[0],
        jobs: int = 1,
    ) -> None:
        self.feature_set = feature_set
        self.channel = channel
        self.levels = levels
        self.quantisation = quantisation
        self.distances = distances
        self.stain = stain
        self.size = size
        self.background = background
        self.jobs = jobs

    def fit(self, X: Sequence[str | Path], y: object = None) -> CellFeatures:
        """Check the parameters; X and y are not looked at.

        Raises:
            InputError: no such feature set, or a setting out of range.
        """
        self._measurement()
        return self

    def transform(self, X: Sequence[str | Path]) -> np.ndarray:
        """Measure image files. [shape=(images, features)]

        Raises:
            InputError: X is no sequence of paths, or a file cannot be measured.
        """
        how = self._measurement()
        paths = np.asarray(X, dtype=object)
        if paths.ndim != 1 or not all(isinstance(path, str | Path) for path in paths):
            raise InputError(f"X of shape {paths.shape}; expected a sequence of paths of image files")
        tasks = (list(paths[first : first + IMAGES_PER_TASK]) for first in range(0, len(paths), IMAGES_PER_TASK))
        rows = [np.empty((0, len(how.columns)))]
        for task, batch in enumerate(in_order(partial(measure, how), tasks, jobs=self.jobs)):
            if batch.failed:
                place, reason = next(iter(batch.failed.items()))
                raise InputError(f"{paths[task * IMAGES_PER_TASK + place]}: {reason}")
            rows.append(batch.values)
        return np.concatenate(rows)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the features, as the columns of a feature table have them."""
        return np.array(self._measurement().columns, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        """There is nothing to fit."""
        return True

    def __sklearn_tags__(self):
        """Tell scikit-learn that X is one text an image."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        return tags

    def _measurement(self) -> Measurement:
        settings = settings_of(
            self.feature_set,
            channel=self.channel,
            levels=self.levels,
            quantisation=self.quantisation,
            distances=None if self.distances is None else tuple(self.distances),
            stain=self.stain,
            size=self.size,
        )
        return Measurement(Path.cwd(), self.feature_set, settings, self.background)
