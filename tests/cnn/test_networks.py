from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cnn.architectures import ARCHITECTURES
from cnn.architectures.lightxception import light_xception
from cnn.augmentation import Augment
from cnn.backend import keras
from cnn.data import Batches, square
from cnn.network import build, load_network, positive_score
from cnn.recipes import RECIPES, Augmentation, recipe_named
from study.cell import find_cell
from study.errors import StudyError


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_the_light_xception_has_the_published_number_of_parameters() -> None:
    network = build(recipe_named("clinton-lightxception"), None)
    assert network.whole.count_params() == 1_248_060
    assert network.whole.input_shape == (None, 450, 450, 3)
    assert network.whole.output_shape == (None, 1)


def test_mobilenet_has_the_published_number_of_parameters_and_only_the_head_is_trained() -> None:
    recipe = recipe_named("dhuri-mobilenet")
    network = build(recipe, None)
    assert network.base.count_params() == 3_228_864  # Keras' MobileNet 1.0 without top
    head = 1024 * 2048 + 2048 + 2048 * 2 + 2
    assert network.whole.count_params() == 3_228_864 + head
    assert trainable(network.whole) == head
    assert network.whole.output_shape == (None, 2)


def test_every_recipe_names_an_architecture_and_keeps_its_own_name() -> None:
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert recipe.architecture in ARCHITECTURES
        assert recipe.head[0] in ("average", "flatten")
        assert recipe.head[-1] in ("sigmoid", "softmax")
        assert recipe.as_json()["name"] == name
    with pytest.raises(StudyError, match="no network recipe 'resnet'; there is"):
        recipe_named("resnet")


def test_the_whole_is_the_head_on_the_base() -> None:
    recipe = dataclasses.replace(recipe_named("dhuri-mobilenet"), input_side=64)
    network = build(recipe, None)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    features = network.base.predict(images, verbose=0)
    assert features.shape == (3, 1024)
    direct, by_parts = network.whole.predict(images, verbose=0), network.head.predict(features, verbose=0)
    assert direct == pytest.approx(by_parts, abs=1e-6)
    assert positive_score(direct) == pytest.approx(direct[:, 1])


def test_pixels_are_scaled_as_each_network_expects() -> None:
    black, white = (np.full((1, 64, 64, 3), value, np.uint8) for value in (0, 255))
    for name, low, high in (("lightxception", 0.0, 1.0), ("mobilenet", -1.0, 1.0)):
        model = ARCHITECTURES[name](64, None)
        scale = next(layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling))
        assert np.allclose(scale(black), low)
        assert np.allclose(scale(white), high, atol=1e-6)


def test_weights_that_cannot_be_had_stop_the_training_with_a_remedy(tmp_path: Path) -> None:
    recipe = recipe_named("dhuri-mobilenet")
    with pytest.raises(StudyError, match=r"no such file of weights; .*--weights PATH"):
        build(recipe, str(tmp_path / "missing.h5"))
    (tmp_path / "broken.h5").write_bytes(b"no weights")
    with pytest.raises(StudyError, match="do not fit the network or cannot be read"):
        build(recipe, str(tmp_path / "broken.h5"))
    light_xception(64).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(StudyError, match="do not fit the network or cannot be read"):
        build(recipe, str(tmp_path / "other.weights.h5"))
    with pytest.raises(StudyError, match="no pretrained weights of the light Xception exist"):
        build(recipe_named("clinton-lightxception"), "imagenet")


def test_weights_given_by_path_are_the_ones_used(tmp_path: Path) -> None:
    keras.utils.set_random_seed(5)
    source = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(64, 64, 3))
    source.save_weights(tmp_path / "mobilenet.weights.h5")
    recipe = dataclasses.replace(recipe_named("dhuri-mobilenet"), input_side=64)
    network = build(recipe, str(tmp_path / "mobilenet.weights.h5"))
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.float32)
    expected = source.predict(image / 127.5 - 1, verbose=0).mean(axis=(1, 2))
    assert network.base.predict(image, verbose=0) == pytest.approx(expected, abs=1e-5)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_text("no model")
    with pytest.raises(StudyError, match="cannot be loaded as a network"):
        load_network(str(tmp_path / "model.keras"))


def test_augmentation_changes_nothing_outside_training_and_with_all_ranges_at_zero() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    strong = Augment(Augmentation(rotation=90, shift=0.2, shear=0.2, zoom=0.2, flip=True, stain=0.3), 0)
    assert np.array_equal(strong(images, training=False), images)
    assert not np.allclose(strong(images, training=True), images)
    assert np.allclose(Augment(Augmentation(), 0)(images, training=True), images, atol=1e-3)


def test_a_flip_mirrors_half_of_the_images_left_to_right() -> None:
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3)).astype(np.uint8)
    out = np.asarray(Augment(Augmentation(flip=True), 0)(images, training=True))
    mirrored = np.array([np.allclose(one, image[:, ::-1], atol=1e-2) for one, image in zip(out, images, strict=True)])
    kept = np.array([np.allclose(one, image, atol=1e-2) for one, image in zip(out, images, strict=True)])
    assert (mirrored ^ kept).all()
    assert 70 < mirrored.sum() < 130


def test_rotation_about_the_middle_leaves_a_centred_disk_where_it_is() -> None:
    y, x = np.mgrid[:65, :65] - 32
    disk = np.where((x**2 + y**2 <= 20**2)[None, ..., None], 200.0, 0.0).repeat(3, axis=3).repeat(8, axis=0)
    out = np.asarray(Augment(Augmentation(rotation=180), 3)(disk, training=True))
    assert np.abs(out - disk).mean() < 3  # the rim only
    assert (np.asarray(out)[:, 32, 32] == 200).all()


def test_shifts_stay_within_their_share_of_the_side() -> None:
    dot = np.zeros((100, 50, 50, 3), np.float32)
    dot[:, 24:26, 24:26] = 255
    out = np.asarray(Augment(Augmentation(shift=0.2), 0)(dot, training=True)).mean(axis=3)
    weight = out / out.sum(axis=(1, 2), keepdims=True)
    row = (weight.sum(axis=2) * np.arange(50)).sum(axis=1) - 24.5
    assert np.abs(row).max() <= 0.2 * 50 + 0.01
    assert np.abs(row).max() > 5


def test_a_square_holds_the_cell_where_it_lay() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[10:20, 30:50] = (1, 2, 3)
    whole = square(find_cell(image), 100, 100)
    assert np.array_equal(whole[20:80, 10:90], image)
    assert whole.sum() == image.sum()
    cut = square(find_cell(image), 30, 30)
    assert np.array_equal(cut, image[15:45, 25:55])
    assert square(find_cell(image), 60, 20).shape == (20, 20, 3)


def test_batches_hold_every_row_once_an_epoch_in_an_order_of_their_own() -> None:
    inputs, rows, targets = np.arange(20)[:, None] * 10, np.arange(3, 14), np.arange(3, 14)
    batches = Batches(inputs, rows, 4, targets, shuffle_seed=1)

    def epoch() -> tuple[np.ndarray, np.ndarray]:
        pixels, labels = zip(*(batches[index] for index in range(len(batches))), strict=True)
        return np.concatenate(pixels)[:, 0], np.concatenate(labels)

    first = epoch()
    batches.on_epoch_end()
    second = epoch()
    for pixels, labels in (first, second):
        assert np.array_equal(pixels, labels * 10)
        assert sorted(labels) == rows.tolist()
    assert first[1].tolist() != second[1].tolist()
    resumed = Batches(inputs, rows, 4, targets, shuffle_seed=1)
    assert np.array_equal(np.concatenate([resumed[index][1] for index in range(3)]), first[1])
