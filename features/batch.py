"""A batch of image files -> their features: the task of a worker process."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import leukobench
from leukobench.cells.cell import read_cell
from leukobench.cells.threads import one_opencv_thread
from leukobench.core.errors import InputError
from leukobench.core.opening import refuse_other_image
from leukobench.core.workers import in_order
from leukobench.features.catalog import VERSION, features_of
from leukobench.features.measurement import measure_with, undefined_refused
from leukobench.features.settings import MeasurementSettings

if TYPE_CHECKING:  # a worker needs neither pandas nor PyArrow
    from leukobench.results.feature_table import TableFacts

IMAGES_PER_TASK = 32  # enough, at some ms per image, to make the overhead of a task negligible
MISSING = (-1, -1)  # the stamp of a file that does not exist

StrPath = str | os.PathLike[str]
Image = tuple[StrPath, str]  # path, and its expected SHA-256 or ""


@dataclass(frozen=True)
class Measurement:
    """What is measured, and how: all that a worker needs besides the paths.

    Attributes:
        images: Folder that paths are relative to; absolute, because a worker may have another working folder.
        feature_set: Name of a feature set in `leukobench.features.catalog`.
        settings: How a cell is measured.
        background: What surrounds the cells, see `leukobench.cells.cell.find_cell`.
        version: Version of leukobench that sends the task; a worker with another version refuses it.
    """

    images: Path
    feature_set: str
    settings: MeasurementSettings
    background: str
    version: str = leukobench.__version__

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features, in the order of the table's columns."""
        return tuple(feature.name for feature in features_of(self.feature_set, self.settings))

    def as_facts(self) -> dict[str, Any]:
        """Return the facts about a table with this measurement, as `features.csv.json` records them."""
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
        """Return the measurement of a table, for other images.

        Args:
            facts: The content of the table's `features.csv.json`.
            images: Folder of the other images.

        Raises:
            InputError: the facts are of another version of the feature catalogue, or name an unknown setting.
        """
        if facts.feature_set_version != VERSION:
            raise InputError(
                f"the cells were measured with version {facts.feature_set_version} of the feature catalogue, not "
                f"{VERSION} as here"
            )
        try:
            settings = MeasurementSettings(**{**facts.settings, "distances": tuple(facts.settings["distances"])})
        except (KeyError, TypeError):
            raise InputError("its facts do not say how the cells of the table were measured") from None
        return cls(images, facts.feature_set, settings, facts.background)


@dataclass(frozen=True)
class Batch:
    """The results of a batch of images.

    Attributes:
        values: Features; NaN in the rows of images that failed. [shape=(images, features)]
        stamps: Size in bytes and modification time in ns of each file when it was measured. [shape=(images, 2), int64]
        failed: Reason of each image that failed, by its position in the batch.
    """

    values: np.ndarray
    stamps: np.ndarray
    failed: dict[int, str]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.values)

    def first(self, images: int) -> Batch:
        """Return the batch of the first `images` images."""
        failed = {place: reason for place, reason in self.failed.items() if place < images}
        return Batch(self.values[:images], self.stamps[:images], failed)

    def only(self, place: int) -> Batch:
        """Return the batch of one image."""
        failed = {0: self.failed[place]} if place in self.failed else {}
        return Batch(self.values[place : place + 1], self.stamps[place : place + 1], failed)


def stamp(file: StrPath) -> tuple[int, int]:
    """Return size in bytes and modification time in ns of a file, to recognise the file that was measured."""
    try:
        status = os.stat(file)
    except OSError:
        return MISSING
    return status.st_size, status.st_mtime_ns


def measure_batch(how: Measurement, images: Sequence[Image]) -> Batch:
    """Measure a batch of images on one thread; an image with another checksum than expected fails.

    Raises:
        InputError: this worker has another version of leukobench than the process that sent the batch.
    """
    if how.version != leukobench.__version__:
        raise InputError(
            f"a worker has leukobench {leukobench.__version__}, not {how.version}; install one version everywhere"
        )
    values = np.full((len(images), len(how.columns)), np.nan)
    stamps = np.empty((len(images), 2), np.int64)
    failed = {}
    with one_opencv_thread():
        for place, (path, sha256) in enumerate(images):
            file = how.images / path
            stamps[place] = stamp(file)
            try:
                cell = read_cell(file, how.background)
                refuse_other_image(file, sha256)
                with undefined_refused():
                    measured = measure_with(cell, how.feature_set, how.settings)
                values[place] = list(measured.values())
            except InputError as error:
                failed[place] = str(error).removeprefix(f"{file}: ")
    return Batch(values, stamps, failed)


def measure_files(how: Measurement, paths: Sequence[StrPath], *, jobs: int = 1) -> Generator[Batch, None, None]:
    """Measure image files, and yield their batches in order, each as soon as it is measured.

    Args:
        how: The measurement.
        paths: Image files, relative to `how.images` or absolute.
        jobs: Number of parallel processes.

    Raises:
        InputError: see `leukobench.core.workers.in_order`.
    """
    images = [(path, "") for path in paths]
    tasks = (images[first : first + IMAGES_PER_TASK] for first in range(0, len(images), IMAGES_PER_TASK))
    return in_order(partial(measure_batch, how), tasks, jobs=jobs)
