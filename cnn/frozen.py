"""A frozen base is run once: what it puts out is kept on disk, and only the head is trained, on that."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np

from cnn.augmentation import Augment
from cnn.backend import keras
from cnn.data import Images, cache_folder
from cnn.fitting import run
from cnn.network import Network
from cnn.recipes import Recipe
from study.files import whole_folder

_FORMAT = 1  # raise it when scaling, augmentation or pooling change, so that old caches are not read
_CHUNK = 64  # batches predicted at a time, so that not all features lie in memory at once


def passes_of(recipe: Recipe) -> int:
    """How often a recipe's images are augmented before they go through a frozen base."""
    return recipe.augmented_passes if recipe.augmentation is not None else 0


def base_outputs(network: Network, recipe: Recipe, images: Images, trained_on: np.ndarray, seed: int) -> np.ndarray:
    """Return what a frozen base puts out for images, from the cache where it has been run on them before.

    Args:
        network: The network.
        recipe: Its recipe. Where it augments, that many augmented copies of the images follow the plain ones.
        images: The images.
        trained_on: Rows that are trained on; only these are augmented.
        seed: For the augmentation.

    Returns:
        Pooled features, mapped from disk. [shape=((1 + passes) * images, features), float32]
    """
    passes = passes_of(recipe)
    augmentation = [dataclasses.asdict(recipe.augmentation), passes, seed, trained_on.tolist()] if passes else None
    policy = keras.config.dtype_policy().name
    identity = [_FORMAT, images.key, recipe.architecture, dict(recipe.options), recipe.scaling, recipe.head[0]]
    identity += [policy, keras.backend.backend(), augmentation, _checksum(network.base)]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
    cached = cache_folder() / "features" / key
    if not cached.is_dir():
        with whole_folder(cached, shared=True) as partial:
            count = len(images.pixels)
            shape = ((1 + passes) * count, *network.base.output.shape[1:])
            features = np.lib.format.open_memmap(partial / "features.npy", mode="w+", dtype=np.float32, shape=shape)
            rows = np.array(sorted(images.row.values()))
            _fill(features, 0, network.base, images, rows, recipe, "running the frozen base")
            augmented = _augmented(network.base, recipe, seed) if passes else None
            for number in range(1, passes + 1):
                task = f"running the frozen base, augmented {number}/{passes}"
                _fill(features, number * count, augmented, images, trained_on, recipe, task)
            features.flush()
    return np.load(cached / "features.npy", mmap_mode="r")


def _augmented(base: keras.Model, recipe: Recipe, seed: int) -> keras.Model:
    """Return the base with augmentation before it, which it keeps up when it predicts."""
    images = keras.Input(base.input.shape[1:])
    return keras.Model(images, base(Augment(recipe.augmentation, seed, always=True)(images)))


def _fill(
    features: np.ndarray, first: int, model: keras.Model, images: Images, rows: np.ndarray, recipe: Recipe, task: str
) -> None:
    step = _CHUNK * recipe.batch
    chunks = [rows[start : start + step] for start in range(0, len(rows), step)]
    for number, chunk in enumerate(chunks):
        part = task if len(chunks) == 1 else f"{task}, part {number + 1}/{len(chunks)}"
        features[first + chunk] = run(model, images.pixels, chunk, recipe.batch, part)


def _checksum(model: keras.Model) -> str:
    digest = hashlib.sha256()
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights).tobytes())
    return digest.hexdigest()
