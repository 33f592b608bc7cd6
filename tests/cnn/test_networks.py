from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click
import numpy as np
import pytest

from leukobench.cells.cell import find_cell
from leukobench.cnn.architectures import ARCHITECTURES
from leukobench.cnn.architectures.applications import TABLE
from leukobench.cnn.architectures.lightxception import light_xception
from leukobench.cnn.augmentation import Augment
from leukobench.cnn.backend import keras
from leukobench.cnn.checkpoint import Checkpoint
from leukobench.cnn.counts import count as count_as_built
from leukobench.cnn.data import square
from leukobench.cnn.epochs import Examples, draw_offline_augmentation, orient
from leukobench.cnn.fitting import Fitting
from leukobench.cnn.network import build, compile_for, load_network, positive_score
from leukobench.cnn.normalization import begin_averages
from leukobench.cnn.pooling import POOLINGS, averaged_down
from leukobench.cnn.recipe_catalog import RECIPES, network_recipe
from leukobench.cnn.recipe_changes import as_texts, change_recipe
from leukobench.cnn.recipes import Augmentation, PublishedCounts
from leukobench.cnn.scaling import SCALINGS
from leukobench.cnn.stored import refuse_unknown_classes
from leukobench.commands.networks import Change
from leukobench.core.errors import InputError


def count(weights: list[keras.Variable]) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


# recipe: parameters, trainable ones (None where the source gives none), side, feature maps, outputs
PUBLISHED = {
    "clinton-lightxception": (1_248_060, None, 450, (29, 29, 1024), 1),
    "mir-proposed": (64_066_938, 64_066_938 - 5_568, 300, (5, 5, 512), 2),
    "garg-vgg19": (26_447_682, 6_423_298, 224, (7, 7, 512), 2),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_networks_have_the_published_numbers_of_parameters_and_shapes(name: str) -> None:
    parameters, trainable, side, maps, outputs = PUBLISHED[name]
    network = build(network_recipe(name), None)
    refuse_unknown_classes(json.loads(network.whole.to_json()))  # it can be stored and loaded again
    assert network.whole.count_params() == parameters
    assert trainable is None or count(network.whole.trainable_weights) == trainable
    assert network.whole.input_shape == (None, side, side, 3)
    assert network.maps.output_shape[1:] == maps
    assert network.whole.output_shape == (None, outputs)


def test_counts_stand_beside_the_published_ones_and_say_how_they_compare() -> None:
    published = {name: recipe.published for name, recipe in RECIPES.items() if recipe.published}
    assert len(published) == 7
    for name in ("clinton-alexnet", "clinton-lightxception", "mir-proposed", "garg-vgg19"):
        counts = count_as_built(network_recipe(name))
        for of, number in counts.items():
            assert number.published == getattr(published[name], of)
            assert number.comparison.startswith("equal") == (number.published is not None)
    alexnet = count_as_built(network_recipe("clinton-alexnet"))["parameters"]
    assert alexnet.comparison == "equal in millions, as published, with 1000 outputs (62,378,344)"
    assert alexnet.built == 62_378_344 - 4097 * 999
    small = dataclasses.replace(
        network_recipe("small-lightxception"), published=PublishedCounts(parameters=1_248_061, layers=3)
    )
    wrong = count_as_built(small)
    assert (wrong["parameters"].built, wrong["parameters"].comparison) == (1_248_060, "different")
    assert wrong["layers"].comparison == "different"
    assert wrong["trainable"].built == wrong["base"].built - wrong["base_not_trainable"].built + 1025


def test_the_convolutions_of_mir_and_un_nissa_have_their_totals_and_sizes() -> None:
    maps = ARCHITECTURES["mir-proposed"](300)
    assert maps.count_params() == 7_535_040
    assert count(maps.non_trainable_weights) == 5_568
    pools = [layer.output.shape[1] for layer in maps.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert pools == [150, 75, 38, 19, 10, 5]
    dense = [layer for layer in build(network_recipe("mir-proposed"), None).head.layers if layer.weights]
    convolutions = [layer for layer in maps.layers if isinstance(layer, keras.layers.Conv2D)]
    assert (len(convolutions), len(dense)) == (13, 3)  # and the flattening makes 17
    assert dense[0].kernel.shape == (12_800, 4096)


@pytest.mark.parametrize(
    ("name", "layers", "millions"),
    [("clinton-inceptionv3", 312, 22), ("clinton-xception", 133, 21), ("clinton-nasnetlarge", 1040, 86)],
)
def test_the_transfer_models_have_the_published_layers_and_trainable_millions(name, layers, millions) -> None:
    network = build(network_recipe(name), None)
    assert len(network.maps.layers) + 1 == layers
    assert round(count(network.whole.trainable_weights) / 1e6) == millions


def test_a_network_can_end_in_the_middle() -> None:
    whole, half = ARCHITECTURES["mobilenet"](224), ARCHITECTURES["mobilenet"](224, until="conv_pw_8_relu")
    assert half.output_shape == (None, 14, 14, 512)
    # 32 convolutions, then pairs of depthwise and pointwise ones; four numbers more for each normalised map
    pairs = [(32, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512)]
    assert half.count_params() == (27 + 4) * 32 + sum((9 + 4) * of + (of + 4) * to for of, to in pairs)
    names = [[layer.name for layer in network.layers[1:]] for network in (whole, half)]
    assert names[1] == names[0][: len(names[1])]
    with pytest.raises(InputError, match=r"mobilenet has no such layer; its last layers are .*conv_pw_13_relu"):
        ARCHITECTURES["mobilenet"](224, until="conv_pw_14_relu")


@pytest.mark.parametrize(("name", "side"), [("mobilenet", 224), ("mobilenet", 225), ("inceptionv3", 299)])
def test_a_network_can_end_in_several_layers_whose_averages_are_those_of_their_maps(name: str, side: int) -> None:
    ends = {"mobilenet": ["conv_pw_3_relu", "conv_pw_8_relu"], "inceptionv3": ["mixed2", "mixed10"]}[name]
    keras.utils.set_random_seed(0)
    network = ARCHITECTURES[name](side, until=ends)
    image = np.random.default_rng(0).normal(size=(1, side, side, 3)).astype(np.float32)
    maps = keras.Model(network.input, [network.get_layer(end).output for end in ends])(image)
    larger, smaller = (keras.ops.convert_to_numpy(of) for of in maps)
    joined = keras.ops.convert_to_numpy(network(image))
    assert joined.shape[1:3] == smaller.shape[1:3]
    first, second = np.split(joined, [larger.shape[3]], axis=3)
    assert np.array_equal(second, smaller)
    pool, rest = divmod(larger.shape[1], smaller.shape[1])
    if not rest:
        assert first[:, 0, 0] == pytest.approx(larger[:, :pool, :pool].mean(axis=(1, 2)), rel=1e-4, abs=1e-7)
    means = [of.mean(axis=(1, 2)).ravel() for of in (first, larger)]
    assert means[0] == pytest.approx(means[1], rel=1e-4, abs=1e-7) if not rest else np.corrcoef(means)[0, 1] > 0.99


@pytest.mark.parametrize(("of", "to"), [(8, 4), (36, 8), (64, 15), (57, 15), (300, 9), (331, 11), (7, 7)])
def test_maps_of_any_side_are_averaged_down_to_any_smaller_one(of: int, to: int) -> None:
    maps = keras.Input((of, of, 2))
    model = keras.Model(maps, averaged_down(maps, to))
    ramp = np.broadcast_to((np.arange(of) + 0.5) / of, (of, of))
    found = model.predict(np.stack([np.full((of, of), 3.0), ramp], axis=-1)[None], verbose=0)[0]
    assert found.shape == (to, to, 2)
    assert found[..., 0] == pytest.approx(np.full((to, to), 3.0), abs=1e-4)
    expected = np.broadcast_to((np.arange(to) + 0.5) / to, (to, to))
    inside = slice(1, -1)  # at the edge there are no places beyond
    assert found[:, inside, 1] == pytest.approx(expected[:, inside], abs=1e-3)


def test_alexnet_has_62_million_parameters_at_1000_classes() -> None:
    maps = ARCHITECTURES["alexnet"](227)
    assert maps.output_shape == (None, 6, 6, 256)
    dense = (9216 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    assert maps.count_params() + dense == 62_378_344


# parameters without top, as Keras' documentation of each network has them
APPLICATION_PARAMETERS = {
    "vgg16": 14_714_688,
    "vgg19": 20_024_384,
    "resnet50": 23_587_712,
    "inceptionv3": 21_802_784,
    "xception": 20_861_480,
    "mobilenet": 3_228_864,
    "efficientnetb1": 6_575_239,
}


@pytest.mark.parametrize("name", APPLICATION_PARAMETERS)
def test_bases_have_the_parameters_of_keras_applications(name: str) -> None:
    assert ARCHITECTURES[name](96).count_params() == APPLICATION_PARAMETERS[name]


def test_a_frozen_base_is_not_trained_and_of_resnet50_the_batch_normalisation_is() -> None:
    mobilenet = build(network_recipe("dhuri-mobilenet"), None)
    assert count(mobilenet.whole.trainable_weights) == 1024 * 2048 + 2048 + 2048 * 2 + 2
    resnet = build(network_recipe("dhuri-resnet50"), None)
    normalised = [layer for layer in resnet.maps.layers if isinstance(layer, keras.layers.BatchNormalization)]
    channels = sum(layer.gamma.shape[0] for layer in normalised)
    assert len(normalised) == 53
    assert count(resnet.whole.trainable_weights) == 2 * channels + 2048 * 2 + 2


def test_of_leukobench_gpu_all_but_the_batch_normalisation_of_the_base_is_trained() -> None:
    network = build(network_recipe("leukobench-gpu"), None)
    normalised = [layer for layer in network.maps.layers if isinstance(layer, keras.layers.BatchNormalization)]
    channels = sum(layer.gamma.shape[0] for layer in normalised)
    assert count(network.maps.non_trainable_weights) == 4 * channels  # scale, offset, mean and variance
    assert count(network.maps.trainable_weights) == network.maps.count_params() - 4 * channels
    rng = np.random.default_rng(0)
    before = network.whole.get_weights()
    compile_for(network.recipe, network.whole, 1)
    images = rng.uniform(0, 255, (4, 224, 224, 3)).astype(np.float32)
    # unequal classes, so that the gradient of the bias is not 0
    network.whole.fit(images, np.array([[0.0], [1.0], [0.0], [0.0]]), verbose=0)
    frozen = {id(weight) for weight in network.maps.non_trainable_weights}
    for old, weight in zip(before, network.whole.weights, strict=True):
        assert np.array_equal(old, np.asarray(weight)) == (id(weight) in frozen), weight.path


def test_every_recipe_names_an_architecture_and_keeps_its_own_name() -> None:
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert recipe.architecture in ARCHITECTURES
        assert recipe.head[0] in POOLINGS
        assert recipe.head[-1] in ("sigmoid", "softmax")
        assert recipe.as_json()["name"] == name
    with pytest.raises(InputError, match=r"no network recipe 'resnet' \(did you mean 'mir-resnet50'\?\); choose from"):
        network_recipe("resnet")


def test_the_whole_is_the_head_on_the_base() -> None:
    recipe = dataclasses.replace(network_recipe("dhuri-mobilenet"), input_side=64)
    network = build(recipe, None)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    features = network.base.predict(images, verbose=0)
    assert features.shape == (3, 1024)
    direct, by_parts = network.whole.predict(images, verbose=0), network.head.predict(features, verbose=0)
    assert direct == pytest.approx(by_parts, abs=1e-6)
    assert positive_score(direct) == pytest.approx(direct[:, 1])


@pytest.mark.parametrize("name", [name for name in TABLE if name != "efficientnetb1"])
def test_pixels_are_scaled_as_the_preprocessing_of_keras_applications_does(name: str) -> None:
    module = getattr(keras.applications, {"resnet50": "resnet", "inceptionv3": "inception_v3"}.get(name, name), None)
    module = module or keras.applications.nasnet
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3)).astype(np.float32)
    images = keras.Input((5, 5, 3))
    scaled = keras.Model(images, SCALINGS[TABLE[name].scaling](images)).predict(pixels, verbose=0)
    assert scaled == pytest.approx(module.preprocess_input(pixels.copy()), abs=1e-4)


def test_recipes_scale_pixels_as_their_base_expects_unless_the_source_says_otherwise() -> None:
    for name, recipe in RECIPES.items():
        if not recipe.pretrained or name.startswith("clinton-"):
            assert recipe.scaling == "unit"  # Clinton et al. say so
        else:
            assert recipe.scaling == TABLE[recipe.architecture].scaling


def test_all_fourteen_published_networks_say_what_was_reported_and_what_was_left_open() -> None:
    published = [recipe for recipe in RECIPES.values() if recipe.source != "leukobench"]
    assert len(published) == 14
    for recipe in published:
        assert "accuracy" in recipe.reported
        assert recipe.left_open
        # the scaling of the pixels is either published, or chosen
        assert "pixels" in recipe.left_open.lower() or recipe.name == "clinton-alexnet"  # "as their other networks"
        assert recipe.split.startswith("split --method image")


def test_values_of_a_recipe_are_set_by_name_and_the_rest_stays() -> None:
    recipe = network_recipe("clinton-xception")
    changed = change_recipe(
        recipe,
        {
            "batch_size": 4,
            "optimizer.learning_rate": 1e-5,
            "augmentation.flip": False,
            "head": ["average", "dense=8", "softmax"],
            "loss": "CategoricalCrossentropy",
            "patience": 3,
        },
    )
    assert (changed.batch_size, changed.patience, changed.head) == (4, 3, ("average", "dense=8", "softmax"))
    assert changed.optimizer == dict(recipe.optimizer) | {"learning_rate": 1e-5}
    assert changed.augmentation == dataclasses.replace(recipe.augmentation, flip=False)
    assert change_recipe(recipe, {"augmentation": None}).augmentation is None
    assert change_recipe(recipe, {}) == recipe


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("batches", 3, r"no such value to change \(did you mean 'batch_size'\?\); choose from architecture"),
        ("name", "mine", "no such value to change"),
        ("pretrained", False, "no such value to change"),
        ("batch_size", 0, "expected a whole number above 0"),
        ("batch_size", 2.5, "expected a whole number above 0"),
        ("epochs", True, "expected a whole number above 0"),
        ("batchnorm_averages", "last", "expected one of zero-one, first-batch"),
        ("trained", "some", "expected one of all, head, head"),
        ("loss", "Best", "expected the name of a Keras loss"),
        ("optimizer.name", "Best", "expected the name of a Keras optimiser"),
        ("optimizer.momentum_of_mine", 1, "expected the name of a Keras optimiser"),
        ("augmentation.rotation", -3, "expected a number of at least 0"),
        ("augmentation.flip", 1, "expected true or false"),
        ("augmentation.colour", 1, "an augmentation has no colour"),
        ("augmentation", "much", "expected nothing .null., or values by name"),
        ("head", ["dense=8"], "expected a list of layers: average, cell-average or flatten"),
        ("head", ["average", "dropout=1.5", "sigmoid"], "expected a list of layers: average, cell-average or flatten"),
        ("head", "average,sigmoid", "expected a list of layers"),
        ("frame.side", 3, "frame has no entries"),
        ("loss", "CategoricalCrossentropy", "needs a head that ends in softmax"),
    ],
)
def test_changes_that_do_not_fit_are_refused(name: str, value: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        change_recipe(network_recipe("clinton-xception"), {name: value})


def test_the_command_reads_changes_as_they_are_written() -> None:
    changes = {"batch_size": 4, "keep": "last", "augmentation.flip": False, "head": ["flatten", "sigmoid"], "l2": 1e-5}
    changes |= {"patience": None, "options.until": ["a", "b"], "loss": "3", "optimizer": {"name": "SGD"}}
    read = dict(Change().convert(text, None, None) for text in as_texts(changes))
    assert read == changes
    with pytest.raises(click.BadParameter, match="expected NAME=VALUE"):
        Change().convert("batch_size", None, None)


def test_a_base_of_random_weights_cannot_be_frozen() -> None:
    with pytest.raises(InputError, match="starts from random weights"):
        change_recipe(network_recipe("clinton-lightxception"), {"trained": "head"})
    with pytest.raises(InputError, match="offline_augmentation needs a base that is trained"):
        change_recipe(network_recipe("garg-vgg19"), {"offline_augmentation": 100})


def test_weights_that_are_not_available_stop_the_training_with_a_remedy(tmp_path: Path) -> None:
    recipe = network_recipe("dhuri-mobilenet")
    with pytest.raises(InputError, match=r"no such file of weights; .*name a file of the weights"):
        build(recipe, str(tmp_path / "missing.h5"))
    (tmp_path / "broken.h5").write_bytes(b"no weights")
    with pytest.raises(InputError, match="do not fit the network or cannot be read"):
        build(recipe, str(tmp_path / "broken.h5"))
    light_xception(64).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(InputError, match="do not fit the network or cannot be read"):
        build(recipe, str(tmp_path / "other.weights.h5"))
    with pytest.raises(InputError, match="no pretrained weights of the light Xception exist"):
        build(network_recipe("clinton-lightxception"), "imagenet")


def test_weights_given_by_path_are_the_ones_used(tmp_path: Path) -> None:
    keras.utils.set_random_seed(5)
    source = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(64, 64, 3))
    source.save_weights(tmp_path / "mobilenet.weights.h5")
    recipe = dataclasses.replace(network_recipe("dhuri-mobilenet"), input_side=64)
    network = build(recipe, str(tmp_path / "mobilenet.weights.h5"))
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.float32)
    expected = source.predict(image / 127.5 - 1, verbose=0).mean(axis=(1, 2))
    assert network.base.predict(image, verbose=0) == pytest.approx(expected, abs=1e-5)


def test_of_the_cell_alone_each_place_counts_by_how_much_of_it_is_cell(tmp_path: Path) -> None:
    changes = {"input_side": 64, "head": ["cell-average", "sigmoid"]}
    network = build(change_recipe(network_recipe("small-lightxception"), changes), None)
    images = np.random.default_rng(0).integers(1, 256, (2, 64, 64, 3)).astype(np.uint8)
    images[0, :, :24] = 0  # of the 4 x 4 places the first column is background, the second is half
    maps = network.maps.predict(images / 255, verbose=0)
    weight = np.array([0, 0.5, 1, 1])[:, None] / 10
    expected = [(maps[0] * weight).sum(axis=(0, 1)), maps[1].mean(axis=(0, 1))]
    assert network.base.predict(images, verbose=0) == pytest.approx(np.array(expected), abs=1e-5)
    nothing = np.zeros((1, 64, 64, 3), np.uint8)  # what augmentation may leave of a cell
    assert not network.base.predict(nothing, verbose=0).any()
    network.whole.save(tmp_path / "model.keras")
    stored = load_network(str(tmp_path / "model.keras"))
    assert stored.predict(images, verbose=0) == pytest.approx(network.whole.predict(images, verbose=0), abs=1e-6)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_text("no model")
    with pytest.raises(InputError, match="cannot be loaded as a network"):
        load_network(str(tmp_path / "model.keras"))


def test_averages_that_begin_with_a_batch_normalise_it_as_training_does() -> None:
    keras.utils.set_random_seed(0)
    recipe = change_recipe(
        network_recipe("small-lightxception"), {"input_side": 64, "head": ["average", "batchnorm", "sigmoid"]}
    )
    model = build(recipe, None).whole
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3)).astype(np.uint8)
    weights = [np.asarray(variable) for variable in model.trainable_variables]
    assert not np.allclose(model(images, training=False), model(images, training=True), atol=1e-2)
    begin_averages(model, images)
    assert np.asarray(model(images, training=False)) == pytest.approx(
        np.asarray(model(images, training=True)), abs=1e-3
    )
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.trainable_variables, strict=True))
    assert model.get_layer("head").layers[0].momentum == 0.99


@pytest.mark.parametrize(
    ("changes", "pretrained", "begun"),
    [
        ({}, False, True),
        ({"batchnorm_averages": "zero-one"}, False, False),
        ({}, True, False),  # pretrained averages are kept
    ],
)
def test_running_averages_start_as_the_recipe_declares(
    changes: dict[str, str], pretrained: bool, begun: bool, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(
        change_recipe(network_recipe("small-lightxception"), changes | {"input_side": 32, "augmentation": None}),
        pretrained=pretrained,
    )
    keras.utils.set_random_seed(0)
    model = build(recipe, None).whole
    images = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3)).astype(np.uint8)
    examples = Examples([images], np.arange(16), np.zeros((16, 1)))
    before = [np.asarray(variable) for variable in model.non_trainable_variables]
    Fitting(model, recipe, 0, Checkpoint(tmp_path))._compile(model, examples)
    changed = [
        not np.array_equal(old, new) for old, new in zip(before, model.non_trainable_variables, strict=True) if old.ndim
    ]
    assert len(changed) > 10
    assert all(changed) if begun else not any(changed)


def test_reproduced_recipes_start_running_averages_as_keras_does() -> None:
    for recipe in RECIPES.values():
        if recipe.source != "leukobench":
            assert recipe.batchnorm_averages == "zero-one"
            assert recipe.from_scratch().batchnorm_averages == "zero-one"
    assert network_recipe("small-lightxception").batchnorm_averages == "first-batch"
    assert network_recipe("leukobench-finetuned").from_scratch().batchnorm_averages == "first-batch"


def test_augmentation_changes_nothing_outside_training_and_with_all_ranges_at_zero() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    strong = Augment(Augmentation(rotation=90, shift=0.2, shear=0.2, zoom=0.2, flip=True, stain=0.3), 0)
    assert np.array_equal(strong(images, training=False), images)
    assert not np.allclose(strong(images, training=True), images)
    assert np.allclose(Augment(Augmentation(), 0)(images, training=True), images, atol=1e-3)


# rotation, shear (degrees); zooms along x and y; shifts along x and y (share of the side); below 0: flipped
DRAWS = {
    "rotation": (25.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    "shift": (0.0, 0.0, 0.0, 0.0, 0.15, -0.05, 1.0),
    "shear": (0.0, -15.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    "zoom": (0.0, 0.0, 0.18, -0.12, 0.0, 0.0, 1.0),
    "flip": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0),
    "rotated shift": (90.0, 0.0, 0.0, 0.0, 0.1, 0.0, 1.0),
    "all": (-35.0, 17.0, -0.1, 0.2, 0.12, -0.18, 1.0),
    "all, flipped": (38.0, -9.0, 0.15, 0.05, -0.1, 0.07, -1.0),
}


@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")
@pytest.mark.parametrize("side", [40, 41])
def test_augmentation_maps_pixels_as_keras_own_image_data_generator_does(side: int) -> None:
    from keras.src.legacy.preprocessing.image import apply_affine_transform, flip_axis

    y, x = np.mgrid[:side, :side] / side
    smooth = np.stack([120 + 80 * np.sin(5 * x + 2 * y), 255 * x * y, 90 + 60 * np.cos(6 * y - x)], axis=2)
    largest = [90.0, 20.0, 0.2, 0.2, 0.2, 0.2, 1.0]  # in the order in which the layer draws
    ranges = []
    layer = Augment(Augmentation(rotation=90, shear=20, zoom=0.2, shift=0.2, flip=True), 0)
    draws = iter(np.array(list(DRAWS.values())).T)

    def draw(count: int, of: float) -> np.ndarray:
        ranges.append(of)
        drawn = next(draws)
        return keras.ops.convert_to_tensor((np.deg2rad(drawn) if len(ranges) < 3 else drawn).astype("float32"))

    layer._draw = draw
    ours = np.asarray(layer(np.stack([smooth] * len(DRAWS)).astype("float32"), training=True))
    assert ranges == pytest.approx([*np.deg2rad(largest[:2]), *largest[2:]])
    for (name, (theta, shear, zoom_x, zoom_y, shift_x, shift_y, flip)), image in zip(DRAWS.items(), ours, strict=True):
        theirs = apply_affine_transform(
            smooth, theta, shift_x * side, shift_y * side, shear, 1 + zoom_x, 1 + zoom_y,
            row_axis=0, col_axis=1, channel_axis=2, fill_mode="nearest", order=1,
        )  # fmt: skip
        theirs = flip_axis(theirs, 1) if flip < 0 else theirs
        assert np.abs(image - theirs).max() < 2e-3, name
        assert np.abs(theirs - smooth).max() > 20, name


def test_shear_is_in_degrees_as_the_published_recipes_give_it() -> None:
    of_clinton = [recipe.augmentation.shear for name, recipe in RECIPES.items() if name.startswith("clinton-")]
    assert of_clinton == [0.2] * 5
    layer = Augment(Augmentation(shear=0.2), 0)
    sheared = np.asarray(layer._maps(1000, 100.0))[:, 1]  # -sin of the angle
    assert 0.95 * np.radians(0.2) < np.abs(sheared).max() <= np.radians(0.2)


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


def test_an_epoch_deals_out_every_row_in_an_order_of_its_own_and_fills_the_last_batch() -> None:
    rows = np.arange(3, 14)
    examples = Examples([np.arange(20)[:, None] * 10], rows, rows[:, None].astype(float))

    def deal(epoch: int) -> tuple[np.ndarray, np.ndarray]:
        batches = examples.of_epoch(epoch, 4, seed=1)
        pixels, labels = zip(*(batches[index] for index in range(len(batches))), strict=True)
        assert [len(batch) for batch in pixels] == [4, 4, 4]
        return np.concatenate(pixels)[:, 0], np.concatenate(labels)[:, 0]

    first, second = deal(0), deal(1)
    for pixels, labels in (first, second):
        assert np.array_equal(pixels, labels * 10)
        assert sorted(labels[:11]) == rows.tolist()
        assert labels[11] == labels[0]
    assert first[1].tolist() != second[1].tolist()
    assert deal(0)[1].tolist() == first[1].tolist()


def test_successive_epochs_use_successive_augmented_copies_of_a_frozen_base() -> None:
    copies = [np.full((5, 1), number) for number in (1, 2)]
    examples = Examples(copies, np.array([1, 4]), np.zeros((2, 1)))
    assert [int(examples.of_epoch(epoch, 2, seed=0)[0][0].max()) for epoch in range(4)] == [1, 2, 1, 2]


def test_offline_augmentation_draws_all_eight_orientations_equally_often() -> None:
    image = np.arange(9).reshape(1, 3, 3, 1)
    ways = {orient(image, np.array([orientation])).tobytes() for orientation in range(8)}
    assert len(ways) == 8
    assert np.array_equal(orient(image, np.array([1]))[0], np.rot90(image[0]))
    assert np.array_equal(orient(image, np.array([4]))[0], np.fliplr(image[0]))
    assert np.array_equal(orient(image, np.array([6]))[0], np.flipud(image[0]))
    drawn, orientations = draw_offline_augmentation(1000, 20_000)
    assert np.array_equal(np.unique(drawn), np.arange(1000))
    # none, 90, 270 and both are as likely, and half of the images are then turned by 180 with one of the mirrors
    assert np.bincount(orientations, minlength=8) / 20_000 == pytest.approx(np.full(8, 1 / 8), abs=0.01)
