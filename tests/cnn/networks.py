"""A network that is compiled in a second; a published one takes many."""

from __future__ import annotations

from leukobench.cnn.backend import keras


def two_convolutions(side: int, weights: str | None, batch_norm_momentum: float = 0.99) -> keras.Model:
    images = maps = keras.Input((side, side, 3))
    for number, channels in enumerate((8, 16)):
        maps = keras.layers.SeparableConv2D(channels, 3, strides=2, padding="same", use_bias=False)(maps)
        maps = keras.layers.BatchNormalization(momentum=batch_norm_momentum)(maps)
        maps = keras.layers.ReLU(name=f"relu_{number}")(maps)
    return keras.Model(images, maps)
