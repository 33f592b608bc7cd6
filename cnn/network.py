"""The Keras model of a recipe: scaling, base, pooling, head, and which layers are trained."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leukobench.cnn.architectures import ARCHITECTURES
from leukobench.cnn.backend import keras
from leukobench.cnn.normalization import fuse_batch_normalization
from leukobench.cnn.pooling import POOLINGS
from leukobench.cnn.recipes import Recipe
from leukobench.cnn.scaling import SCALINGS
from leukobench.cnn.stored import only_known_content
from leukobench.core.errors import InputError

_STEPS_AT_ONCE = 16  # for a head on a frozen base, where calling the backend costs about as much as a step
NETWORK, HEAD = "network", "head"  # layers of a stored model, beside its scaling and pooling


@dataclass(frozen=True)
class Network:
    """A network, and two parts of it that share its weights.

    Attributes:
        recipe: The recipe that it was built from.
        whole: Images to outputs; what is stored and predicts.
        base: Images to pooled features. [shape=(n, features)]
        head: Pooled features to outputs.
    """

    recipe: Recipe
    whole: keras.Model
    base: keras.Model
    head: keras.Model

    @property
    def maps(self) -> keras.Model:
        """Scaled pixels to feature maps: the convolutional part."""
        return self.whole.get_layer(NETWORK)

    @property
    def fitted(self) -> keras.Model:
        """The part that is fitted: the head if the base is frozen, else the whole network."""
        return self.head if self.recipe.frozen else self.whole


def build(recipe: Recipe, weights: str | None) -> Network:
    """Build the network of a recipe.

    Args:
        recipe: The recipe.
        weights: A file or "imagenet" for a recipe that starts from ImageNet weights, else None.

    Raises:
        InputError: the weights are not available, or the architecture does not accept the options or the input.
    """
    try:
        maps = ARCHITECTURES[recipe.architecture](recipe.input_side, weights, **recipe.options)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{recipe.name}: {recipe.architecture} cannot be built ({reason})") from None
    maps.name = NETWORK
    fuse_batch_normalization(maps)
    _choose_trained(maps, recipe.trained)
    images = keras.Input((recipe.input_side, recipe.input_side, 3), name="images")
    pooled = POOLINGS[recipe.head[0]](images, maps(SCALINGS[recipe.scaling](images)))
    layers = [_layer(specification, recipe.l2) for specification in recipe.head[1:]]
    head = keras.Sequential([keras.Input(pooled.shape[1:]), *layers], name=HEAD)
    whole = keras.Model(images, head(pooled), name=recipe.name.replace("-", "_"))
    return Network(recipe, whole, keras.Model(images, pooled, name="base"), head)


def compile_for(recipe: Recipe, model: keras.Model, steps: int) -> None:
    """Compile a model with the optimiser and loss of a recipe.

    Args:
        recipe: The recipe.
        model: The whole network or its head.
        steps: Number of batches of an epoch, for the schedule of the learning rate.
    """
    arguments = dict(recipe.optimizer)
    optimizer = getattr(keras.optimizers, arguments.pop("name"))(**arguments)
    if recipe.schedule == "cosine":
        # a variable of the optimiser: JAX compiles anew for every other constant, and the folds differ in their steps
        optimizer.total_steps = keras.Variable(steps * recipe.epochs, dtype="float32", trainable=False)
        rate = recipe.optimizer["learning_rate"]
        optimizer.learning_rate = keras.optimizers.schedules.CosineDecay(rate, optimizer.total_steps)
    # as an object, because TensorFlow traces the training step twice where the metric named "accuracy" is made in it
    accuracy = keras.metrics.BinaryAccuracy if recipe.head[-1] == "sigmoid" else keras.metrics.CategoricalAccuracy
    model.compile(
        optimizer=optimizer,
        loss=getattr(keras.losses, recipe.loss)(),
        metrics=[accuracy(name="accuracy")],
        steps_per_execution=_STEPS_AT_ONCE if recipe.frozen else 1,
    )


def targets_for(recipe: Recipe, positive: np.ndarray) -> np.ndarray:
    """Return the targets of training: one column for a sigmoid, two for a softmax. [shape=(n, 1 or 2)]"""
    positive = np.asarray(positive, np.float32)[:, None]
    return positive if recipe.head[-1] == "sigmoid" else np.hstack([1 - positive, positive])


def positive_score(outputs: np.ndarray) -> np.ndarray:
    """Return the probability of `all` from a network's outputs: the last column. [shape=(n,)]"""
    return np.asarray(outputs, np.float64)[:, -1]


def load_network(path: str | os.PathLike[str]) -> keras.Model:
    """Load a stored network: no code from the file is run, and only layers that our networks have are built.

    Raises:
        InputError: the file is no network in Keras format, or contains what no network of leukobench does.
    """
    try:
        with only_known_content(Path(path)):
            model = keras.saving.load_model(os.fspath(path), compile=False, safe_mode=True)
        fuse_batch_normalization(model.get_layer(NETWORK))
    except Exception as error:  # a damaged file makes Keras and h5py raise nearly anything
        raise InputError(f"{path}: cannot be loaded as a network ({' '.join(str(error).split())[:200]})") from None
    return model


def _choose_trained(maps: keras.Model, trained: str) -> None:
    maps.trainable = trained != "head"
    if trained in ("head+batchnorm", "all-but-batchnorm"):
        for layer in maps.layers:
            layer.trainable = isinstance(layer, keras.layers.BatchNormalization) == (trained == "head+batchnorm")


def _layer(specification: str, l2: float) -> keras.layers.Layer:
    kind, _, value = specification.partition("=")
    penalty = keras.regularizers.L2(l2) if l2 else None
    # probabilities are float32, in mixed precision, too
    output = {"dtype": "float32", "kernel_regularizer": penalty}
    return {
        "batchnorm": keras.layers.BatchNormalization,
        "dropout": lambda: keras.layers.Dropout(float(value)),
        "dense": lambda: keras.layers.Dense(int(value), activation="relu", kernel_regularizer=penalty),
        "sigmoid": lambda: keras.layers.Dense(1, activation="sigmoid", **output),
        "softmax": lambda: keras.layers.Dense(2, activation="softmax", **output),
    }[kind]()
