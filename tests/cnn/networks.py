"""A network that is compiled in a second; a published one takes many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import setitem

from leukobench.cnn.architectures import ARCHITECTURES
from leukobench.cnn.backend import keras
from leukobench.cnn.recipe_catalog import RECIPES
from tests.conftest import QUICK_RECIPE


def quick_recipe(change: Callable[..., None] = setitem) -> None:
    """Let `QUICK_RECIPE` have a network of two convolutions.

    Args:
        change: How a value of a dictionary is changed: for good, or by pytest for the time of a test.
    """
    change(ARCHITECTURES, "tiny", two_convolutions)
    recipe = replace(RECIPES[QUICK_RECIPE], architecture="tiny", options={}, input_side=32)
    change(RECIPES, QUICK_RECIPE, recipe)


def two_convolutions(side: int, weights: str | None, batch_norm_momentum: float = 0.99) -> keras.Model:
    images = maps = keras.Input((side, side, 3))
    for number, channels in enumerate((8, 16)):
        maps = keras.layers.SeparableConv2D(channels, 3, strides=2, padding="same", use_bias=False)(maps)
        maps = keras.layers.BatchNormalization(momentum=batch_norm_momentum)(maps)
        maps = keras.layers.ReLU(name=f"relu_{number}")(maps)
    return keras.Model(images, maps)
