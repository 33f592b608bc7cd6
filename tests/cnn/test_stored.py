"""Files of networks from somebody else: nothing that they name is run, opened or allocated."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from leukobench.classifiers.storage import load_model
from leukobench.cnn.backend import keras
from leukobench.cnn.network import load_network
from leukobench.cnn.stored import CONFIG, WEIGHTS
from leukobench.core.errors import InputError

Config = dict[str, Any]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored network with the two parts of ours."""
    maps = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)], name="network")
    pixels = keras.Input((8, 8, 3))
    outputs = keras.layers.Dense(1, name="head")(keras.layers.Flatten()(maps(pixels)))
    path = tmp_path_factory.mktemp("stored") / "model.keras"
    keras.Model(pixels, outputs).save(path)
    return path


def rewritten(
    stored: Path, folder: Path, change: Callable[[Config], object] = lambda config: None, more: Config | None = None
) -> Path:
    """The same file with a changed configuration, or with other members."""
    path = folder / "changed.keras"
    with zipfile.ZipFile(stored) as before, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as after:
        content: Config = {name: before.read(name) for name in before.namelist()}
        config = json.loads(content[CONFIG])
        change(config)
        for name, data in (content | {CONFIG: json.dumps(config)} | (more or {})).items():
            after.writestr(name, data)
    return path


def layers_of(config: Config) -> list[Config]:
    return config["config"]["layers"]


def another_layer(
    module: str, name: str, /, registered: str | None = None, **values: object
) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        layer = layers_of(config)[2]
        layer |= {"module": module, "class_name": name, "registered_name": registered}
        layer["config"] = {"name": layer["name"], **values}

    return change


def call(module: str, function: str) -> Config:
    return {"module": module, "class_name": "function", "config": function, "registered_name": "function"}


HOSTILE = {  # the published ways around Keras' safe mode, and near ones
    "lambda": another_layer(
        "keras.layers", "Lambda", function={"class_name": "__lambda__", "config": {"code": "4w=="}}
    ),
    "function": another_layer("keras.layers", "Activation", activation=call("os", "system")),
    "any module": another_layer("os", "system", command="touch RUN"),
    "torch": another_layer("keras.layers", "TorchModuleWrapper", module="gASVJAAAAA=="),
    "saved model": another_layer("keras.layers", "TFSMLayer", filepath="/tmp/saved"),
    "vocabulary": another_layer("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
    "registered": another_layer("keras.layers", "Flatten", registered="package>Class"),
    "utils": another_layer("keras.utils", "get_file", origin="http://127.0.0.1:9/"),
    "inner": another_layer("keras.layers", "Dense", units=1, kernel_initializer=call("subprocess", "run")),
}


def test_an_unchanged_network_is_loaded(stored: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)
    expected = keras.saving.load_model(stored).predict(pixels, verbose=0)
    for path in (stored, rewritten(stored, tmp_path)):
        assert np.array_equal(load_network(path).predict(pixels, verbose=0), expected)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_class_that_no_network_of_ours_has_is_refused_before_keras_reads_the_file(
    stored: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rewritten(stored, tmp_path, HOSTILE[kind])
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("Keras reads the file"))
    with pytest.raises(InputError, match=r"contains the class .*, which no network of leukobench does") as caught:
        load_network(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_layer_of_all_memory_is_refused_before_it_is_allocated(stored: Path, tmp_path: Path) -> None:
    def enlarge(config: Config) -> None:
        layers_of(config)[3]["config"]["units"] = 10**9

    with pytest.raises(InputError, match="has layers of more parameters than the 129 that it holds"):
        load_network(rewritten(stored, tmp_path, enlarge))


@pytest.mark.parametrize("load", [load_network, load_model])
def test_an_archive_that_unpacks_to_much_more_than_its_size_is_refused(
    stored: Path, tmp_path: Path, load: Callable[[Path], object]
) -> None:
    path = rewritten(stored, tmp_path, more={"metadata.json": bytes(10**8)})
    with pytest.raises(InputError, match=r"bytes unpack to 100,\d\d\d,\d\d\d; no model does"):
        load(path)


def weights_with(folder: Path, change: Callable[[h5py.File], object]) -> bytes:
    with h5py.File(folder / "weights.h5", "w") as file:
        change(file)
    return (folder / "weights.h5").read_bytes()


def shape_only(file: h5py.File) -> None:
    file.create_dataset("vars/0", (10**6, 10**6), np.float32, chunks=(1000, 1000))


def in_another_file(file: h5py.File) -> None:
    file.create_dataset("vars/0", (4,), np.float32, external=[("/etc/passwd", 0, 16)])


def linked(file: h5py.File) -> None:
    file["vars"] = h5py.ExternalLink("/etc/passwd", "/")


@pytest.mark.parametrize(
    ("change", "told"),
    [(shape_only, "does not hold all"), (in_another_file, "does not hold all"), (linked, "links to")],
)
def test_weights_that_the_file_does_not_hold_are_refused(
    stored: Path, tmp_path: Path, change: Callable[[h5py.File], None], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        load_network(rewritten(stored, tmp_path, more={WEIGHTS: weights_with(tmp_path, change)}))


def test_another_member_a_deep_configuration_and_damage_anywhere_are_refused_in_one_line(
    stored: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"contains \.\./planted, which no network"):
        load_network(rewritten(stored, tmp_path, more={"../planted": b"x"}))
    with pytest.raises(InputError, match="cannot be loaded as a network"):
        load_network(rewritten(stored, tmp_path, more={CONFIG: "[" * 100_000}))
    content = stored.read_bytes()
    rng = np.random.default_rng(11)
    damaged = tmp_path / "damaged.keras"
    loaded = 0
    for _ in range(60):
        changed = np.frombuffer(content, np.uint8).copy()
        changed[rng.integers(0, len(changed), 20)] = rng.integers(0, 256, 20)
        damaged.write_bytes(changed[: rng.integers(1, len(changed) + 1)].tobytes())
        try:
            load_network(damaged)
            loaded += 1
        except InputError as error:
            assert "\n" not in str(error)
    assert loaded < 60
