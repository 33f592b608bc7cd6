"""Where in a cell a network looks: Grad-CAM, and the feature maps of every layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from leukobench.cnn.backend import keras
from leukobench.cnn.epochs import turned, turned_back
from leukobench.cnn.network import HEAD, NETWORK, positive_score
from leukobench.cnn.pooling import CELL_WEIGHT, POOL, pooling_of
from leukobench.cnn.scaling import SCALING
from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.results.metrics import THRESHOLD

ops = keras.ops


@dataclass(frozen=True)
class Explanation:
    """Why a network called one cell what it did.

    Attributes:
        path: The image.
        score: Probability of `all`, the mean over the views that the recipe averages over.
        predicted: The class it was called, which `heat` is the evidence for.
        pixels: What the network saw. [shape=(side, side, 3), uint8]
        mask: Which of it is cell. [shape=(side, side), bool]
        heat: Grad-CAM, from 0 to 1, the mean over the views turned back; all 0 where nothing speaks for the class.
            [shape=(side, side)]
    """

    path: Path
    score: float
    predicted: str
    pixels: np.ndarray
    mask: np.ndarray
    heat: np.ndarray

    @property
    def on_background(self) -> float | None:
        """Share of the heat that falls outside the cell; None where there is no heat."""
        return float(self.heat[~self.mask].sum() / self.heat.sum()) if self.heat.any() else None

    @property
    def background(self) -> float:
        """Share of the pixels that are no cell: what `on_background` would be if heat fell anywhere."""
        return float((~self.mask).mean())

    def line(self) -> str:
        """Say it in a line."""
        heat = "no heat" if self.on_background is None else f"{self.on_background:.0%} of the heat"
        return (
            f"{self.path}: called {self.predicted} (probability of all {self.score:.3f}); {heat} on the background, "
            f"which is {self.background:.0%} of the image"
        )


def explain_pixels(model: keras.Model, path: Path, pixels: np.ndarray, mask: np.ndarray, views: int = 1) -> Explanation:
    """Explain what a network calls one image.

    Args:
        model: A stored network, as `leukobench.cnn.network.load_network` loads it.
        path: Name of the image.
        pixels: What the network sees. [shape=(side, side, 3), uint8]
        mask: Which of it is cell. [shape=(side, side), bool]
        views: How many turns of the image the score is the mean over, see `leukobench.cnn.epochs.turned`.
    """
    seen = [turned(pixels[None], np.array([turn])) for turn in range(views)]
    score = float(np.mean([positive_score(_outputs(model, view))[0] for view in seen]))
    predicted = POSITIVE if score >= THRESHOLD else NEGATIVE
    of_views = [_evidence(model, view[0], predicted == POSITIVE) for view in seen]
    coarse = _to_one(np.mean([turned_back(heat, turn) for turn, heat in enumerate(of_views)], axis=0))
    heat = cv2.resize(coarse, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return Explanation(path, score, predicted, pixels, mask, heat)


def grad_cam(model: keras.Model, pixels: np.ndarray, *, positive: bool) -> np.ndarray:
    """Return the Grad-CAM of a class on the feature maps that the network's last convolution ends in.

    The class's score before sigmoid or softmax is differentiated by each map; a map's weight is the mean of its
    derivatives, and the heat is what of the weighted sum of the maps is positive, divided by its largest value. For
    a softmax of two the score is the difference between both. Where the head begins with a batch normalisation, which
    takes from each map its mean over the training images, the heat is that of what differs from this mean. Where it
    averages over the cell alone, the maps are what it averages: 0 where there is no cell.

    Args:
        model: A stored network.
        pixels: What the network sees. [shape=(side, side, 3)]
        positive: Whether the class is `all`, else `hem`.

    Returns:
        The heat, from 0 to 1. [shape=(height, width) of the maps, float32]

    Reference: Selvaraju, R. R. et al. (2017). Grad-CAM: visual explanations from deep networks via gradient-based
    localization. ICCV.
    """
    return _to_one(_evidence(model, pixels, positive))


def _evidence(model: keras.Model, pixels: np.ndarray, positive: bool) -> np.ndarray:
    """Return Grad-CAM before it is divided by its largest value."""
    pool, head = model.get_layer(POOL), model.get_layer(HEAD)
    of_cell = pooling_of(model) == "cell-average"
    weight = model.get_layer(CELL_WEIGHT).output if of_cell else ops.ones_like(pool.input[..., :1])
    maps, weight = _outputs(keras.Model(model.input, [pool.input, weight]), pixels[None])
    output = head.layers[-1]

    def score(maps: keras.KerasTensor) -> keras.KerasTensor:
        x = pool(maps)
        for layer in head.layers[:-1]:
            x = layer(x, training=False)
        logits = (ops.matmul(ops.cast(x, "float32"), output.kernel) + output.bias)[0]
        of_positive = logits[-1] - logits[0] if logits.shape[0] == 2 else logits[0]
        return of_positive if positive else -of_positive

    weights = _gradient(score, maps)[0].mean(axis=(0, 1))
    maps, first = maps[0], head.layers[0]
    if isinstance(first, keras.layers.BatchNormalization):
        usual = ops.convert_to_numpy(first.moving_mean)
        maps = maps - weight[0] * usual.reshape(maps.shape if isinstance(pool, keras.layers.Flatten) else -1)
    return np.maximum(maps @ weights, 0).astype(np.float32)


def _to_one(heat: np.ndarray) -> np.ndarray:
    return heat / heat.max() if heat.any() else heat


def feature_maps(model: keras.Model, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the feature maps of every layer of the convolutional part. [shape=(height, width, channels) each]"""
    network = model.get_layer(NETWORK)
    names = [layer.name for layer in model.layers]
    entering = model.get_layer(SCALING).output if SCALING in names else model.input
    scaled = _outputs(keras.Model(model.input, entering), pixels[None])
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    spatial = [layer for layer in layers if len(layer.output.shape) == 4]
    outputs = _outputs(keras.Model(network.input, [layer.output for layer in spatial]), scaled)
    return {layer.name: output[0] for layer, output in zip(spatial, outputs, strict=True)}


def _outputs(model: keras.Model, inputs: np.ndarray) -> Any:
    """Return a model's outputs without compiling it, which for one image takes longer than running it."""
    return keras.tree.map_structure(ops.convert_to_numpy, model(inputs, training=False))


def _gradient(function: Callable, at: np.ndarray) -> np.ndarray:
    """Return the derivatives of a scalar function of a tensor; the one thing that Keras has no word of its own for."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(jax.numpy.asarray(at)))
    import tensorflow as tf

    tensor = tf.convert_to_tensor(at)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = function(tensor)
    return tape.gradient(value, tensor).numpy()
