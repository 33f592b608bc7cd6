"""Values of a recipe, set by name: `batch=16`, `optimizer.learning_rate=1e-5`, `augmentation=null`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from leukobench.cnn.architectures import ARCHITECTURES
from leukobench.cnn.backend import keras
from leukobench.cnn.pooling import POOLINGS
from leukobench.cnn.recipes import CLASS_WEIGHTS, KEPT, SCHEDULES, TRAINED, VIEWS, Augmentation, Recipe
from leukobench.cnn.scaling import SCALINGS
from leukobench.core.errors import InputError

# not to be set: what describes the recipe, and `pretrained`, which follows from --weights
_FIXED = ("name", "source", "description", "split", "reported", "left_open", "pretrained")
_CHOICES = {
    "architecture": tuple(ARCHITECTURES),
    "scaling": tuple(SCALINGS),
    "trained": TRAINED,
    "schedule": SCHEDULES,
    "class_weights": CLASS_WEIGHTS,
    "keep": KEPT,
    "views": VIEWS,
}
_POSITIVE = ("input_side", "frame", "batch", "epochs", "augmented_passes", "patience", "enlarged")
_OPTIONAL = ("patience", "enlarged", "augmentation")


def with_settings(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """Return a recipe with values set.

    Args:
        recipe: The recipe.
        settings: Texts `NAME=VALUE`, or `NAME.PART=VALUE` for a part of optimizer, augmentation and options. Values are
            read as JSON where they can be, else as text; a head is written with commas: `average,dropout=0.5,sigmoid`.

    Raises:
        InputError: no such value, one of another type or out of its range, or a head that cannot be built.
    """
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise InputError(f"--set {setting}: expected NAME=VALUE, such as batch=16")
        recipe = _set(recipe, name, text)
    _refuse_contradictions(recipe)
    return recipe


def _set(recipe: Recipe, name: str, text: str) -> Recipe:
    field, _, part = name.partition(".")
    settable = [each.name for each in dataclasses.fields(Recipe) if each.name not in _FIXED]
    if field not in settable:
        raise InputError(f"--set {name}: a recipe has no such value to set; there is {', '.join(settable)}")
    value = _read(text)
    if field == "head":
        value = tuple(text.split(","))
    if part:
        value = _with_part(getattr(recipe, field), field, part, value)
    elif field == "augmentation" and isinstance(value, dict):
        value = _augmentation(value, name)
    _check(recipe, field, value, name)
    return dataclasses.replace(recipe, **{field: value})


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _with_part(whole: Any, field: str, part: str, value: Any) -> Any:
    if field == "augmentation":
        return _augmentation(dataclasses.asdict(whole or Augmentation()) | {part: value}, f"{field}.{part}")
    if not isinstance(whole, Mapping):
        raise InputError(f"--set {field}.{part}: {field} has no parts; optimizer, augmentation and options have")
    return dict(whole) | {part: value}


def _augmentation(values: Mapping[str, Any], name: str) -> Augmentation:
    known = {each.name: each.default for each in dataclasses.fields(Augmentation)}
    for key, value in values.items():
        if key not in known:
            raise InputError(f"--set {name}: an augmentation has no {key}; there is {', '.join(known)}")
        if isinstance(value, bool) != isinstance(known[key], bool) or not isinstance(value, int | float) or value < 0:
            expected = "true or false" if isinstance(known[key], bool) else "a number of at least 0"
            raise InputError(f"--set {name}={value}: expected {expected}")
    return Augmentation(**values)


def _check(recipe: Recipe, field: str, value: Any, name: str) -> None:
    """Raise InputError where a value is not what the field takes."""
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
        expected = 'null or an object, such as {"rotation": 180, "flip": true}'
    elif field == "loss" and not _is_loss(value):
        expected = "the name of a Keras loss, such as BinaryFocalCrossentropy"
    elif field == "optimizer" and not _is_optimizer(value):
        expected = "the name of a Keras optimiser and arguments that it takes, such as optimizer.name=Adam"
    elif field == "options" and not isinstance(value, Mapping):
        expected = "an object"
    elif field == "head" and not _is_head(value):
        expected = (
            f"{', '.join([*POOLINGS][:-1])} or {[*POOLINGS][-1]}, then batchnorm, dense=UNITS and dropout=RATE as you "
            "like, then sigmoid or softmax"
        )
    if expected:
        raise InputError(f"--set {name}: {value!r} does not fit the recipe {recipe.name}; expected {expected}")


def _refuse_contradictions(recipe: Recipe) -> None:
    """Raise InputError where values that are right each by itself do not go together."""
    reason = None
    if recipe.trained != "all" and not recipe.pretrained:
        reason = f"trained={recipe.trained} leaves a base as it is that starts from random weights"
    elif recipe.frozen and recipe.enlarged is not None:
        reason = "enlarged takes a base that is trained; with a frozen one use augmentation and augmented_passes"
    elif recipe.loss.startswith("Categorical") and recipe.head[-1] == "sigmoid":
        reason = f"the loss {recipe.loss} takes a head that ends in softmax"
    if reason:
        raise InputError(f"--set: the recipe {recipe.name} does not go together: {reason}")


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


def _is_head(layers: tuple[str, ...]) -> bool:
    if len(layers) < 2 or layers[0] not in POOLINGS or layers[-1] not in ("sigmoid", "softmax"):
        return False
    for layer in layers[1:-1]:
        kind, _, value = layer.partition("=")
        try:
            fits = (
                layer == "batchnorm"
                or (kind == "dense" and int(value) > 0)
                or (kind == "dropout" and 0 <= float(value) < 1)
            )
        except ValueError:
            return False
        if not fits:
            return False
    return True
