"""What a stored network may contain, checked before Keras builds it: Keras' own safe mode has been bypassed repeatedly.

Only the classes that our architectures and trainings consist of are built, so that no class is loaded that runs code,
opens a file or fetches one. Nothing is unpacked or allocated that the file does not hold.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py

from leukobench.cnn.backend import keras
from leukobench.core.archives import refuse_bomb


def _classes_in(module: ModuleType) -> set[str]:
    return {name for name, value in vars(module).items() if isinstance(value, type)}


CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MEMBERS = {CONFIG, WEIGHTS, "metadata.json"}
CLASSES = {
    "keras": {"DTypePolicy", "Functional", "Sequential"},
    "keras.initializers": {"GlorotUniform", "HeNormal", "Ones", "VarianceScaling", "Zeros"},
    "keras.layers": {
        "Activation",
        "Add",
        "AveragePooling2D",
        "BatchNormalization",
        "Concatenate",
        "Conv2D",
        "Cropping2D",
        "Dense",
        "DepthwiseConv2D",
        "Dropout",
        "Flatten",
        "GlobalAveragePooling2D",
        "Identity",
        "InputLayer",
        "MaxPooling2D",
        "Multiply",
        "Normalization",
        "ReLU",
        "Rescaling",
        "Reshape",
        "SeparableConv2D",
        "ZeroPadding2D",
    },
    "keras.regularizers": {"L2"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.ops.core": {"Cast"},
    "keras.src.ops.image": {"Resize"},
    "keras.src.ops.numpy": {"Any", "Flip", "Greater", "Maximum", "Mean", "TrueDivide"},
    None: {"__keras_tensor__"},
    # of training; a recipe may name any of them, and they do no more than compute
    "keras.losses": _classes_in(keras.losses),
    "keras.optimizers": _classes_in(keras.optimizers),
    "keras.optimizers.schedules": _classes_in(keras.optimizers.schedules),
}

_counting = threading.Lock()  # `add_weight` belongs to the process: threads replace it in turn


@contextlib.contextmanager
def only_known_content(path: Path) -> Iterator[None]:
    """Check a stored network, and let layers be built in the block as long as the file holds their parameters.

    Raises:
        ValueError: the file contains something that no network of leukobench does.
        OSError, KeyError, zipfile.BadZipFile: it is no stored network.
    """
    with zipfile.ZipFile(path) as archive:
        if unknown := sorted(set(archive.namelist()) - MEMBERS):
            raise ValueError(f"contains {unknown[0]}, which no network of leukobench does")
        refuse_bomb(archive, path)
        refuse_unknown_classes(json.loads(archive.read(CONFIG)))
        with archive.open(WEIGHTS) as member, h5py.File(member, "r") as weights:
            stored = _stored_values(weights)
    with _at_most(stored):
        yield


def refuse_unknown_classes(config: Any) -> None:
    """Raise ValueError if a configuration, or one inside it, is not of one of the classes above."""
    if isinstance(config, list):
        for part in config:
            refuse_unknown_classes(part)
    elif isinstance(config, dict):
        if "class_name" in config:
            module, name = config.get("module"), config["class_name"]
            registered = config.get("registered_name")
            if name not in CLASSES.get(module, ()) or registered not in (None, name):
                raise ValueError(f"contains the class {registered or name}, which no network of leukobench does")
        for part in config.values():
            refuse_unknown_classes(part)


def _stored_values(weights: h5py.Group) -> int:
    """Count the values of all arrays in a file of weights.

    Raises:
        ValueError: an array is in another file, or larger than what the file holds of it.
    """
    number = 0
    for name in weights:
        if not isinstance(weights.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"contains {name}, which links to another place")
        part = weights[name]
        if isinstance(part, h5py.Group):
            number += _stored_values(part)
        elif part.external or part.is_virtual or part.nbytes > part.id.get_storage_size():
            raise ValueError(f"does not hold all {part.size:,} values of {part.name}")
        else:
            number += part.size
    return number


@contextlib.contextmanager
def _at_most(parameters: int) -> Iterator[None]:
    """Let layers add so many parameters in the block, and no more."""
    add_weight = keras.layers.Layer.add_weight
    left = parameters

    def counted(layer: keras.layers.Layer, shape: Any = None, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= math.prod(shape or ())
        if left < 0:
            raise ValueError(f"has layers of more parameters than the {parameters:,} that it holds")
        return add_weight(layer, shape, *arguments, **options)

    with _counting:
        keras.layers.Layer.add_weight = counted
        try:
            yield
        finally:
            keras.layers.Layer.add_weight = add_weight
