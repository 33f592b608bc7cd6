"""MobileNet 1.0 (Howard et al. 2017, arXiv 1704.04861), from Keras Applications."""

from __future__ import annotations

from cnn.architectures.pretrained import with_weights
from cnn.backend import keras


def mobilenet(side: int, weights: str | None = None) -> keras.Model:
    """Build MobileNet 1.0 without its top; pixels are scaled to -1 to 1, as its ImageNet weights expect.

    Args:
        side: Side of the input, px.
        weights: A file, "imagenet" (downloaded by Keras), or None for random ones.

    Raises:
        StudyError: the weights cannot be had.
    """
    network = with_weights(
        keras.applications.MobileNet, weights, input_shape=(side, side, 3), include_top=False, name="mobilenet"
    )
    images = keras.layers.Input((side, side, 3))
    return keras.Model(images, network(keras.layers.Rescaling(1 / 127.5, offset=-1)(images)), name="mobilenet_base")
