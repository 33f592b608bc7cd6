"""Changes of a recipe by name: `{"batch_size": 16, "optimizer.learning_rate": 1e-5, "augmentation": None}`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from leukobench.cnn.architectures import ARCHITECTURES
from leukobench.cnn.backend import keras
from leukobench.cnn.pooling import POOLINGS
from leukobench.cnn.recipes import AVERAGES, CLASS_WEIGHTS, KEPT, SCHEDULES, TRAINED, VIEWS, Augmentation, Recipe
from leukobench.cnn.scaling import SCALINGS
from leukobench.core.errors import InputError
from leukobench.core.text import nearest

# cannot be changed: what describes the recipe, and `pretrained`, which follows from the initial weights
_FIXED = ("name", "source", "description", "split", "reported", "left_open", "published", "pretrained")
_CHANGEABLE = tuple(each.name for each in dataclasses.fields(Recipe) if each.name not in _FIXED)
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "architecture": tuple(ARCHITECTURES),
    "scaling": tuple(SCALINGS),
    "trained": TRAINED,
    "schedule": SCHEDULES,
    "class_weights": tuple(CLASS_WEIGHTS),
    "keep": KEPT,
    "views": VIEWS,
    "batchnorm_averages": AVERAGES,
}
_POSITIVE = ("input_side", "frame", "batch_size", "epochs", "augmented_passes", "patience", "offline_augmentation")
_OPTIONAL = ("patience", "offline_augmentation", "augmentation")


def change_recipe(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe with changed values.

    Args:
        recipe: The recipe.
        changes: New values by name. `optimizer.NAME`, `augmentation.NAME` and `options.NAME` change one entry; a whole
            augmentation is a mapping or None; a head is a list of layers. Later changes build on earlier ones.

    Raises:
        InputError: an unknown name, a value of the wrong type or out of its range, a head that cannot be built, or
            values that contradict each other.

    >>> from leukobench.cnn.recipe_catalog import network_recipe
    >>> changed = change_recipe(network_recipe("leukobench"), {"epochs": 40, "optimizer.learning_rate": 0.003})
    >>> changed.epochs, changed.optimizer
    (40, {'name': 'Adam', 'learning_rate': 0.003})
    """
    for name, value in changes.items():
        recipe = _change(recipe, name, value)
    _refuse_contradictions(recipe)
    return recipe


def as_texts(changes: Mapping[str, Any]) -> list[str]:
    """Write changes as `NAME=VALUE`: the layers of a head with commas, other values as JSON, plain text as it is.

    >>> as_texts({"head": ["average", "sigmoid"], "keep": "last", "patience": None})
    ['head=average,sigmoid', 'keep=last', 'patience=null']
    """
    return [f"{name}={_as_text(name, value)}" for name, value in changes.items()]


def _as_text(name: str, value: Any) -> str:
    if name == "head":
        return ",".join(value)
    if isinstance(value, str):
        return value if isinstance(_read_json(value), str) else json.dumps(value)
    if isinstance(value, Augmentation):
        value = dataclasses.asdict(value)
    return json.dumps(dict(value) if isinstance(value, Mapping) else value)


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _change(recipe: Recipe, name: str, value: Any) -> Recipe:
    field, _, entry = name.partition(".")
    if field not in _CHANGEABLE:
        raise InputError(
            f"{name}: a recipe has no such value to change{nearest(name, _names(recipe))}; choose from "
            f"{', '.join(_CHANGEABLE)}"
        )
    if entry:
        value = _with_entry(getattr(recipe, field), field, entry, value)
    elif field == "augmentation" and isinstance(value, Mapping):
        value = _augmentation(value, name)
    elif field == "head" and isinstance(value, list | tuple):
        value = tuple(value)
    _check(recipe, field, value, name)
    return dataclasses.replace(recipe, **{field: value})


def _names(recipe: Recipe) -> list[str]:
    """Return the names of all values that can be changed, entries of mappings included."""
    entries = {"optimizer": recipe.optimizer, "options": recipe.options}
    names = [f"{field}.{entry}" for field, values in entries.items() for entry in values]
    return [*_CHANGEABLE, *names, *(f"augmentation.{each.name}" for each in dataclasses.fields(Augmentation))]


def _with_entry(whole: Any, field: str, entry: str, value: Any) -> Any:
    if field == "augmentation":
        return _augmentation(dataclasses.asdict(whole or Augmentation()) | {entry: value}, f"{field}.{entry}")
    if not isinstance(whole, Mapping):
        raise InputError(f"{field}.{entry}: {field} has no entries; optimizer, augmentation and options have")
    return dict(whole) | {entry: value}


def _augmentation(values: Mapping[str, Any], name: str) -> Augmentation:
    known = {each.name: each.default for each in dataclasses.fields(Augmentation)}
    for key, value in values.items():
        if key not in known:
            raise InputError(f"{name}: an augmentation has no {key}; choose from {', '.join(known)}")
        if isinstance(value, bool) != isinstance(known[key], bool) or not isinstance(value, int | float) or value < 0:
            expected = "true or false" if isinstance(known[key], bool) else "a number of at least 0"
            raise InputError(f"{name}: {key} is {value!r}; expected {expected}")
    return Augmentation(**values)


def _check(recipe: Recipe, field: str, value: Any, name: str) -> None:
    """Raise InputError where a field does not accept a value."""
    expected = None
    if field in _OPTIONAL and value is None:
        return
    if field in _CHOICES and value not in _CHOICES[field]:
        expected = f"one of {', '.join(map(str, _CHOICES[field]))}"
    elif field in _POSITIVE and not (type(value) is int and value > 0):
        expected = "a whole number above 0"
    elif field == "l2" and not (type(value) in (int, float) and value >= 0):
        expected = "a number of at least 0"
    elif field == "augmentation" and not isinstance(value, Augmentation):
        expected = 'nothing (null), or values by name such as {"rotation": 180, "flip": true}'
    elif field == "loss" and not _is_loss(value):
        expected = "the name of a Keras loss, such as BinaryFocalCrossentropy"
    elif field == "optimizer" and not _is_optimizer(value):
        expected = 'the name of a Keras optimiser and its arguments, such as {"name": "Adam", "learning_rate": 0.001}'
    elif field == "options" and not isinstance(value, Mapping):
        expected = "arguments of the architecture by name"
    elif field == "head" and not _is_head(value):
        expected = (
            f"a list of layers: {', '.join([*POOLINGS][:-1])} or {[*POOLINGS][-1]}; then any of batchnorm, "
            "dense=UNITS and dropout=RATE; then sigmoid or softmax"
        )
    if expected:
        raise InputError(f"{name}: {value!r} does not fit the recipe {recipe.name}; expected {expected}")


def _refuse_contradictions(recipe: Recipe) -> None:
    """Raise InputError where values that are valid by themselves contradict each other."""
    reason = None
    if recipe.trained != "all" and not recipe.pretrained:
        reason = f"trained={recipe.trained} freezes a base that starts from random weights"
    elif recipe.frozen and recipe.offline_augmentation is not None:
        reason = "offline_augmentation needs a base that is trained; for a frozen one change augmentation"
    elif recipe.loss.startswith("Categorical") and recipe.head[-1] == "sigmoid":
        reason = f"the loss {recipe.loss} needs a head that ends in softmax"
    if reason:
        raise InputError(f"the recipe {recipe.name} contradicts itself: {reason}")


def _is_loss(value: Any) -> bool:
    found = getattr(keras.losses, str(value), None)
    return isinstance(found, type) and issubclass(found, keras.losses.Loss)


def _is_optimizer(value: Any) -> bool:
    if not isinstance(value, Mapping) or "name" not in value:
        return False
    arguments = dict(value)
    found = getattr(keras.optimizers, str(arguments.pop("name")), None)
    try:
        return isinstance(found(**arguments), keras.optimizers.Optimizer) if isinstance(found, type) else False
    except (TypeError, ValueError):
        return False


def _is_head(layers: Any) -> bool:
    if not isinstance(layers, tuple) or not all(isinstance(layer, str) for layer in layers):
        return False
    if len(layers) < 2 or layers[0] not in POOLINGS or layers[-1] not in ("sigmoid", "softmax"):
        return False
    return all(_is_hidden_layer(layer) for layer in layers[1:-1])


def _is_hidden_layer(layer: str) -> bool:
    kind, _, value = layer.partition("=")
    try:
        return (
            layer == "batchnorm"
            or (kind == "dense" and int(value) > 0)
            or (kind == "dropout" and 0 <= float(value) < 1)
        )
    except ValueError:
        return False
