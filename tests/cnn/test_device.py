from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import leukobench.cnn.device
from leukobench.cnn.backend import keras
from leukobench.cnn.device import building_in, choose_devices, memory_for, mixed_policy, mixed_policy_of_cpu, policy_for
from leukobench.cnn.network import build
from leukobench.cnn.recipe_catalog import network_recipe
from leukobench.cnn.recipe_changes import change_recipe
from leukobench.core.errors import InputError
from tests.conftest import REPOSITORY

has_gpu = keras.distribution.list_devices()[0].startswith("gpu")
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed: pip install 'leukobench[jax]'"
)

# one tiny network, built by TensorFlow's or JAX's random generator, then given the same weights, and trained
TRAIN_TINY = """
import dataclasses, json, sys
from pathlib import Path
import numpy as np
from leukobench.cnn.architectures import ARCHITECTURES
from leukobench.cnn.backend import keras
from leukobench.cnn.checkpoint import Checkpoint
from leukobench.cnn.device import choose_devices, computing_on, name_devices
from leukobench.cnn.epochs import Examples
from leukobench.cnn.fitting import Fitting, Validation, outputs_of
from leukobench.cnn.network import build, positive_score, targets_for
from leukobench.cnn.recipe_catalog import network_recipe
from leukobench.cnn.recipe_changes import change_recipe

def tiny(side, weights):
    pixels = x = keras.Input((side, side, 3))
    for filters in (8, 16):
        x = keras.layers.SeparableConv2D(filters, 3, strides=2, padding="same")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.Model(pixels, x)

ARCHITECTURES["tiny"] = tiny
small = dataclasses.replace(network_recipe("small-lightxception"), architecture="tiny", options={})
recipe = change_recipe(small, {
    "input_side": 32, "epochs": 3, "batch_size": 8, "augmentation": None, "head": ["average", "sigmoid"],
    "optimizer": {"name": "SGD", "learning_rate": 0.05},
})
rng = np.random.default_rng(0)
positive = rng.random(36) < 0.5
images = (rng.integers(0, 200, (36, 32, 32, 3)) + 40 * positive[:, None, None, None]).astype(np.uint8)
devices = choose_devices("auto")
with computing_on(devices, recipe.batch_size):
    network = build(recipe, None)
    network.whole.set_weights([
        weight if weight.ndim == 1 else rng.normal(0, 0.3, weight.shape) for weight in network.whole.get_weights()
    ])
    examples = Examples([images], np.arange(28), targets_for(recipe, positive[:28]))
    validation = Validation(images, np.arange(28, 36), positive[28:])
    history = Fitting(network.whole, recipe, 0, Checkpoint(Path(sys.argv[1]))).fit(examples, validation)
    score = positive_score(outputs_of(network.whole, images, np.arange(36), recipe.batch_size))
print(json.dumps({"device": name_devices(devices), "loss": [row["loss"] for row in history], "score": score.tolist()}))
"""


def train_tiny(folder: Path, backend: str, **environment: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_TINY, folder],
        cwd=REPOSITORY,
        env=os.environ | {"KERAS_BACKEND": backend} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@needs_jax
def test_tensorflow_jax_and_two_devices_train_the_same_network(tmp_path: Path) -> None:
    by_tensorflow = train_tiny(tmp_path / "tensorflow", "tensorflow")
    by_jax = train_tiny(tmp_path / "jax", "jax", JAX_PLATFORMS="cpu")
    two = "--xla_force_host_platform_device_count=2"
    by_two = train_tiny(tmp_path / "two", "jax", JAX_PLATFORMS="cpu", XLA_FLAGS=two)
    assert by_jax["device"] == "jax on cpu:0"
    assert by_two["device"] == "jax on cpu:0, cpu:1"
    for other in (by_jax, by_two):
        assert other["loss"] == pytest.approx(by_tensorflow["loss"], rel=1e-3)
        assert other["score"] == pytest.approx(by_tensorflow["score"], abs=2e-3)
    assert len(set(np.round(by_jax["score"], 4))) > 10  # and it is no constant that they agree on


@needs_jax
def test_a_batch_that_devices_cannot_share_is_refused_with_one_that_they_can() -> None:
    code = (
        "from leukobench.cnn.device import choose_devices, computing_on\n"
        "from leukobench.core.errors import InputError\n"
        "try:\n"
        "    with computing_on(choose_devices('auto'), 10): pass\n"
        "except InputError as error: print(error)"
    )
    three = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=os.environ | three, capture_output=True, text=True
    )
    assert done.stdout.strip() == "a batch size of 10 cannot be divided among 3 devices; try a batch size of 12"


@pytest.mark.skipif(has_gpu, reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(InputError, match="finds no GPU; install"):
        choose_devices("gpu")
    assert choose_devices("auto") == ["cpu:0"]
    assert policy_for("auto", ["cpu:0"]) == policy_for("float32", ["cpu:0"]) == "float32"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow multiplies such numbers on CPUs")
def test_mixed_precision_on_a_cpu_takes_instructions_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mixed_policy_of_cpu(["avx512f", "avx512_bf16"]) == mixed_policy_of_cpu(["amx_bf16"]) == "mixed_bfloat16"
    assert mixed_policy_of_cpu(["avx2", "avx512f"]) == mixed_policy_of_cpu([]) == "float32"
    monkeypatch.setattr(leukobench.cnn.device, "_cpu_flags", lambda: ["avx2"])
    with pytest.raises(InputError, match="precision mixed: cpu:0 does not compute faster with it"):
        policy_for("mixed", ["cpu:0"])
    monkeypatch.setattr(leukobench.cnn.device, "_cpu_flags", lambda: ["avx2", "avx512_bf16"])
    assert policy_for("mixed", ["cpu:0"]) == "mixed_bfloat16"


def test_precision_follows_the_compute_capability_of_the_gpu() -> None:
    # CUDA C++ Programming Guide: tensor cores for float16 from Volta (7.0), for bfloat16 from Ampere (8.0) on
    assert mixed_policy((6, 1)) == mixed_policy(None) == "float32"
    assert mixed_policy((7, 0)) == mixed_policy((7, 5)) == "mixed_float16"
    assert mixed_policy((8, 0)) == mixed_policy((9, 0)) == "mixed_bfloat16"


def test_networks_of_mixed_precision_compute_in_16_bits_and_put_out_32() -> None:
    with building_in("mixed_bfloat16"):
        network = build(change_recipe(network_recipe("small-lightxception"), {"input_side": 32}), None)
    assert keras.config.dtype_policy().name == "float32"
    assert network.maps.layers[1].compute_dtype == "bfloat16"
    assert {weight.dtype for weight in network.whole.weights} == {"float32"}
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    assert network.whole.predict(image, verbose=0).dtype == np.float32


def test_out_of_memory_says_which_batch_to_try() -> None:
    with (
        pytest.raises(InputError, match="out of memory with a batch size of 32; try a batch size of 16"),
        memory_for(32),
    ):
        keras.ops.zeros((10**7, 10**7))  # 400 TB: the backend's own error
    with pytest.raises(InputError, match="try a batch size of 4"), memory_for(8):
        np.ones((10**7, 10**7))
    with pytest.raises(InputError, match="choose a smaller input_side"), memory_for(1):
        np.ones((10**7, 10**7))
    with pytest.raises(ZeroDivisionError), memory_for(8):
        1 / 0  # noqa: B018
