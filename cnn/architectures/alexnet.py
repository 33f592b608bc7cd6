"""AlexNet (Krizhevsky, Sutskever & Hinton 2012, NeurIPS 25) on one device: 62,378,344 parameters at 1000 classes."""

from __future__ import annotations

from leukobench.cnn.architectures.pretrained import refuse_weights
from leukobench.cnn.backend import keras


def alexnet(side: int, weights: str | None = None) -> keras.Model:
    """Build the five convolutions of AlexNet; an input of 227 px gives maps of 6 x 6 x 256.

    The two dense layers of 4096 belong to the head. Convolutions are not divided into two groups, which served two
    GPUs, and there is no local response normalisation, as in every later implementation.

    Args:
        side: Side of the input, px; 227 in the original.
        weights: Must be None: Keras offers none.

    Raises:
        InputError: weights are given.
    """
    refuse_weights("AlexNet", weights)

    def convolution(x: keras.KerasTensor, filters: int, size: int, **arguments: object) -> keras.KerasTensor:
        return keras.layers.Conv2D(filters, size, activation="relu", **arguments)(x)

    pixels = keras.layers.Input((side, side, 3))
    x = convolution(pixels, 96, 11, strides=4)
    x = keras.layers.MaxPooling2D(3, strides=2)(x)
    x = convolution(x, 256, 5, padding="same")
    x = keras.layers.MaxPooling2D(3, strides=2)(x)
    for filters in (384, 384, 256):
        x = convolution(x, filters, 3, padding="same")
    x = keras.layers.MaxPooling2D(3, strides=2)(x)
    return keras.Model(pixels, x, name="alexnet")
