"""The whole of `train-cnn` under TensorFlow and under JAX: from the same weights both train the same network."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import affine_transform

from leukobench.results.run import RunFolder, read_run_folder
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed: pip install 'leukobench[jax]'"
)
BACKENDS = ("tensorflow", "jax")

# Random generators differ between the backends, so weights are drawn by NumPy. Dropout and augmentation cannot be drawn
# alike; of the augmentation, the layer is given the same draws, and its maps and pixels are written down.
SCRIPT = """
import dataclasses, sys
from pathlib import Path
import numpy as np
import leukobench.cnn.recipe_catalog, leukobench.cnn.training
from leukobench.cnn.architectures import ARCHITECTURES
from leukobench.cnn.augmentation import Augment
from leukobench.cnn.backend import keras
from leukobench.cnn.network import build
from leukobench.cnn.recipes import Augmentation, Recipe

def tiny(side, weights):
    pixels = x = keras.Input((side, side, 3))
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 5, strides=2)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.Model(pixels, x)

def build_alike(recipe, weights):
    network, rng = build(recipe, weights), np.random.default_rng(0)
    network.whole.set_weights([
        each if each.ndim == 1 else rng.normal(0, np.sqrt(2 / np.prod(each.shape[:-1])), each.shape)  # He et al. 2015
        for each in network.whole.get_weights()
    ])
    return network

change = Augmentation(rotation=40, shift=0.2, shear=12, zoom=0.2, flip=True, stain=0.1)
plain = Recipe(
    name="plain", source="tests", description="", architecture="tiny", input_side=32, frame=320,
    head=("average", "sigmoid"), optimizer={"name": "SGD", "learning_rate": 0.1}, batch_size=8, epochs=3,
    class_weights="balanced", keep="last",
)
frozen = dataclasses.replace(
    plain, name="frozen", head=("average", "dense=8", "softmax"), loss="CategoricalCrossentropy",
    pretrained=True, trained="head",
)
recipes = [plain, frozen] + [
    dataclasses.replace(recipe, name=name, augmentation=change, augmented_passes=2, head=head)
    for recipe, name, head in (
        (plain, "augmented", ("average", "dropout=0.2", "sigmoid")), (frozen, "frozen-augmented", frozen.head),
    )
]
ARCHITECTURES["tiny"] = tiny
leukobench.cnn.training.build = build_alike
cohort, out = Path(sys.argv[1]), Path(sys.argv[2])
for recipe in recipes:
    leukobench.cnn.recipe_catalog.RECIPES[recipe.name] = recipe
    leukobench.cnn.training.train_network(
        cohort / "images", cohort / "manifest.csv", cohort / "split.csv", out / recipe.name, recipe=recipe.name, seed=1
    )

rng = np.random.default_rng(1)
draws = iter(rng.uniform(-1, 1, (7, 6)))
augment = Augment(change, 0)
augment._draw = lambda count, largest: keras.ops.convert_to_tensor((next(draws) * largest).astype("float32"))
gain = rng.normal(0, 1, (6, 1, 1, 3)).astype("float32")
keras.random.normal = lambda shape, stddev, seed: keras.ops.convert_to_tensor(gain * stddev)
maps = augment._maps
def kept(*arguments):
    augment.maps = maps(*arguments)
    return augment.maps
augment._maps = kept
images = rng.integers(0, 256, (6, 33, 33, 3)).astype(np.uint8)
pixels = keras.ops.convert_to_numpy(augment(images, training=True))
gain = np.exp(gain * change.stain)
np.savez(out / "augment.npz", images=images, pixels=pixels, maps=keras.ops.convert_to_numpy(augment.maps), gain=gain)
"""


@pytest.fixture(scope="module")
def trained(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By backend, a folder with a run of each kind, and with what the augmentation made of some images."""
    folders = {backend: tmp_path_factory.mktemp(backend) for backend in BACKENDS}
    for backend, folder in folders.items():
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, cohort, folder],
            cwd=REPOSITORY,
            env=os.environ | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    return folders


def both(trained: dict[str, Path], kind: str) -> list[RunFolder]:
    return [read_run_folder(trained[backend] / kind) for backend in BACKENDS]


@pytest.mark.parametrize("kind", ["plain", "frozen"])
def test_without_augmentation_both_write_the_same_history_and_scores(trained: dict[str, Path], kind: str) -> None:
    by_tensorflow, by_jax = both(trained, kind)
    assert by_tensorflow.info.device == "tensorflow on cpu:0"
    assert by_jax.info.device == "jax on cpu:0"
    figures = [column for column in by_tensorflow.history if column != "seconds"]
    assert len(figures) == 6
    pd.testing.assert_frame_equal(by_jax.history[figures], by_tensorflow.history[figures], rtol=1e-4)
    score, other = (run.predictions["score"].to_numpy() for run in (by_tensorflow, by_jax))
    assert other == pytest.approx(score, abs=1e-5)
    assert score.std() > 0.002  # and it is no constant that they agree on
    assert by_tensorflow.history["loss"].diff().abs().iloc[1:].min() > 0.001  # nor has it learned nothing


@pytest.mark.parametrize("kind", ["augmented", "frozen-augmented"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_with_augmentation_it_learns_otherwise_than_without(trained: dict[str, Path], backend: str, kind: str) -> None:
    plain = read_run_folder(trained[backend] / ("frozen" if "frozen" in kind else "plain"))
    augmented = read_run_folder(trained[backend] / kind)
    assert np.isfinite(augmented.history["loss"]).all()
    assert np.abs(augmented.history["loss"] - plain.history["loss"]).max() > 1e-3
    assert augmented.predictions["score"].between(0, 1).all()
    assert augmented.predictions["path"].tolist() == plain.predictions["path"].tolist()


def test_the_same_draws_move_pixels_alike_and_as_scipy_does(trained: dict[str, Path]) -> None:
    one, other = (dict(np.load(trained[backend] / "augment.npz")) for backend in BACKENDS)
    assert other["maps"] == pytest.approx(one["maps"], abs=1e-4)
    assert other["pixels"] == pytest.approx(one["pixels"], abs=1e-2)
    for image, pixels, (a0, a1, a2, b0, b1, b2, *_), gain in zip(
        one["images"], one["pixels"], one["maps"].astype(float), one["gain"], strict=True
    ):
        matrix, offset = [[b1, b0], [a1, a0]], [b2, a2]  # Keras has x before y, SciPy rows before columns
        moved = [
            affine_transform(image[..., channel].astype(float), matrix, offset, order=1, mode="nearest")
            for channel in range(3)
        ]
        assert pixels == pytest.approx(np.clip(np.stack(moved, axis=2) * gain, 0, 255), abs=0.1)
        assert np.abs(pixels - image).mean() > 20


FOLDS = """
import sys
from pathlib import Path
import jax
from leukobench.cnn.device import keep_compiled

keep_compiled(Path(sys.argv[1]))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
misses = []
jax.monitoring.register_event_listener(lambda event, **_: misses.append(event) if "cache_misses" in event else None)

import numpy as np
from leukobench.cnn.backend import keras
from leukobench.cnn.checkpoint import Checkpoint
from leukobench.cnn.epochs import Examples, Inputs
from leukobench.cnn.fitting import Fitting, Validation
from leukobench.cnn.recipes import Augmentation, Recipe

recipe = Recipe(
    name="cosine", source="tests", description="", architecture="tiny", input_side=8, frame=320, schedule="cosine",
    head=("average", "sigmoid"), optimizer={"name": "Adam", "learning_rate": 0.1}, batch_size=8, epochs=2, keep="last",
    augmentation=Augmentation(flip=True),
)
inputs = Inputs.of_images(np.random.default_rng(0).integers(0, 256, (48, 8, 8, 3)).astype(np.uint8), 1)
validation = Validation(inputs.plain, np.arange(40, 48), np.arange(8) % 2 == 0)
for fold, count in enumerate((24, 40)):
    before = len(misses)
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, "sigmoid")]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    targets = (np.arange(count) % 2)[:, None].astype("float32")
    fitting = Fitting(model, recipe, 0, Checkpoint(Path(sys.argv[1]) / str(fold)))
    fitting.fit(Examples(inputs.training, np.arange(count), targets, None, None), validation)
    print(len(misses) - before)
"""


def test_jax_compiles_a_network_once_for_folds_of_different_sizes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FOLDS, tmp_path],
        cwd=REPOSITORY,
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, second = map(int, done.stdout.split())
    assert first > 1  # the step of training, and the prediction of the validation part
    assert second == 0
