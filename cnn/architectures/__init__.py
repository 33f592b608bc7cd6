"""Network architectures: functions that return the convolutional part of a network as a Keras model.

An entry of `ARCHITECTURES` takes the side of the square input (px) and the weights (a file, "imagenet", or None for
random ones) and maps pixels [shape=(n, side, side, 3)], already scaled, to feature maps
[shape=(n, height, width, channels)]. Scaling of the pixels, pooling and head come from the recipe.
"""

from collections.abc import Callable

from leukobench.cnn.architectures.alexnet import alexnet
from leukobench.cnn.architectures.applications import APPLICATIONS
from leukobench.cnn.architectures.lightxception import light_xception
from leukobench.cnn.architectures.mir import mir_proposed
from leukobench.cnn.backend import keras

ARCHITECTURES: dict[str, Callable[..., keras.Model]] = {
    "alexnet": alexnet,
    "lightxception": light_xception,
    "mir-proposed": mir_proposed,
    **APPLICATIONS,
}
