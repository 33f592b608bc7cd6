"""From feature maps to features: the average over the image or over the cell, or the flattened maps."""

from __future__ import annotations

from collections.abc import Callable

from leukobench.cnn.backend import keras

ops = keras.ops

POOL = "pool"  # name of the layer that pools
CELL_WEIGHT = "cell_weight"  # of `cell-average`: name of the layer of the weights of the places of the maps


def averaged_down(maps: keras.KerasTensor, side: int) -> keras.KerasTensor:
    """Average square maps down to a smaller side. [shape=(n, side, side, channels)]

    If the side does not divide theirs, the average is weighted by distance.
    """
    pool, rest = divmod(maps.shape[1], side)
    if rest:
        return ops.image.resize(maps, (side, side), antialias=True)
    return keras.layers.AveragePooling2D(pool)(maps) if pool > 1 else maps


def _average(images: keras.KerasTensor, maps: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.GlobalAveragePooling2D(name=POOL)(maps)


def _cell_average(images: keras.KerasTensor, maps: keras.KerasTensor) -> keras.KerasTensor:
    """Average the maps with each place weighted by the share of cell pixels (all that are not black) in it."""
    cell = averaged_down(ops.cast(ops.any(images > 0, axis=-1, keepdims=True), "float32"), maps.shape[1])
    covered = ops.maximum(ops.mean(cell, axis=(1, 2), keepdims=True), 1e-6)  # an augmentation may move the cell out
    weight = keras.layers.Identity(name=CELL_WEIGHT, dtype="float32")(cell / covered)
    weighed = keras.layers.Multiply(dtype="float32")([maps, weight])
    return keras.layers.GlobalAveragePooling2D(name=POOL, dtype="float32")(weighed)


def _flatten(images: keras.KerasTensor, maps: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.Flatten(name=POOL)(maps)


def pooling_of(model: keras.Model) -> str:
    """Return the name in `POOLINGS` of how a stored network pools."""
    if isinstance(model.get_layer(POOL), keras.layers.Flatten):
        return "flatten"
    return "cell-average" if CELL_WEIGHT in [layer.name for layer in model.layers] else "average"


# how a head starts: images of values 0 to 255 [shape=(n, side, side, 3)] and their maps [shape=(n, height, width,
# channels)] -> features [shape=(n, features)]
POOLINGS: dict[str, Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]] = {
    "average": _average,
    "cell-average": _cell_average,
    "flatten": _flatten,
}
