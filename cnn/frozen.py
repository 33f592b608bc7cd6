"""A frozen base is run once: what it puts out is kept on disk, and only the head is trained, on that."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np

from leukobench.cnn.augmentation import Augment
from leukobench.cnn.backend import keras
from leukobench.cnn.data import Images, cache_folder
from leukobench.cnn.epochs import Inputs
from leukobench.cnn.fitting import run
from leukobench.cnn.network import Network
from leukobench.cnn.recipes import Recipe
from leukobench.core.files import whole_folder

_FORMAT = 2  # raise it when scaling, augmentation or pooling change, so that old caches are not read
_TASK = "running the frozen base"
_CHUNK = 64  # batches predicted at a time, so that not all features lie in memory at once


def base_outputs(network: Network, recipe: Recipe, images: Images, trained_on: np.ndarray, seed: int) -> Inputs:
    """Return what a frozen base puts out for images, from the cache where it has been run on them before.

    It is run on every view that the recipe averages over. The head is trained on augmented copies where the recipe
    augments, else on the views.

    Args:
        network: The network.
        recipe: Its recipe.
        images: The images.
        trained_on: Rows that are trained on; only these are augmented.
        seed: For the augmentation.

    Returns:
        Pooled features, mapped from disk. [shape=(images, features) each, float32]
    """
    passes = recipe.augmented_passes if recipe.augmentation is not None else 0
    augmentation = [dataclasses.asdict(recipe.augmentation), passes, seed, trained_on.tolist()] if passes else None
    policy = keras.config.dtype_policy().name
    identity = [
        _FORMAT,
        images.key,
        recipe.architecture,
        dict(recipe.options),
        recipe.scaling,
        recipe.head[0],
        recipe.views,
    ]
    identity += [policy, keras.backend.backend(), augmentation, _checksum(network.base)]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
    cached = cache_folder() / "features" / key
    if not cached.is_dir():
        with whole_folder(cached, shared=True) as partial:
            shape = (recipe.views + passes, len(images.pixels), *network.base.output.shape[1:])
            features = np.lib.format.open_memmap(partial / "features.npy", mode="w+", dtype=np.float32, shape=shape)
            rows = np.array(sorted(images.row.values()))
            for turn in range(recipe.views):
                of_view = f", view {turn + 1}/{recipe.views}" if recipe.views > 1 else ""
                _fill(features[turn], network.base, images, rows, recipe.batch, _TASK + of_view, turn=turn)
            augmented = _augmented(network.base, recipe, seed) if passes else None
            for number in range(passes):
                task = f"{_TASK}, augmented {number + 1}/{passes}"
                _fill(features[recipe.views + number], augmented, images, trained_on, recipe.batch, task)
            features.flush()
    outputs = np.load(cached / "features.npy", mmap_mode="r")
    views, copies = outputs[: recipe.views], outputs[recipe.views :]
    return Inputs(outputs[0], copies if passes else views, [(view, 0) for view in views])


def _augmented(base: keras.Model, recipe: Recipe, seed: int) -> keras.Model:
    """Return the base with augmentation before it, which it keeps up when it predicts."""
    images = keras.Input(base.input.shape[1:])
    return keras.Model(images, base(Augment(recipe.augmentation, seed, always=True)(images)))


def _fill(
    features: np.ndarray,
    model: keras.Model,
    images: Images,
    rows: np.ndarray,
    batch: int,
    task: str,
    *,
    turn: int = 0,
) -> None:
    step = _CHUNK * batch
    chunks = [rows[start : start + step] for start in range(0, len(rows), step)]
    for number, chunk in enumerate(chunks):
        part = task if len(chunks) == 1 else f"{task}, part {number + 1}/{len(chunks)}"
        features[chunk] = run(model, images.pixels, chunk, batch, part, turn=turn)


def _checksum(model: keras.Model) -> str:
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.hexdigest()
