"""Batch normalisation: one fused operation on CPUs, and initial values of the running averages.

Keras composes the layer of a dozen operations, each of which reads and writes every feature map; on a CPU that takes
about as long as the convolutions. TensorFlow has an operation that computes the same numbers at a third of the cost.
With a GPU, where the compiler fuses the operations, and with JAX, which has no such operation, nothing is changed.
"""

from __future__ import annotations

import types
from collections.abc import Iterator

import numpy as np

from leukobench.cnn.backend import keras

ops = keras.ops


def fuse_batch_normalization(model: keras.Model) -> None:
    """Fuse the batch normalisations of a model if TensorFlow runs it on the CPU.

    The stored model still contains Keras' own `BatchNormalization` layers.

    Args:
        model: The model; its feature maps have their channels last.
    """
    if keras.backend.backend() != "tensorflow" or not keras.distribution.list_devices()[0].startswith("cpu"):
        return
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and len(layer.output.shape) == 4:
            layer.call = types.MethodType(_fused, layer)


def begin_averages(model: keras.Model, images: np.ndarray) -> None:
    """Start the running averages of trained batch normalisations with a batch instead of with 0 and 1, as Keras does.

    Training normalises by the statistics of each batch; only prediction uses the running averages. Their initial values
    decay with the momentum: of Keras' 0.99, 1.4% are left after 425 steps. In images that are mostly black, variances
    are far below 1.4% of 1, so that in every layer the running variance is still many times too large, and all images
    get the same score. After some thousand steps the initial values make no difference.

    Args:
        model: The model.
        images: A batch of training images. [shape=(n, side, side, channels)]
    """
    layers = [layer for layer in _normalizations(model) if layer.trainable]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    if layers:
        model(images, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def _normalizations(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _normalizations(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            yield layer


def _fused(
    self: keras.layers.BatchNormalization, inputs: keras.KerasTensor, training: bool | None = None, mask: None = None
) -> keras.KerasTensor:
    """Compute the same as `keras.layers.BatchNormalization.call`, with one operation of TensorFlow."""
    import tensorflow as tf

    channels = inputs.shape[-1]
    normalise = {
        "x": inputs,
        "scale": ops.cast(self.gamma, "float32") if self.scale else tf.ones(channels),
        "offset": ops.cast(self.beta, "float32") if self.center else tf.zeros(channels),
        "epsilon": self.epsilon,
    }
    if not (training and self.trainable):
        mean, variance = (ops.convert_to_tensor(moving) for moving in (self.moving_mean, self.moving_variance))
        return tf.raw_ops.FusedBatchNormV3(**normalise, mean=mean, variance=variance, is_training=False).y
    found = tf.raw_ops.FusedBatchNormV3(**normalise, mean=[], variance=[], is_training=True)
    count = ops.cast(tf.size(inputs) // channels, "float32")
    variance = (
        found.batch_variance * (count - 1) / count
    )  # TensorFlow's is the unbiased estimate; Keras keeps the variance of the batch
    for moving, of_batch in ((self.moving_mean, found.batch_mean), (self.moving_variance, variance)):
        moving.assign(moving * self.momentum + of_batch * (1 - self.momentum))
    return found.y
