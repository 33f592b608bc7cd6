from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from leukobench.cnn.backend import keras
from leukobench.cnn.network import build, load_network
from leukobench.cnn.normalization import fuse_batch_normalization
from leukobench.cnn.recipe_catalog import network_recipe
from leukobench.cnn.recipe_changes import change_recipe

on_cpu = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or not keras.distribution.list_devices()[0].startswith("cpu"),
    reason="batch normalisation is fused by TensorFlow on CPUs only",
)


def trained_a_little(fused: bool, scale: bool, center: bool, trainable: bool) -> list[np.ndarray]:
    """Return weights and outputs of a convolution, a batch normalisation and a dense layer after ten steps."""
    rng = np.random.default_rng(0)
    pixels = keras.Input((9, 7, 3))
    layer = keras.layers.BatchNormalization(scale=scale, center=center, momentum=0.8, trainable=trainable)
    maps = keras.Model(pixels, layer(keras.layers.Conv2D(4, 3)(pixels)))
    if fused:
        fuse_batch_normalization(maps)
    model = keras.Sequential([maps, keras.layers.Flatten(), keras.layers.Dense(1)])
    for weights in model.weights:
        drawn = rng.normal(0, 0.3, weights.shape)
        weights.assign(np.abs(drawn) + 0.5 if "variance" in weights.path else drawn)
    model.compile(keras.optimizers.SGD(1e-3), "mse")
    images, targets = rng.normal(0.5, 1, (24, 9, 7, 3)), rng.normal(0, 1, (24, 1))
    model.fit(images, targets, batch_size=12, epochs=5, shuffle=False, verbose=0)
    return [*model.get_weights(), model.predict(images, verbose=0)]


@on_cpu
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize(("scale", "center"), [(True, True), (False, True), (True, False)])
def test_one_pass_trains_and_predicts_what_keras_own_layer_does(scale: bool, center: bool, trainable: bool) -> None:
    own = trained_a_little(False, scale, center, trainable)
    fused = trained_a_little(True, scale, center, trainable)
    assert len(own) == len(fused)
    for expected, found in zip(own, fused, strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


@on_cpu
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_channels_leave_with_mean_zero_and_variance_one(policy: str) -> None:
    pixels = keras.Input((6, 6, 2))
    layer = keras.layers.BatchNormalization(epsilon=1e-6, dtype=policy)
    model = keras.Model(pixels, layer(pixels))
    fuse_batch_normalization(model)
    images = np.random.default_rng(0).normal([5, -2], [3, 0.5], (50, 6, 6, 2)).astype(np.float32)
    out = np.asarray(keras.ops.cast(model(images, training=True), "float32"))
    within = 1e-4 if policy == "float32" else 0.02
    assert out.mean(axis=(0, 1, 2)) == pytest.approx([0, 0], abs=within)
    assert out.var(axis=(0, 1, 2)) == pytest.approx([1, 1], abs=within)
    # the moving averages start at 0 and 1, and go a hundredth of the way
    assert np.asarray(layer.moving_mean) == pytest.approx(images.mean(axis=(0, 1, 2)) / 100, abs=within)
    expected = 0.99 + images.var(axis=(0, 1, 2), dtype=float) / 100
    assert np.asarray(layer.moving_variance) == pytest.approx(expected, abs=1e-5 if policy == "float32" else within)


@on_cpu
def test_a_stored_network_holds_keras_own_layers(tmp_path: Path) -> None:
    network = build(change_recipe(network_recipe("small-lightxception"), {"input_side": 32}), None)
    network.whole.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    plain = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    scores = plain.predict(images, verbose=0)
    assert network.whole.predict(images, verbose=0) == pytest.approx(scores, abs=1e-5)
    assert load_network(str(tmp_path / "model.keras")).predict(images, verbose=0) == pytest.approx(scores, abs=1e-5)
