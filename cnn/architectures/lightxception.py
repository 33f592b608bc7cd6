"""The light Xception of Clinton, Somes, Chu & Javed 2020: 1,248,060 parameters with one sigmoid output."""

from __future__ import annotations

from leukobench.cnn.architectures.pretrained import refuse_weights
from leukobench.cnn.backend import keras

BLOCKS = (128, 256, 512)


def light_xception(side: int, weights: str | None = None, *, batch_norm_momentum: float = 0.99) -> keras.Model:
    """Build the light Xception without its head.

    Separable convolutions of 32 (stride 2) and 64 filters; three residual blocks of 128, 256 and 512 filters that each
    halve the size; a separable convolution of 1024. All convolutions 3x3 and same-padded, each followed by batch
    normalisation.

    Args:
        side: Side of the input, px.
        weights: Must be None: none are published.
        batch_norm_momentum: Momentum of the running averages; choose a lower one if an epoch has few steps.

    Raises:
        InputError: weights are given.
    """
    refuse_weights("the light Xception", weights)

    def separable(x: keras.KerasTensor, filters: int, strides: int = 1) -> keras.KerasTensor:
        x = keras.layers.SeparableConv2D(filters, 3, strides=strides, padding="same")(x)
        return keras.layers.BatchNormalization(momentum=batch_norm_momentum)(x)

    pixels = keras.layers.Input((side, side, 3))
    x = keras.layers.ReLU()(separable(pixels, 32, strides=2))
    x = keras.layers.ReLU()(separable(x, 64))
    for filters in BLOCKS:
        shortcut = keras.layers.Conv2D(filters, 1, strides=2, padding="same")(x)
        x = separable(keras.layers.ReLU()(x), filters)
        x = separable(keras.layers.ReLU()(x), filters)
        x = keras.layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = keras.layers.Add()([x, shortcut])
    x = keras.layers.ReLU()(separable(x, 1024))
    return keras.Model(pixels, x, name="lightxception")
