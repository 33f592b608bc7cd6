"""Batch normalisation: in one pass, which TensorFlow offers for CPUs and Keras does not use; and how averages begin.

Keras composes the layer from a dozen operations, each of which reads and writes every feature map; on a CPU that takes
about as long as the convolutions. TensorFlow's own operation computes the same numbers at a third of the cost. GPUs
compile the composition into as much, and JAX has no such operation, so there nothing is changed.
"""

from __future__ import annotations

import types
from collections.abc import Iterator

import numpy as np

from leukobench.cnn.backend import keras

ops = keras.ops


def fuse_batch_normalization(model: keras.Model) -> None:
    """Let the batch normalisations of a model compute in one pass, where TensorFlow runs it on the CPU.

    The layers stay what they are: a stored model holds plain `BatchNormalization`.

    Args:
        model: The model; its feature maps have their channels last.
    """
    if keras.backend.backend() != "tensorflow" or not keras.distribution.list_devices()[0].startswith("cpu"):
        return
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and len(layer.output.shape) == 4:
            layer.call = types.MethodType(_fused, layer)


def begin_averages(model: keras.Model, images: np.ndarray) -> None:
    """Let the running averages of batch normalisations that are trained begin with a batch, not with 0 and 1.

    Training normalises by each batch itself; only prediction uses the averages. What they begin with fades by the
    momentum a step: with Keras' 0.99, 1.4% of it are left after 425 steps. Of images that are mostly black variances
    are far below that, so that a variance that began with 1 is still many times too large, layer upon layer, and all
    images get the same score. After some thousand steps it makes no difference.

    Args:
        model: The model.
        images: A batch as it is trained on. [shape=(n, side, side, channels)]
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
    """Compute as `keras.layers.BatchNormalization.call` does, with the operation of TensorFlow."""
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
    variance = found.batch_variance * (count - 1) / count  # it estimates that of all images; Keras keeps the batch's
    for moving, of_batch in ((self.moving_mean, found.batch_mean), (self.moving_variance, variance)):
        moving.assign(moving * self.momentum + of_batch * (1 - self.momentum))
    return found.y
