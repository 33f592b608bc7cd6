"""The 17-layer network of Mir & Un Nissa 2019: 7,535,040 parameters before its head, 5,568 of them not trainable."""

from __future__ import annotations

from leukobench.cnn.architectures.pretrained import refuse_weights
from leukobench.cnn.backend import keras

BLOCKS = ((32, 3), (64, 2), (128, 2), (256, 2), (384, 2), (512, 2))  # filters, convolutions


def mir_proposed(side: int, weights: str | None = None) -> keras.Model:
    """Build the 13 convolutions of `BLOCKS`; an input of 300 px gives maps of 5 x 5 x 512.

    Each is 3x3 and same-padded, with ReLU and then batch normalisation; each block ends in a 2x2 max pool with the same
    padding. Three convolutions in the first block and two in each of the others is the only arrangement that gives the
    totals in the report.

    Args:
        side: Side of the input, px; 300 in the report.
        weights: Must be None: none are published.

    Raises:
        InputError: weights are given.
    """
    refuse_weights("Mir & Un Nissa's network", weights)
    pixels = x = keras.layers.Input((side, side, 3))
    for filters, convolutions in BLOCKS:
        for _ in range(convolutions):
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
            x = keras.layers.BatchNormalization()(x)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
    return keras.Model(pixels, x, name="mir_proposed")
