from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

import leukobench.cnn.data
import leukobench.cnn.frozen
import leukobench.cnn.recipe_catalog
from leukobench.cells.decoding import read_image
from leukobench.cli import main
from leukobench.cnn.architectures import ARCHITECTURES
from leukobench.cnn.backend import keras
from leukobench.cnn.checkpoint import Checkpoint
from leukobench.cnn.data import Images, load_images
from leukobench.cnn.epochs import Examples, Inputs, orient
from leukobench.cnn.fitting import Fitting, Validation, outputs_of
from leukobench.cnn.frozen import base_outputs
from leukobench.cnn.network import build, load_network, positive_score, targets_for
from leukobench.cnn.recipes import Augmentation, Recipe
from leukobench.cnn.training import train_network
from leukobench.cohort.manifest import read_manifest
from leukobench.cohort.partition import read_split, write_split
from leukobench.cohort.splitting import SplitOptions, split_by_subject
from leukobench.core.errors import InputError
from leukobench.core.files import sha256_of
from leukobench.results.calibration import calibrated
from leukobench.results.run import RunFolder, read_run_folder
from tests.cnn.networks import two_convolutions

TINY = Recipe(
    name="tiny",
    source="tests",
    description="two convolutions at 32 px",
    architecture="tiny",
    input_side=32,
    frame=320,
    head=("average", "dropout=0.2", "sigmoid"),
    optimizer={"name": "Adam", "learning_rate": 1e-3},
    batch_size=8,
    epochs=2,
    augmentation=Augmentation(rotation=30, flip=True),
)
TINY_FROZEN = Recipe(
    name="tiny-frozen",
    source="tests",
    description="the beginning of MobileNet, frozen, at 32 px",
    architecture="mobilenet",
    options={"until": "conv_pw_2_relu"},
    input_side=32,
    frame=320,
    head=("average", "dense=8", "softmax"),
    optimizer={"name": "Adam", "learning_rate": 1e-3},
    batch_size=8,
    epochs=3,
    loss="CategoricalCrossentropy",
    scaling="symmetric",
    pretrained=True,
    trained="head",
)


@pytest.fixture(autouse=True)
def _tiny_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", two_convolutions)
    monkeypatch.setitem(leukobench.cnn.recipe_catalog.RECIPES, "tiny", TINY)
    monkeypatch.setitem(leukobench.cnn.recipe_catalog.RECIPES, "tiny-frozen", TINY_FROZEN)


def enliven(network: keras.Model) -> None:
    """Give a network weights after He et al. 2015, with which the signal neither fades nor explodes."""
    rng = np.random.default_rng(9)
    for variable in network.weights:
        if len(variable.shape) == 4:
            depthwise = variable.shape[3] == 1
            inputs = np.prod(variable.shape[: 2 if depthwise else 3])
            variable.assign(rng.normal(0, np.sqrt(2 / inputs), variable.shape))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    network = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3))
    enliven(network)
    network.save_weights(tmp_path / "mobilenet.weights.h5")
    return tmp_path / "mobilenet.weights.h5"


def run_tiny(cohort: Path, out: Path, **different) -> RunFolder:
    arguments = {"recipe": "tiny", "seed": 1} | different
    return train_network(cohort / "images", cohort / "manifest.csv", cohort / "split.csv", out, **arguments)


def test_equal_seeds_give_equal_runs(cohort: Path, tmp_path: Path) -> None:
    one, other, third = (run_tiny(cohort, tmp_path / str(n), seed=s) for n, s in enumerate((1, 1, 2)))
    assert one.predictions["score"].tolist() == other.predictions["score"].tolist()
    assert one.history["loss"].tolist() == other.history["loss"].tolist()
    assert one.predictions["score"].tolist() != third.predictions["score"].tolist()


def test_a_run_predicts_the_same_rows_as_a_classical_one(cohort: Path, tmp_path: Path) -> None:
    run = run_tiny(cohort, tmp_path / "run", recipe="small-lightxception", changes={"input_side": 32, "epochs": 2})
    partition = pd.read_csv(cohort / "split.csv", dtype=str)
    for column in ("path", "part", "label", "subject_group"):
        assert run.predictions[column].tolist() == partition[column].tolist()
    assert run.history["epoch"].tolist() == [1, 2]
    assert {"loss", "accuracy", "val_loss", "val_auroc"} <= set(run.history.columns)
    assert run.info.recipe == "small-lightxception"
    assert run.info.model_parameters == 1_248_060


def test_the_stored_network_gives_the_scores_that_were_written(cohort: Path, tmp_path: Path) -> None:
    run = run_tiny(cohort, tmp_path / "run")
    manifest = read_manifest(cohort / "manifest.csv")
    images = load_images(cohort / "images", manifest, frame=320, side=32)
    rows = run.predictions["path"].map(images.row).to_numpy()
    model = load_network(str(run.folder / "model.keras"))
    score = positive_score(model.predict(np.asarray(images.pixels[rows]), verbose=0))
    assert run.predictions["raw_score"].to_numpy() == pytest.approx(score, abs=1e-5)
    calibration = run.info.calibration_of(None)
    held = run.part("validation")
    assert (calibration.groups, calibration.cells) == (held["subject_group"].nunique(), len(held))
    assert run.info.note == ""
    expected = np.round(calibrated(run.predictions["raw_score"], calibration), 9)
    assert run.predictions["score"].tolist() == expected.tolist()
    assert run.predictions["score"].tolist() != run.predictions["raw_score"].tolist()


def test_without_a_validation_part_the_note_says_that_the_scores_are_not_calibrated(
    cohort: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    write_split(split_by_subject(manifest, 0.4, SplitOptions(validation_size=0)), tmp_path / "split.csv")
    files = (cohort / "images", cohort / "manifest.csv", tmp_path / "split.csv", tmp_path / "run")
    run = train_network(*files, recipe="tiny", epochs=1)
    assert run.info.note == "not calibrated on validation: the split has no validation part"
    assert run.info.calibration == {"final": None}
    assert run.predictions["score"].tolist() == run.predictions["raw_score"].tolist()


def test_views_are_the_mean_over_quarter_turns_and_mirrors(cohort: Path, tmp_path: Path) -> None:
    changes = {"views": 8, "options.batch_norm_momentum": 0.5, "augmentation": None}
    run = run_tiny(cohort, tmp_path / "run", changes=changes, epochs=3)
    assert run.info.parameters["views"] == 8
    images = load_images(cohort / "images", read_manifest(cohort / "manifest.csv"), frame=320, side=32)
    pixels = np.asarray(images.pixels[run.predictions["path"].map(images.row).to_numpy()])
    model = load_network(str(run.folder / "model.keras"))
    views = [np.rot90(view, quarters, (1, 2)) for view in (pixels, pixels[:, :, ::-1]) for quarters in range(4)]
    scores = [positive_score(model.predict(view, verbose=0)) for view in views]
    assert run.predictions["raw_score"].to_numpy() == pytest.approx(np.mean(scores, axis=0), abs=1e-5)
    assert np.ptp(scores, axis=0).max() > 1e-4  # and the views do differ


def test_the_epoch_of_the_best_validation_auroc_is_kept(cohort: Path, tmp_path: Path) -> None:
    run = run_tiny(cohort, tmp_path / "run", epochs=4)
    assert run.metrics["validation"]["auroc"] == pytest.approx(run.history["val_auroc"].max(), abs=1e-9)


def test_a_frozen_base_keeps_its_weights_and_the_head_learns(cohort: Path, tmp_path: Path, weights: Path) -> None:
    run = run_tiny(cohort, tmp_path / "run", recipe="tiny-frozen", weights=str(weights))
    stored = load_network(str(run.folder / "model.keras"))
    whole = keras.applications.MobileNet(weights=str(weights), include_top=False, input_shape=(32, 32, 3))
    source = keras.Model(whole.input, whole.get_layer("conv_pw_2_relu").output)
    for ours, theirs in zip(stored.get_layer("network").get_weights(), source.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)
    assert run.history["loss"].nunique() == 3
    assert len(run.info.checksums["weights"]) == 64


def test_a_head_trained_on_kept_outputs_is_the_one_trained_with_its_frozen_base(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    positive, rows = np.arange(30) % 3 > 0, np.arange(20)
    images = rng.integers(0, 60 + 190 * positive[:, None, None, None], (30, 32, 32, 3)).astype(np.uint8)
    head, optimizer = ("average", "dropout=0.5", "dense=8", "softmax"), {"name": "Adam", "learning_rate": 0.01}
    recipe = dataclasses.replace(TINY_FROZEN, head=head, optimizer=optimizer)
    results = []
    for whole in (True, False):
        keras.utils.set_random_seed(4)
        network = build(recipe, None)
        enliven(network.maps)
        loaded = Images("random", images, {str(row): row for row in range(30)}, {})
        inputs = Inputs.of_images(images, 1) if whole else base_outputs(network, loaded, rows, 0)
        examples = Examples(inputs.training, rows, targets_for(recipe, positive[rows]))
        validation = Validation(inputs.plain, np.arange(20, 30), positive[20:])
        model = network.whole if whole else network.head
        history = Fitting(model, recipe, 0, Checkpoint(tmp_path / str(whole))).fit(examples, validation)
        results.append(([row["loss"] for row in history], outputs_of(network.whole, images, np.arange(30), 8)))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    assert results[0][1] == pytest.approx(results[1][1], abs=1e-5)
    assert len(set(results[0][0])) == 3
    assert results[0][1].std(axis=0).min() > 0.003  # and it is no constant that they agree on


def test_the_views_of_a_frozen_base_are_run_once_learned_from_and_averaged(
    cohort: Path, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEUKOBENCH_CACHE", str(tmp_path / "cache"))
    changes = {"views": 8, "head": ["average", "batchnorm", "sigmoid"], "loss": "BinaryCrossentropy", "epochs": 16}
    run = run_tiny(cohort, tmp_path / "run", recipe="tiny-frozen", weights=str(weights), changes=changes)
    images = load_images(cohort / "images", read_manifest(cohort / "manifest.csv"), frame=320, side=32)
    pixels = np.asarray(images.pixels[run.predictions["path"].map(images.row).to_numpy()])
    model = load_network(str(run.folder / "model.keras"))
    scores = [positive_score(model.predict(orient(pixels, np.full(40, view)), verbose=0)) for view in range(8)]
    assert run.predictions["raw_score"].to_numpy() == pytest.approx(np.mean(scores, axis=0), abs=1e-5)
    assert np.ptp(scores, axis=0).max() > 1e-4  # and the views do differ
    (kept,) = (tmp_path / "cache" / "features").rglob("features.npy")
    features = np.load(kept)  # the base on each view; an epoch trains on one of them
    assert features.shape == (8, 40, 128)
    base = keras.Model(model.input, model.get_layer("pool").output)
    assert features[5] == pytest.approx(base.predict(orient(images.pixels, np.full(40, 5)), verbose=0), abs=1e-5)
    monkeypatch.setattr(leukobench.cnn.frozen, "outputs_of", None)  # the base is not run again
    again = run_tiny(cohort, tmp_path / "again", recipe="tiny-frozen", weights=str(weights), changes=changes)
    assert again.predictions.equals(run.predictions)


def test_trainings_on_parts_of_a_manifest_share_what_is_kept_of_it(
    cohort: Path, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEUKOBENCH_CACHE", str(tmp_path / "cache"))
    partition = pd.read_csv(cohort / "split.csv", dtype=str)
    left_out = partition.groupby("subject")["path"].first()
    partition[~partition["path"].isin(left_out)].to_csv(tmp_path / "fewer.csv", index=False)

    def train_on(split: Path, name: str, **options) -> RunFolder:
        arguments = {"recipe": "tiny-frozen", "weights": str(weights), "seed": 1} | options
        images = arguments.pop("images", cohort / "images")
        return train_network(images, cohort / "manifest.csv", split, tmp_path / name, **arguments)

    alone = train_on(tmp_path / "fewer.csv", "alone")
    shutil.rmtree(tmp_path / "cache")
    train_on(cohort / "split.csv", "all")
    images = load_images(cohort / "images", read_manifest(cohort / "manifest.csv"), frame=320, side=32)
    shared = train_on(tmp_path / "fewer.csv", "shared", images=images)
    for kind in ("images", "features"):
        assert len([*(tmp_path / "cache" / kind).iterdir()]) == 1
    assert shared.predictions["path"].tolist() == alone.predictions["path"].tolist()
    assert shared.predictions["score"].to_numpy() == pytest.approx(alone.predictions["score"].to_numpy(), abs=1e-6)
    assert shared.info.command[2] == str(cohort / "images")
    few = load_images(cohort / "images", read_manifest(cohort / "manifest.csv")[:9], frame=320, side=32)
    with pytest.raises(InputError, match="images: lack 31 images of the split"):
        train_on(cohort / "split.csv", "too-few", images=few)
    with pytest.raises(InputError, match="images: were read with frame 320, side 32, background black"):
        train_on(cohort / "split.csv", "other", images=images, background="white")


def test_a_frozen_base_sees_as_many_augmented_copies_as_the_recipe_says_and_is_run_once(
    cohort: Path, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEUKOBENCH_CACHE", str(tmp_path / "cache"))
    changes = {"augmentation": {"flip": True, "rotation": 30}, "augmented_passes": 2}
    arguments = {"recipe": "tiny-frozen", "weights": str(weights), "changes": changes}
    run = run_tiny(cohort, tmp_path / "run", **arguments)
    (kept,) = (tmp_path / "cache" / "features").rglob("features.npy")
    features = np.load(kept).reshape(3, 40, 128)
    training = (run.predictions["part"] == "train").to_numpy()
    assert features[0].any(axis=1).all()
    for copy in features[1:]:  # only what is trained on is augmented, and each copy otherwise
        assert np.array_equal(copy.any(axis=1), training)
        assert not np.allclose(copy[training], features[0][training])
    assert not np.allclose(features[1][training], features[2][training])
    changed = kept.stat().st_mtime_ns
    again = run_tiny(cohort, tmp_path / "again", **arguments)
    assert [path.stat().st_mtime_ns for path in (tmp_path / "cache" / "features").rglob("features.npy")] == [changed]
    assert again.predictions["score"].tolist() == run.predictions["score"].tolist()


def test_a_training_that_diverges_at_once_names_the_value_to_lower_and_leaves_nothing(
    cohort: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"training diverged .*; lower the learning rate \(optimizer\.learning_rate\)"):
        run_tiny(cohort, tmp_path / "run", changes={"input_side": 16, "optimizer.learning_rate": 1e38})
    assert not list(tmp_path.iterdir())


def test_training_stops_after_as_many_epochs_without_a_better_one_as_the_recipe_has_patience(
    cohort: Path, tmp_path: Path
) -> None:
    run = run_tiny(cohort, tmp_path / "run", changes={"patience": 1, "epochs": 30, "input_side": 16})
    best = run.history["val_auroc"].idxmax()
    assert len(run.history) == best + 2 < 30
    assert run.metrics["validation"]["auroc"] == pytest.approx(run.history["val_auroc"].max(), abs=1e-9)


def test_a_cross_validation_keeps_each_image_as_it_was_tested(
    folds: Path, cohort: Path, tmp_path: Path, weights: Path
) -> None:
    arguments = {"recipe": "tiny-frozen", "weights": str(weights), "seed": 1}
    images, manifest = cohort / "images", cohort / "manifest.csv"
    run = train_network(images, manifest, folds, tmp_path / "folds", **arguments)
    assert sorted(run.part("test")["path"]) == sorted(read_manifest(manifest)["path"])
    for fold, partition in read_split(folds).by_fold():
        assert run.part("validation", fold)["path"].tolist() == partition.part("validation")["path"].tolist()
        development = partition.rows[partition.rows["part"] != "test"].drop_duplicates("subject_group")
        assert run.info.calibration_of(fold).share == pytest.approx((development["label"] == "all").mean())
    assert set(run.info.calibration) == {"0", "1", "2"}
    single = train_network(images, manifest, folds / "fold_1.csv", tmp_path / "single", **arguments)
    for part in ("validation", "test"):
        expected = single.part(part).set_index("path")["score"].to_dict()
        assert run.part(part, 1).set_index("path")["score"].to_dict() == pytest.approx(expected, abs=1e-5)
    assert {file.name for file in run.folder.glob("*.keras")} == {f"model_fold_{fold}.keras" for fold in range(3)}
    assert run.history.groupby("fold").size().to_dict() == {0: 3, 1: 3, 2: 3}


def test_missing_weights_are_refused_before_the_images_are_read(cohort: Path, tmp_path: Path) -> None:
    arguments = {"recipe": "tiny-frozen", "weights": str(tmp_path / "none.h5")}
    with pytest.raises(InputError, match="no such file of weights"):
        train_network(
            tmp_path / "no-images", cohort / "manifest.csv", cohort / "split.csv", tmp_path / "run", **arguments
        )


def test_training_from_scratch_goes_by_another_name(cohort: Path, tmp_path: Path) -> None:
    run = run_tiny(cohort, tmp_path / "run", recipe="tiny-frozen", weights="none", epochs=1)
    assert run.info.recipe == "tiny-frozen-from-scratch"
    assert run.info.parameters["pretrained"] is False
    assert run.info.parameters["trained"] == "all"


def test_changed_epochs_and_batch_size_are_recorded(cohort: Path, tmp_path: Path) -> None:
    run = run_tiny(cohort, tmp_path / "run", epochs=1, batch_size=5)
    assert (run.info.parameters["epochs"], run.info.parameters["batch_size"]) == (1, 5)
    assert len(run.history) == 1


def test_a_partition_of_another_manifest_is_refused(cohort: Path, tmp_path: Path) -> None:
    manifest = pd.read_csv(cohort / "manifest.csv", dtype=str, keep_default_na=False)
    manifest.drop(index=0).to_csv(tmp_path / "shorter.csv", index=False)
    with pytest.raises(InputError, match=rf"names 1 of 40 images that .* lacks \(first: {manifest['path'][0]}\)"):
        train_network(
            cohort / "images", tmp_path / "shorter.csv", cohort / "split.csv", tmp_path / "run", recipe="tiny"
        )
    manifest.assign(fold="1").to_csv(tmp_path / "changed.csv", index=False)
    with pytest.raises(InputError, match="was made from another manifest"):
        train_network(
            cohort / "images", tmp_path / "changed.csv", cohort / "split.csv", tmp_path / "run", recipe="tiny"
        )
    assert not (tmp_path / "run").exists()


def test_images_are_read_once_and_broken_ones_left_out_with_a_reason(cohort: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LEUKOBENCH_CACHE", str(tmp_path / "cache"))
    shutil.copytree(cohort / "images", tmp_path / "images")
    manifest = read_manifest(cohort / "manifest.csv")
    lost = manifest["path"][3]
    (tmp_path / "images" / lost).write_bytes(b"BM")
    images = load_images(tmp_path / "images", manifest, frame=320, side=32)
    assert list(images.failed) == [lost]
    assert images.failed[lost] == "is not an image that can be read; replace it"
    assert len(images.row) == 39
    shutil.rmtree(tmp_path / "images")
    again = load_images(tmp_path / "images", manifest, frame=320, side=32)
    assert np.array_equal(again.pixels, images.pixels)
    assert again.failed == images.failed
    with pytest.raises(InputError, match="does not match the manifest: none of its 40 images is there"):
        load_images(tmp_path / "images", manifest, frame=320, side=16)
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_an_image_that_could_not_be_read_is_read_once_it_is_there(cohort: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LEUKOBENCH_CACHE", str(tmp_path / "cache"))
    manifest = read_manifest(cohort / "manifest.csv")
    shutil.copytree(cohort / "images", tmp_path / "images")
    late, later = (tmp_path / "images" / path for path in manifest["path"][3:5])
    late.unlink()
    later.write_bytes(b"BM")
    keys = [load_images(tmp_path / "images", manifest, frame=320, side=32).key]
    for path in manifest["path"][6:]:  # what is in the cache needs no file
        (tmp_path / "images" / path).unlink()
    for file in (late, later):
        shutil.copy(cohort / "images" / file.relative_to(tmp_path / "images"), file)
        for _ in range(2):
            images = load_images(tmp_path / "images", manifest, frame=320, side=32)
        keys.append(images.key)
    assert not images.failed
    assert len(set(keys)) == 3  # what a frozen base puts out is kept under the key
    assert np.array_equal(images.pixels, load_images(cohort / "images", manifest, frame=320, side=32).pixels)


def test_two_trainings_may_read_the_same_images_at_once(cohort: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LEUKOBENCH_CACHE", str(tmp_path / "cache"))
    manifest = read_manifest(cohort / "manifest.csv")
    read_square, first = leukobench.cnn.data.read_square, []

    def meanwhile(*arguments, **named) -> np.ndarray:
        if not first:  # another one begins and ends while this one reads its first image
            first.append(None)
            first[0] = load_images(cohort / "images", manifest, frame=320, side=32)
        return read_square(*arguments, **named)

    monkeypatch.setattr(leukobench.cnn.data, "read_square", meanwhile)
    second = load_images(cohort / "images", manifest, frame=320, side=32)
    assert np.array_equal(second.pixels, first[0].pixels)
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 1


def test_networks_see_the_cell_of_the_chosen_background(cohort: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LEUKOBENCH_CACHE", str(tmp_path / "cache"))
    manifest = read_manifest(cohort / "manifest.csv")
    for path in manifest["path"]:
        image = read_image(cohort / "images" / path).rgb
        image = np.where(image.any(axis=2, keepdims=True), image, np.uint8(255))
        (tmp_path / "white" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "white" / path)
    black = load_images(cohort / "images", manifest, frame=320, side=32)
    own = manifest.assign(sha256=[sha256_of(tmp_path / "white" / path) for path in manifest["path"]])
    white = load_images(tmp_path / "white", own, frame=320, side=32, background="white")
    assert np.array_equal(black.pixels, white.pixels)
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 2
    with pytest.raises(InputError, match="is not cut out on black"):
        load_images(tmp_path / "white", own, frame=321, side=32)


def test_the_run_says_on_what_it_was_computed(cohort: Path, tmp_path: Path) -> None:
    run = run_tiny(cohort, tmp_path / "run", epochs=1)
    info = json.loads((run.folder / "run.json").read_text())
    assert info["device"].startswith(keras.backend.backend())
    assert info["background"] == "black"
    assert info["precision"] == "float32"
    assert info["changed"] == ["epochs=1"]
    assert {"history.png", "history.svg"} <= set(info["files"])
    assert {"python", "keras", keras.backend.backend()} <= set(info["versions"])
    assert info["seconds"]["fit"] > 0


@pytest.mark.parametrize("recipe", ["tiny", "tiny-frozen"])
def test_the_recorded_command_repeats_a_run_that_python_started(
    cohort: Path, folds: Path, tmp_path: Path, weights: Path, recipe: str
) -> None:
    arguments: dict[str, object] = {"epochs": 2, "batch_size": 5, "seed": 4, "device": "cpu", "precision": "float32"}
    changes: dict[str, object] = {"optimizer.learning_rate": 0.003, "schedule": "cosine", "patience": None}
    split = cohort / "split.csv"
    if recipe == "tiny-frozen":
        arguments |= {"weights": weights, "jobs": 2, "background": "black"}
        changes |= {"head": ["average", "dense=4", "softmax"], "augmentation": {"flip": True, "rotation": 30}}
        split = folds
    images, manifest = cohort / "images", cohort / "manifest.csv"
    run = train_network(images, manifest, split, tmp_path / "run", recipe=recipe, changes=changes, **arguments)
    program, *words = run.info.command
    assert (program, words[-2:]) == ("leukobench", ["-o", str(tmp_path / "run")])
    result = CliRunner().invoke(main, [*words[:-1], str(tmp_path / "again")])
    assert result.exit_code == 0, result.output
    repeated = (tmp_path / "again" / "predictions.csv").read_bytes()
    assert repeated == (tmp_path / "run" / "predictions.csv").read_bytes()
    assert read_run_folder(tmp_path / "again").info.changed == run.info.changed
