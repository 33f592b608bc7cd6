"""Grad-CAM: which places of an image a prediction rests on; and the feature maps of every layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from leukobench.cnn.backend import keras
from leukobench.cnn.epochs import orient, undo_orientation
from leukobench.cnn.network import HEAD, NETWORK, positive_score
from leukobench.cnn.pooling import CELL_WEIGHT, POOL, pooling_of
from leukobench.cnn.scaling import SCALING
from leukobench.cohort.class_names import CNMC, ClassNames
from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.results.calibration import Calibration, calibrated
from leukobench.results.metrics import THRESHOLD

ops = keras.ops


@dataclass(frozen=True)
class NetworkExplanation:
    """The explanation of one prediction.

    Attributes:
        path: The image.
        score: Probability of `all`: the mean over the views that the recipe averages over, calibrated as in training.
        predicted: The predicted class, which `attribution` explains.
        pixels: The input of the network. [shape=(side, side, 3), uint8]
        mask: Which pixels are cell. [shape=(side, side), bool]
        attribution: Grad-CAM of the predicted class, from 0 to 1: the mean over the views, each in the orientation of
            the image; 0 everywhere if there is no evidence for the class. [shape=(side, side)]
        classes: What the classes are called.
    """

    path: Path
    score: float
    predicted: str
    pixels: np.ndarray
    mask: np.ndarray
    attribution: np.ndarray
    classes: ClassNames = CNMC

    @property
    def on_background(self) -> float | None:
        """Share of the attribution outside the cell; None if there is no attribution."""
        if not self.attribution.any():
            return None
        return float(self.attribution[~self.mask].sum() / self.attribution.sum())

    @property
    def background(self) -> float:
        """Share of the pixels outside the cell: what `on_background` is for a uniform attribution."""
        return float((~self.mask).mean())

    def line(self) -> str:
        """Summarise the explanation in a line.

        >>> half = np.arange(4).reshape(2, 2) < 2
        >>> attribution = np.array([[1, 0.5], [0.5, 0]])
        >>> found = NetworkExplanation(Path("cell.bmp"), 0.9, "all", np.zeros((2, 2, 3)), half, attribution)
        >>> print(found.line())
        cell.bmp: predicted all (probability of all 0.900); 25% of the attribution on the background, which is 50% of...
        """
        share = self.on_background
        attribution = "no attribution" if share is None else f"{share:.0%} of the attribution"
        predicted, positive = self.classes[self.predicted], self.classes.positive
        return (
            f"{self.path}: predicted {predicted} (probability of {positive} {self.score:.3f}); {attribution} on the "
            f"background, which is {self.background:.0%} of the image"
        )


def explain_pixels(
    model: keras.Model,
    path: Path,
    pixels: np.ndarray,
    mask: np.ndarray,
    views: int = 1,
    calibration: Calibration | None = None,
    classes: ClassNames = CNMC,
) -> NetworkExplanation:
    """Explain the prediction of a network for one image.

    The probability and the predicted class are those after calibration. The attribution is of the output of the network
    before its sigmoid or softmax, which the calibration does not change but for a shift and a positive factor.

    Args:
        model: A stored network, as `leukobench.cnn.network.load_network` loads it.
        path: Name of the image.
        pixels: The input of the network. [shape=(side, side, 3), uint8]
        mask: Which pixels are cell. [shape=(side, side), bool]
        views: Number of views of the image that the score is the mean over, see `leukobench.cnn.epochs.orient`.
        calibration: The calibration of the network on the validation part.
        classes: What the classes are called.
    """
    oriented = [orient(pixels[None], np.array([orientation])) for orientation in range(views)]
    raw = np.mean([positive_score(_outputs(model, view))[0] for view in oriented])
    score = float(calibrated(raw, calibration))
    predicted = POSITIVE if score >= THRESHOLD else NEGATIVE
    of_views = [_unscaled_grad_cam(model, view[0], predicted == POSITIVE) for view in oriented]
    upright = [undo_orientation(found, orientation) for orientation, found in enumerate(of_views)]
    coarse = _scaled_to_one(np.mean(upright, axis=0))
    attribution = cv2.resize(coarse, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return NetworkExplanation(path, score, predicted, pixels, mask, attribution, classes)


def grad_cam(model: keras.Model, pixels: np.ndarray, *, positive: bool) -> np.ndarray:
    """Return the Grad-CAM of a class on the last feature maps of a network.

    The score of the class before sigmoid or softmax is differentiated with respect to each map; for a softmax of two it
    is the difference of both. The weight of a map is the mean of its derivatives. Grad-CAM is the positive part of the
    weighted sum of the maps, divided by its largest value:

        weight_k = mean over places of d score / d map_k;  attribution = max(0, sum over k of weight_k map_k)

    If the head starts with a batch normalisation, which subtracts from each map its mean over the training images, the
    maps here are the differences from this mean. If the head averages over the cell, the maps are 0 outside the cell.

    Args:
        model: A stored network.
        pixels: The input of the network. [shape=(side, side, 3)]
        positive: Whether the class is `all`, else `hem`.

    Returns:
        The attribution, from 0 to 1. [shape=(height, width) of the maps, float32]

    Reference: Selvaraju, R. R. et al. (2017). Grad-CAM: visual explanations from deep networks via gradient-based
    localization. ICCV.
    """
    return _scaled_to_one(_unscaled_grad_cam(model, pixels, positive))


def _unscaled_grad_cam(model: keras.Model, pixels: np.ndarray, positive: bool) -> np.ndarray:
    """Return Grad-CAM before the division by its largest value."""
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
        mean = ops.convert_to_numpy(first.moving_mean)
        maps = maps - weight[0] * mean.reshape(maps.shape if isinstance(pool, keras.layers.Flatten) else -1)
    return np.maximum(maps @ weights, 0).astype(np.float32)


def _scaled_to_one(values: np.ndarray) -> np.ndarray:
    return values / values.max() if values.any() else values


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
    """Return a model's outputs without compiling it, which takes longer than running it for one image."""
    return keras.tree.map_structure(ops.convert_to_numpy, model(inputs, training=False))


def _gradient(function: Callable, at: np.ndarray) -> np.ndarray:
    """Return the derivatives of a scalar function of a tensor; Keras has no function of its own for this."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(jax.numpy.asarray(at)))
    import tensorflow as tf

    tensor = tf.convert_to_tensor(at)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = function(tensor)
    return tape.gradient(value, tensor).numpy()
