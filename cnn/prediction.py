"""Applying the networks of a run to other images, which need no label."""

from __future__ import annotations

from collections.abc import Sequence
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
from leukobench.cnn.fitting import score
from leukobench.cnn.network import load_network
from leukobench.cohort.layout import image_files
from leukobench.cohort.manifest import read_manifest
from leukobench.core.errors import InputError
from leukobench.results.run import read_run, scores_table

_BATCHES = 4  # read at a time, so that memory does not grow with the number of images


def predict(
    folder: Path,
    images: Path,
    *,
    manifest: Path | None = None,
    fold: str | None = None,
    batch: int | None = None,
    jobs: int = 1,
    device: str = "auto",
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Score images by the network of a run folder, or by the mean of a cross-validation's networks.

    Images are cut, scaled and cleared of their background as they were for training.

    Args:
        folder: Run folder of `train-cnn`.
        images: Folder of the images.
        manifest: Which of them to score; by default all, with those of its subfolders.
        fold: Of a cross-validation, the fold whose network alone is taken.
        batch: Images a step; by default as in training.
        jobs: Threads that read images.
        device: One of `leukobench.cnn.device.DEVICES`.

    Returns:
        `path`, `score` (the probability of `all`) and `predicted` of each image that could be read; and the reason of
        each that could not, by path.

    Raises:
        InputError: a torn run folder, no such fold or device, no image could be read, or memory is too small.
    """
    stored = read_run(folder)
    of_folds = sorted(folder.glob("model_fold_*.keras")) if fold is None else []
    files = of_folds or [stored.model_file(".keras", fold)]
    paths = image_files(images) if manifest is None else read_manifest(manifest)["path"].tolist()
    recipe = stored.info["parameters"]
    batch = batch or recipe["batch"]
    read = partial(try_square, background=stored.info["background"], frame=recipe["frame"], side=recipe["input_side"])
    scores: list[np.ndarray] = []
    failed: dict[str, str] = {}
    with (
        computing_on(choose_devices(device), batch),
        Parallel(n_jobs=jobs, prefer="threads") as threads,
        tqdm(total=len(paths), desc="predicting", unit="image", disable=None) as bar,
    ):
        networks = [load_network(str(file)) for file in files]
        for first in range(0, len(paths), _BATCHES * batch):
            chunk = paths[first : first + _BATCHES * batch]
            found = threads(delayed(read)(images / path) for path in chunk)
            failed |= {path: each for path, each in zip(chunk, found, strict=True) if isinstance(each, str)}
            pixels = [each for each in found if not isinstance(each, str)]
            if pixels:
                scores.append(_mean_score(networks, np.stack(pixels), batch, recipe.get("views", 1)))
            bar.update(len(chunk))
    if not scores:
        path, reason = next(iter(failed.items()))
        raise InputError(f"{images}: none of {len(failed)} images could be read; the first: {path}: {reason}")
    return scores_table([path for path in paths if path not in failed], np.concatenate(scores)), failed


def _mean_score(networks: Sequence[keras.Model], pixels: np.ndarray, batch: int, views: int) -> np.ndarray:
    seen, rows = Inputs.of_images(pixels, views).views, np.arange(len(pixels))
    return np.mean([score(network, seen, rows, batch) for network in networks], axis=0)
