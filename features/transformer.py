"""The features as a scikit-learn transformer: image files in, feature values out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags

from leukobench.cells.cell import BACKGROUNDS
from leukobench.core.errors import InputError
from leukobench.features.batch import IMAGES_PER_TASK, Measurement, StrPath, measure_files
from leukobench.features.catalog import DEFAULT_SET, settings_of


class CellFeatures(TransformerMixin, BaseEstimator):
    """Measure the cells of image files inside a scikit-learn pipeline.

    The values are those of the command `extract` and of `extract_features`, to the last bit. Nothing is learned: `fit`
    only checks the parameters. Images are read again at every call; for many fits, extract a feature table once
    instead.

    Args:
        feature_set: Name of the feature set: `patel`, `clinton19`, `full` or `leukobench`.
        channel: Intensity for texture and statistical features, such as `grey` or `blue`. None, here and below: the
            setting of the feature set.
        levels: Number of grey levels of the co-occurrence matrices, 2 to 256.
        quantisation: `fixed` (0..255 in equal steps) or `cell` (smallest to largest value of the cell).
        distances: Distances of co-occurring pixels, px.
        stain: Stain normalisation: `none`, `standardised`, `reinhard` or `macenko`.
        size: Length that the longer side of each image is scaled to, px, or `native`.
        background: What surrounds the cells: one of `BACKGROUNDS`, see `leukobench.cells.cell.find_cell`.
        jobs: Number of parallel processes.

    Raises:
        InputError: by `fit` and `transform`, see there.

    Source: see `leukobench.features.measurement.measure`.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from sklearn.svm import SVC
        >>> from leukobench.cohort.synthetic import generate_cohort
        >>> from leukobench.features.transformer import CellFeatures
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     truth = generate_cohort(Path(folder) / "images", subjects=2, cells_per_subject=2)
        ...     paths = [Path(folder) / "images" / path for path in truth["path"]]
        ...     pipeline = make_pipeline(CellFeatures(levels=16), StandardScaler(), SVC()).fit(paths, truth["label"])
        ...     predicted = pipeline.predict(paths)
        >>> predicted.shape, pipeline[:-1].get_feature_names_out()[0]
        ((4,), 'color_mean_red')
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
        size: int | Literal["native"] | None = None,
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

    def fit(self, X: Sequence[StrPath], y: object = None) -> CellFeatures:
        """Check the parameters; X and y are ignored.

        Raises:
            InputError: there is no such feature set, or a setting is out of range.
        """
        self._measurement()
        return self

    def transform(self, X: Sequence[StrPath]) -> np.ndarray:
        """Measure image files.

        Args:
            X: Image files of one cell each: a list, array or Series of paths. [shape=(images,)]

        Returns:
            The features, in the order of `get_feature_names_out`. [shape=(images, features), float64]

        Raises:
            InputError: X is not a sequence of paths, or a file cannot be measured.
        """
        how = self._measurement()
        paths = np.asarray(X, dtype=object)
        if paths.ndim != 1 or not all(isinstance(path, str | os.PathLike) for path in paths):
            raise InputError(f"X has shape {paths.shape}; expected a sequence of paths of image files")
        rows = [np.empty((0, len(how.columns)))]
        with contextlib.closing(measure_files(how, list(paths), jobs=self.jobs)) as batches:
            for number, batch in enumerate(batches):
                if batch.failed:
                    place, reason = next(iter(batch.failed.items()))
                    raise InputError(f"{os.fspath(paths[number * IMAGES_PER_TASK + place])}: {reason}")
                rows.append(batch.values)
        return np.concatenate(rows)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features, the columns of a feature table. [shape=(features,), object]"""
        return np.array(self._measurement().columns, dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        """Return True: there is nothing to fit."""
        return True

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that X is one text per image."""
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
            distances=self.distances,
            stain=self.stain,
            size=self.size,
        )
        return Measurement(Path.cwd(), self.feature_set, settings, self.background)
