"""Scaling of the pixels before they enter a network: each base expects the values that its weights were trained on."""

from __future__ import annotations

from collections.abc import Callable

from leukobench.cnn.backend import keras

SCALING = "scaling"  # name of the layer, where there is one
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)  # of ImageNet, for the networks that were first trained with Caffe


def _rescaled(scale: float, offset: float | list[float]) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
    return keras.layers.Rescaling(scale, offset, dtype="float32", name=SCALING)


def _caffe(pixels: keras.KerasTensor) -> keras.KerasTensor:
    return _rescaled(1.0, [-mean for mean in _CAFFE_MEAN_BGR])(keras.ops.flip(pixels, axis=-1))


# each maps pixels of values 0 to 255, RGB [shape=(n, side, side, 3)]
SCALINGS: dict[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {
    "unit": lambda pixels: _rescaled(1 / 255, 0.0)(pixels),  # to 0 ... 1
    "symmetric": lambda pixels: _rescaled(1 / 127.5, -1.0)(pixels),  # to -1 ... 1
    "caffe": _caffe,  # to BGR, minus the ImageNet mean of each channel
    "none": lambda pixels: pixels,  # for a network with a scaling of its own
}
