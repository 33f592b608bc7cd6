"""Numbers of parameters and layers of a network as built, beside those that the source of its recipe states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leukobench.cnn.backend import keras
from leukobench.cnn.network import Network, build
from leukobench.cnn.recipes import PublishedCounts, Recipe

_MILLION = 1_000_000


@dataclass(frozen=True)
class Count:
    """A number of parameters or layers.

    Attributes:
        built: The number in the network as built.
        published: The number that the source states, or None.
        comparison: Whether the two are equal, and how they were compared if the source rounds its numbers or counts a
            network of more outputs; "" where none is published.
    """

    built: int
    published: int | None = None
    comparison: str = ""


def count(recipe: Recipe) -> dict[str, Count]:
    """Build the network of a recipe with random weights, and count its parameters and layers.

    Nothing is downloaded. This takes a second, for NASNetLarge a few.

    Returns:
        `parameters`, of which `trainable`; `base`, the parameters without the head, of which `base_not_trainable`;
        `layers` of the base, its input among them, and one for the head.

    >>> from leukobench.cnn.recipe_catalog import network_recipe
    >>> count(network_recipe("clinton-lightxception"))["parameters"]
    Count(built=1248060, published=1248060, comparison='equal')
    """
    network = build(recipe, None)
    built = {
        "parameters": network.whole.count_params(),
        "trainable": _size(network.whole.trainable_variables),
        "base": network.maps.count_params(),
        "base_not_trainable": _size(network.maps.non_trainable_variables),
        "layers": len(network.maps.layers) + 1,
    }
    published = recipe.published or PublishedCounts()
    return {name: _compared(name, number, published, network) for name, number in built.items()}


def _compared(name: str, built: int, published: PublishedCounts, network: Network) -> Count:
    stated = getattr(published, name)
    if stated is None:
        return Count(built)
    counted, how = built, ""
    if name in ("parameters", "trainable") and published.outputs is not None:
        *_, last = network.head.layers
        counted += (published.outputs - last.units) * (last.kernel.shape[0] + 1)
        how = f", with {published.outputs} outputs ({counted:,})"
    if name != "layers" and published.in_millions:
        counted = round(counted / _MILLION) * _MILLION
        how = f" in millions, as published{how}"
    return Count(built, stated, ("equal" if counted == stated else "different") + how)


def _size(variables: list[keras.Variable]) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)
