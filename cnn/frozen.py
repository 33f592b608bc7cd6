"""A frozen base runs once: its outputs are kept on disk, and only the head is trained, on these outputs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np

from leukobench.cnn.augmentation import Augment
from leukobench.cnn.backend import keras
from leukobench.cnn.cache import cache_folder, cached, new_array
from leukobench.cnn.data import Images
from leukobench.cnn.epochs import Inputs
from leukobench.cnn.fitting import outputs_of
from leukobench.cnn.network import Network

_FORMAT = 3  # increase it when scaling, augmentation or pooling change, so that old caches are not used
_TASK = "running the frozen base"
_CHUNK = 64  # batches predicted at a time, so that not all features are in memory at once


def base_outputs(network: Network, images: Images, training_rows: np.ndarray, seed: int) -> Inputs:
    """Return the outputs of a frozen base for images; from the cache, if the base has been run on them before.

    The base is run on every view that the recipe averages over. If the recipe augments, the head is trained on
    augmented copies, else on the views.

    Args:
        network: The network.
        images: The images.
        training_rows: Rows of the images that are trained on; only these are augmented.
        seed: Random seed of the augmentation.

    Returns:
        Pooled features, mapped from disk. [shape=(images, features) each, float32]
    """
    recipe = network.recipe
    copies = recipe.augmented_passes if recipe.augmentation is not None else 0

    def fill(folder: Path) -> None:
        _run_base(network, images, training_rows, copies, seed, folder / "features.npy")

    found = cached(cache_folder() / "features" / _key(network, images, training_rows, copies, seed), fill)
    outputs = np.load(found / "features.npy", mmap_mode="r")
    views, augmented = outputs[: recipe.views], outputs[recipe.views :]
    return Inputs(outputs[0], augmented if copies else views, [(view, 0) for view in views])


def _key(network: Network, images: Images, training_rows: np.ndarray, copies: int, seed: int) -> str:
    """Return the name of the outputs in the cache: a checksum of everything that they depend on."""
    recipe = network.recipe
    augmentation = None
    if recipe.augmentation is not None:
        augmentation = [dataclasses.asdict(recipe.augmentation), copies, seed, training_rows.tolist()]
    identity = [
        _FORMAT,
        images.key,
        recipe.architecture,
        dict(recipe.options),
        recipe.scaling,
        recipe.head[0],
        recipe.views,
        keras.config.dtype_policy().name,
        keras.backend.backend(),
        augmentation,
        _checksum(network.base),
    ]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]


def _run_base(network: Network, images: Images, training_rows: np.ndarray, copies: int, seed: int, path: Path) -> None:
    """Write the outputs for each view, then for each augmented copy. [shape=(views + copies, images, features)]"""
    views, batch_size = network.recipe.views, network.recipe.batch_size
    shape = (views + copies, len(images.pixels), *network.base.output.shape[1:])
    features = new_array(path, np.float32, shape)
    rows = np.array(sorted(images.row.values()))
    for view in range(views):
        task = f"{_TASK}, view {view + 1}/{views}" if views > 1 else _TASK
        _fill(features[view], network.base, images, rows, batch_size, task, orientation=view)
    augmented = _augmented(network, seed) if copies else None
    for number in range(copies):
        task = f"{_TASK}, augmented {number + 1}/{copies}"
        _fill(features[views + number], augmented, images, training_rows, batch_size, task)
    features.flush()


def _augmented(network: Network, seed: int) -> keras.Model:
    """Return the base with augmentation before it that is active in prediction, too."""
    assert network.recipe.augmentation is not None
    images = keras.Input(network.base.input.shape[1:])
    return keras.Model(images, network.base(Augment(network.recipe.augmentation, seed, always=True)(images)))


def _fill(
    features: np.ndarray,
    model: keras.Model,
    images: Images,
    rows: np.ndarray,
    batch_size: int,
    task: str,
    *,
    orientation: int = 0,
) -> None:
    step = _CHUNK * batch_size
    chunks = [rows[start : start + step] for start in range(0, len(rows), step)]
    for number, chunk in enumerate(chunks):
        part = task if len(chunks) == 1 else f"{task}, part {number + 1}/{len(chunks)}"
        features[chunk] = outputs_of(model, images.pixels, chunk, batch_size, part, orientation=orientation)


def _checksum(model: keras.Model) -> str:
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.hexdigest()
