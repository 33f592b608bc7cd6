"""A recipe made into a Keras model: base, head, what is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnn.architectures import ARCHITECTURES
from cnn.backend import keras
from cnn.recipes import Recipe
from study.errors import StudyError


@dataclass(frozen=True)
class Network:
    """A compiled network in two parts that share their weights with the whole.

    Attributes:
        whole: Images to outputs; what is stored and predicts.
        base: Images to pooled features. [shape=(n, features)]
        head: Pooled features to outputs.
    """

    whole: keras.Model
    base: keras.Model
    head: keras.Model


def build(recipe: Recipe, weights: str | None) -> Network:
    """Build a recipe's network.

    Args:
        recipe: The recipe.
        weights: A file or "imagenet" for a recipe that starts from ImageNet, else None.

    Raises:
        StudyError: the weights cannot be had.
    """
    maps = ARCHITECTURES[recipe.architecture](recipe.input_side, weights, **recipe.options)
    pooling = {"average": keras.layers.GlobalAveragePooling2D, "flatten": keras.layers.Flatten}[recipe.head[0]]
    base = keras.Model(maps.input, pooling()(maps.output), name="base")
    base.trainable = not recipe.frozen
    head = keras.Sequential([keras.Input(base.output.shape[1:]), *map(_layer, recipe.head[1:])], name="head")
    images = keras.Input((recipe.input_side, recipe.input_side, 3), name="images")
    whole = keras.Model(images, head(base(images)), name=recipe.name.replace("-", "_"))
    return Network(whole, base, head)


def compile_for(recipe: Recipe, model: keras.Model) -> None:
    """Give a model the recipe's optimiser and the loss that its output calls for."""
    settings = dict(recipe.optimizer)
    optimizer = getattr(keras.optimizers, settings.pop("name"))(**settings)
    softmax = recipe.head[-1] == "softmax"
    loss = keras.losses.SparseCategoricalCrossentropy() if softmax else keras.losses.BinaryCrossentropy()
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])


def positive_score(outputs: np.ndarray) -> np.ndarray:
    """Return the probability of `all` from a network's outputs: the last column. [shape=(n,)]"""
    return np.asarray(outputs, np.float64)[:, -1]


def load_network(path: str) -> keras.Model:
    """Load a stored network in safe mode: no code from the file is run.

    Raises:
        StudyError: no Keras file.
    """
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StudyError(f"{path}: cannot be loaded as a network ({' '.join(str(error).split())[:200]})") from None


def _layer(specification: str) -> keras.layers.Layer:
    kind, _, value = specification.partition("=")
    return {
        "dropout": lambda: keras.layers.Dropout(float(value)),
        "dense": lambda: keras.layers.Dense(int(value), activation="relu"),
        "sigmoid": lambda: keras.layers.Dense(1, activation="sigmoid"),
        "softmax": lambda: keras.layers.Dense(2, activation="softmax"),
    }[kind]()
