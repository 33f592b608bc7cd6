"""What a worker does: a batch of image files -> their features. Imports little, because every worker does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import leukobench
from leukobench.cells.cell import read_cell
from leukobench.core.errors import InputError
from leukobench.features.catalog import VERSION, compute, features_of
from leukobench.features.settings import Settings
from leukobench.results.feature_table import TableFacts

IMAGES_PER_TASK = 32  # at some ms an image, so many that handing a task over does not count
MISSING = (-1, -1)  # the stamp of a file that is not there


@dataclass(frozen=True)
class Measurement:
    """What is measured, and how: all that a worker needs to know beside the paths.

    Attributes:
        images: Folder that paths are relative to, absolute, because a worker may run in another one.
        feature_set: Name of a set in `leukobench.features.catalog`.
        settings: How a cell is measured.
        background: What lies around the cells, see `leukobench.cells.cell.find_cell`.
        version: Version of leukobench that asks; a worker of another one refuses.
    """

    images: Path
    feature_set: str
    settings: Settings
    background: str
    version: str = leukobench.__version__

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the features, in the order of the table's columns."""
        return tuple(feature.name for feature in features_of(self.feature_set, self.settings))

    def as_facts(self) -> dict[str, Any]:
        """What `features.json` says of a table that was measured so."""
        return {
            "feature_set": self.feature_set,
            "feature_set_version": VERSION,
            "settings": self.settings.as_facts(),
            "background": self.background,
            "columns": len(self.columns),
            "leukobench": self.version,
        }

    @classmethod
    def from_facts(cls, facts: TableFacts, images: Path) -> Measurement:
        """Measure other images as a table was measured.

        Args:
            facts: What `features.json` says of the table.
            images: Folder of the other images.

        Raises:
            InputError: the facts are of another version of the feature catalogue, or name an unknown setting.
        """
        if facts.feature_set_version != VERSION:
            raise InputError(
                f"cells were measured by version {facts.feature_set_version} of the feature catalogue, and this has "
                f"{VERSION}"
            )
        try:
            settings = Settings(**{**facts.settings, "distances": tuple(facts.settings["distances"])})
        except (KeyError, TypeError):
            raise InputError("its features.json does not say how the cells were measured") from None
        return cls(images, facts.feature_set, settings, facts.background)


@dataclass(frozen=True)
class Batch:
    """What came of measuring a batch of images.

    Attributes:
        values: Features; not a number in the rows of images that failed. [shape=(images, features)]
        stamps: Size in bytes and time of change in ns of each file as it was measured. [shape=(images, 2), int64]
        failed: Reason of each image that failed, by its place in the batch.
    """

    values: np.ndarray
    stamps: np.ndarray
    failed: dict[int, str]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.values)

    def first(self, images: int) -> Batch:
        """Return the batch of the first so many images."""
        failed = {place: reason for place, reason in self.failed.items() if place < images}
        return Batch(self.values[:images], self.stamps[:images], failed)


def stamp(file: Path | str) -> tuple[int, int]:
    """Return size in bytes and time of change in ns of a file: whether it is the one that was measured."""
    try:
        status = os.stat(file)
    except OSError:
        return MISSING
    return status.st_size, status.st_mtime_ns


def measure(how: Measurement, paths: Sequence[str]) -> Batch:
    """Measure a batch of images.

    Raises:
        InputError: this is a worker of another version than the one that asks.
    """
    if how.version != leukobench.__version__:
        raise InputError(
            f"a worker has leukobench {leukobench.__version__}, not {how.version}; install one version everywhere"
        )
    cv2.setNumThreads(1)  # the processes share the cores already
    columns = how.columns
    values = np.full((len(paths), len(columns)), np.nan)
    stamps = np.empty((len(paths), 2), np.int64)
    failed = {}
    for place, path in enumerate(paths):
        stamps[place] = stamp(how.images / path)
        try:
            values[place] = _measure_one(how, how.images / path, columns)
        except InputError as error:
            failed[place] = str(error).removeprefix(f"{how.images / path}: ")
        except (ArithmeticError, LookupError, ValueError, cv2.error) as error:  # a cell that a formula cannot take
            failed[place] = " ".join(f"cannot be measured ({type(error).__name__}: {error})".split())
    return Batch(values, stamps, failed)


def _measure_one(how: Measurement, file: Path, columns: Sequence[str]) -> list[float]:
    cell = read_cell(file, how.background)
    values = list(compute(cell, how.feature_set, how.settings).values())
    for name, value in zip(columns, values, strict=True):
        if not np.isfinite(value):
            raise InputError(f"{name} is no finite number ({value})")
    return values
