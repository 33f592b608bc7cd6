"""Batch extraction in memory: image files -> a pandas DataFrame of features."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Unpack

import numpy as np
import pandas as pd

from leukobench.cells.cell import BACKGROUNDS
from leukobench.cohort.layout import image_files
from leukobench.core.errors import InputError
from leukobench.core.progress import ProgressBar
from leukobench.core.text import counted
from leukobench.features.batch import Measurement, StrPath, measure_files
from leukobench.features.catalog import DEFAULT_SET, settings_of
from leukobench.features.settings import SettingChanges
from leukobench.results.feature_table import TableFacts

LOG = logging.getLogger(__name__)

ON_ERROR = ("raise", "skip")


def extract_features(
    images: StrPath | Sequence[StrPath],
    feature_set: str = DEFAULT_SET,
    *,
    jobs: int = 1,
    background: str = BACKGROUNDS[0],
    on_error: Literal["raise", "skip"] = "raise",
    **settings: Unpack[SettingChanges],
) -> pd.DataFrame:
    """Measure the cells of image files: one row per image, one column per feature.

    The values are those of the command `extract` and of `CellFeatures`, to the last bit, whatever the number of
    processes. The table is held in memory. For many thousands of images, the command `extract` writes it to a file as
    it goes and can be resumed.

    Args:
        images: A folder, searched with its subfolders for files with a suffix of an image (`.bmp`, `.png`, `.jpg`,
            `.tif`, `.webp`, ...); or a sequence of image files. One cell per image.
        feature_set: Name of the feature set: `"patel"`, `"clinton19"`, `"full"` or `"leukobench"`.
        jobs: Number of parallel processes.
        background: What surrounds the cells: one of `leukobench.cells.cell.BACKGROUNDS`, see `read_cell`.
        on_error: What to do about an image that cannot be measured: `"raise"` an InputError, or `"skip"` the image.
        **settings: Settings to use instead of those of the feature set, such as `levels=16`, `distances=(1, 2)`,
            `channel="blue"`, `stain="macenko"` or `size=128` (px). See `measure`.

    Returns:
        The features as float64, in the units of the feature catalogue (px, px^2, grey levels, ...). The index `path`
        holds the paths of a folder's images relative to the folder, with forward slashes and sorted, or the given
        paths as text in the given order. [shape=(images, features)] `attrs["failures"]` maps the path of each image
        that was left out to the reason.

    Raises:
        InputError: there is no such folder, it holds no image, there is no such feature set, setting or background, or
            an image cannot be measured and `on_error` is `"raise"`; the message names the first such image.

    Warns:
        UserWarning: images were left out, with `on_error="skip"`: how many, and the reason of the first.

    Source: see `measure`.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from leukobench.cohort.synthetic import generate_cohort
        >>> from leukobench.features.dataframe import extract_features
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     truth = generate_cohort(Path(folder) / "images", subjects=2, cells_per_subject=2)
        ...     features = extract_features(Path(folder) / "images", "patel", levels=16)
        >>> features.shape, features.index[0]
        ((4, 27), 'training_data/fold_0/all/UID_1_1_1_all.bmp')
        >>> bool((features["geometry_area"].to_numpy() == truth["area"]).all())  # px^2
        True
    """
    if on_error not in ON_ERROR:
        raise InputError(f"on_error is {on_error!r}; expected {' or '.join(ON_ERROR)}")
    if background not in BACKGROUNDS:
        raise InputError(f"no background {background!r}; there is {', '.join(BACKGROUNDS)}")
    folder, paths = _listed(images)
    how = Measurement(folder, feature_set, settings_of(feature_set, **settings), background)
    table = _measured(how, paths, images, on_error, jobs)
    if failures := table.attrs["failures"]:
        _warn(failures, len(paths))
    return table


def measure_like(facts: TableFacts, images: StrPath | Sequence[StrPath], *, jobs: int = 1) -> pd.DataFrame:
    """Measure images as the cells of a feature table were measured; see `extract_features`.

    Args:
        facts: How the cells of the table were measured.
        images: A folder, searched with its subfolders, or image files.
        jobs: Number of parallel processes.

    Returns:
        The features; images that cannot be measured are in `attrs["failures"]`.

    Raises:
        InputError: the facts are of another version of the feature catalogue, there is no image, or none can be
            measured.
    """
    folder, paths = _listed(images)
    table = _measured(Measurement.from_facts(facts, folder), paths, images, "skip", jobs)
    if table.empty:
        path, reason = next(iter(table.attrs["failures"].items()))
        raise InputError(f"none of {counted(len(paths), 'image')} could be measured; the first: {path}: {reason}")
    return table


def _measured(
    how: Measurement, paths: list[str], images: StrPath | Sequence[StrPath], on_error: str, jobs: int
) -> pd.DataFrame:
    blocks = [np.empty((0, len(how.columns)))]
    measured: list[str] = []
    failures: dict[str, str] = {}
    progress = ProgressBar(LOG, total=len(paths), desc="extracting", unit="cell")
    with progress, contextlib.closing(measure_files(how, paths, jobs=jobs)) as batches:
        for batch in batches:
            first = len(measured) + len(failures)
            if batch.failed and on_error == "raise":
                place, reason = next(iter(batch.failed.items()))
                raise InputError(f"{_shown(images, paths[first + place])}: {reason}")
            good = [place for place in range(len(batch)) if place not in batch.failed]
            measured += [paths[first + place] for place in good]
            failures |= {paths[first + place]: reason for place, reason in batch.failed.items()}
            blocks.append(batch.values[good])
            progress.update(len(batch))
    table = pd.DataFrame(np.concatenate(blocks), pd.Index(measured, dtype=object, name="path"), list(how.columns))
    table.attrs["failures"] = failures
    return table


def _listed(images: StrPath | Sequence[StrPath]) -> tuple[Path, list[str]]:
    """Return the folder that paths are relative to, and the paths."""
    if isinstance(images, str | os.PathLike):
        folder = Path(images)
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise InputError(f"{folder}: {what}; expected a folder of images or a sequence of image files")
        return folder.absolute(), image_files(folder)
    paths = list(images)
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise InputError(f"images contains {path!r}; expected a folder of images or a sequence of image files")
    return Path.cwd(), [os.fspath(path) for path in paths]


def _shown(images: StrPath | Sequence[StrPath], path: str) -> str:
    """Return a path for a message, with its folder."""
    return os.path.join(images, path) if isinstance(images, str | os.PathLike) else path


def _warn(failures: dict[str, str], images: int) -> None:
    path, reason = next(iter(failures.items()))
    message = f"{len(failures)} of {images} images could not be measured and are left out; the first: {path}: {reason}"
    warnings.warn(message, UserWarning, stacklevel=3)
