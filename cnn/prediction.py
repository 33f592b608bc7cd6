"""Applying the networks of a run to other images, which need no label."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from leukobench.cnn.backend import keras
from leukobench.cnn.data import try_square
from leukobench.cnn.device import choose_devices, computing_on
from leukobench.cnn.epochs import Inputs
from leukobench.cnn.fitting import mean_score
from leukobench.cnn.network import load_network
from leukobench.cohort.layout import image_files
from leukobench.core.errors import InputError
from leukobench.results.calibration import Calibration, calibrated
from leukobench.results.run import RunFolder, scores_table

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
        batch_size: Number of images in a batch; by default as in training.
        jobs: Number of threads that read images.
        device: One of `leukobench.cnn.device.DEVICES`.

    Returns:
        A table of `path` (of a folder's images relative to it, else as given), `score` (the probability of `all`) and
        `predicted` for each image that could be read; and the reason for each that could not, by path.

    Raises:
        InputError: the run is of another model, there is no such fold or device, no image could be read, or memory is
            too small.
    """
    refuse_other_models(run)
    batch_size = batch_size or run.count("batch_size")
    side, frame, views, background = *map(run.count, ("input_side", "frame", "views")), run.info.background
    base, paths = _image_paths(images, folder)
    folds: Sequence[int | None] = run.folds if fold is None and run.folds else [fold]
    files = [run.model_file(".keras", each) for each in folds]
    read = partial(try_square, background=background, frame=frame, side=side)
    scores: list[np.ndarray] = []
    failed: dict[str, str] = {}
    with (
        computing_on(choose_devices(device), batch_size),
        Parallel(n_jobs=jobs, prefer="threads") as threads,
        tqdm(total=len(paths), desc="predicting", unit="image", disable=None) as bar,
    ):
        networks = [
            (load_network(file), run.info.calibration_of(each)) for file, each in zip(files, folds, strict=True)
        ]
        for first in range(0, len(paths), _BATCHES * batch_size):
            chunk = paths[first : first + _BATCHES * batch_size]
            found = threads(delayed(read)(base / path) for path in chunk)
            failed |= {path: each for path, each in zip(chunk, found, strict=True) if isinstance(each, str)}
            pixels = [each for each in found if not isinstance(each, str)]
            if pixels:
                scores.append(_mean_of_networks(networks, np.stack(pixels), batch_size, views))
            bar.update(len(chunk))
    if not scores:
        path, reason = next(iter(failed.items()))
        raise InputError(f"{base}: none of {len(failed)} images could be read; the first: {path}: {reason}")
    return scores_table([path for path in paths if path not in failed], np.concatenate(scores)), failed


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


def _mean_of_networks(
    networks: Sequence[tuple[keras.Model, Calibration | None]], pixels: np.ndarray, batch_size: int, views: int
) -> np.ndarray:
    """Return the mean over networks of their calibrated probabilities. [shape=(n,)]"""
    inputs, rows = Inputs.of_images(pixels, views).views, np.arange(len(pixels))
    scores = [calibrated(mean_score(model, inputs, rows, batch_size), calibration) for model, calibration in networks]
    return np.mean(scores, axis=0)
