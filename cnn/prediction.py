"""Applying the networks of a run to other images, which need no label."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from leukobench.cnn.backend import keras
from leukobench.cnn.data import try_square
from leukobench.cnn.device import choose_devices, computing_on
from leukobench.cnn.fitting import outputs_of
from leukobench.cnn.network import HEAD, load_network, positive_score
from leukobench.cnn.pooling import POOL
from leukobench.cohort.layout import image_files
from leukobench.core.errors import InputError
from leukobench.core.progress import ProgressBar
from leukobench.core.text import counted
from leukobench.results.calibration import Calibration, calibrated
from leukobench.results.novelty import NoveltyModel, load_novelty, with_novelty
from leukobench.results.run import RunFolder, scores_table

LOG = logging.getLogger(__name__)

_BATCHES = 4  # read at a time, so that memory does not grow with the number of images

AnyPath = str | os.PathLike[str]


def predict_images(
    run: RunFolder,
    images: AnyPath | Iterable[AnyPath],
    *,
    folder: AnyPath | None = None,
    fold: int | None = None,
    batch_size: int | None = None,
    jobs: int = 1,
    device: str = "auto",
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Score images with the network of a run, or with the mean of the networks of a cross-validation.

    The probability of each network is calibrated as in training, and the mean is taken of calibrated probabilities.
    Images are cut, resized and cleared of their background as for training.

    Args:
        run: Run folder of a network.
        images: A folder, with all its subfolders, or image files.
        folder: Folder that the paths of image files are relative to; by default the current folder.
        fold: Of a cross-validation, the fold whose network alone predicts.
        batch_size: Number of images in a batch; by default as in training, or all images where they are fewer.
        jobs: Number of threads that read images.
        device: One of `leukobench.cnn.device.DEVICES`.

    Returns:
        A table of `path` (of a folder's images relative to it, else as given), `score` (the probability of `all`) and
        `predicted`, and where it is known `novelty`, the mean over networks, with `out_of_distribution`, for each image
        that could be read; and the reason for each that could not, by path.

    Raises:
        InputError: the run is of another model, there is no such fold or device, no image could be read, or memory is
            too small.
    """
    refuse_other_models(run)
    batch_size = batch_size or run.count("batch_size")
    side, frame, views, background = *map(run.count, ("input_side", "frame", "views")), run.info.background
    base, paths = _image_paths(images, folder)
    devices = choose_devices(device)
    # batches are filled up: a few images do not cost a whole one
    batch_size = min(batch_size, math.ceil(len(paths) / len(devices)) * len(devices))
    folds: Sequence[int | None] = run.folds if fold is None and run.folds else [fold]
    files = [run.model_file(".keras", each) for each in folds]
    read = partial(try_square, background=background, frame=frame, side=side)
    scores: list[tuple[np.ndarray, np.ndarray | None]] = []
    failed: dict[str, str] = {}
    with (
        computing_on(devices, batch_size),
        Parallel(n_jobs=jobs, prefer="threads") as threads,
        ProgressBar(LOG, total=len(paths), desc="predicting", unit="image") as bar,
    ):
        ensemble = _Ensemble.of([load_network(file) for file in files], run, folds, batch_size)
        for first in range(0, len(paths), _BATCHES * batch_size):
            chunk = paths[first : first + _BATCHES * batch_size]
            found = threads(delayed(read)(base / path) for path in chunk)
            failed |= {path: each for path, each in zip(chunk, found, strict=True) if isinstance(each, str)}
            pixels = [each for each in found if not isinstance(each, str)]
            if pixels:
                scores.append(ensemble.score(np.stack(pixels), views))
            bar.update(len(chunk))
    if not scores:
        path, reason = next(iter(failed.items()))
        raise InputError(f"none of {counted(len(failed), 'image')} could be read; the first: {base / path}: {reason}")
    table = scores_table([path for path in paths if path not in failed], np.concatenate([score for score, _ in scores]))
    novelties = [novelty for _, novelty in scores if novelty is not None]
    return with_novelty(table, np.concatenate(novelties) if novelties else None), failed


def refuse_other_models(run: RunFolder) -> None:
    """Raise InputError if the run is not one of a network."""
    if run.info.family != "cnn":
        raise InputError(f"{run.folder}: is a run of {run.info.recipe}, which is no network; name a run of a network")


def _image_paths(images: AnyPath | Iterable[AnyPath], folder: AnyPath | None) -> tuple[Path, list[str]]:
    """Return the folder that paths are relative to, and the paths."""
    if isinstance(images, str | os.PathLike):
        if Path(images).is_dir():
            return Path(images), image_files(Path(images))
        images = [images]
    paths = [Path(path).as_posix() for path in images]
    if not paths:
        raise InputError("images: there is none to predict; name a folder of images, or image files")
    return Path(folder or ""), paths


@dataclass(frozen=True)
class _Member:
    """One network of an ensemble: its convolutional part, up to the pooled features, and what follows.

    Attributes:
        base: Images to pooled features; the same object in all networks whose convolutional parts have equal weights.
        head: Pooled features to outputs.
        calibration: Calibration on validation.
        novelty: The distribution of the training cells.
    """

    base: keras.Model
    head: keras.Model
    calibration: Calibration | None
    novelty: NoveltyModel | None


@dataclass(frozen=True)
class _Ensemble:
    """The networks of a run. A convolutional part that several have in common runs once."""

    members: Sequence[_Member]
    batch_size: int

    @classmethod
    def of(
        cls, networks: Sequence[keras.Model], run: RunFolder, folds: Sequence[int | None], batch_size: int
    ) -> _Ensemble:
        bases: list[keras.Model] = []
        members: list[_Member] = []
        for network, fold in zip(networks, folds, strict=True):
            base = keras.Model(network.input, network.get_layer(POOL).output)
            same = next((other for other in bases if _equal_weights(other, base)), None)
            if same is None:
                bases.append(base)
                same = base
            head, calibration = network.get_layer(HEAD), run.info.calibration_of(fold)
            members.append(_Member(same, head, calibration, load_novelty(run, fold)))
        return cls(members, batch_size)

    def score(self, pixels: np.ndarray, views: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the mean over networks of calibrated probabilities, and of novelty, if all have one. [shape=(n,)]"""
        rows = np.arange(len(pixels))
        pooled = {
            id(base): [outputs_of(base, pixels, rows, self.batch_size, orientation=view) for view in range(views)]
            for base in {id(member.base): member.base for member in self.members}.values()
        }
        scores, novelties = [], []
        for member in self.members:
            of_views = pooled[id(member.base)]
            raw = [positive_score(outputs_of(member.head, each, rows, self.batch_size)) for each in of_views]
            scores.append(calibrated(np.mean(raw, axis=0), member.calibration))
            if member.novelty:
                novelties.append(member.novelty.novelty(of_views[0]))
        known = len(novelties) == len(self.members)
        return np.mean(scores, axis=0), np.mean(novelties, axis=0) if known else None


def _equal_weights(first: keras.Model, second: keras.Model) -> bool:
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)
