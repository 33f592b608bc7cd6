from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from leukobench.cli import main
from leukobench.cnn.attribution import NetworkExplanation, explain_pixels, feature_maps, grad_cam
from leukobench.cnn.backend import keras
from leukobench.cnn.epochs import orient, undo_orientation
from leukobench.cnn.explain import explain, mean_line
from leukobench.cnn.network import build, positive_score
from leukobench.cnn.plots import diagram, tile_grid
from leukobench.cnn.recipe_catalog import network_recipe
from leukobench.cnn.recipe_changes import change_recipe
from leukobench.cnn.training import train_network
from leukobench.core.errors import InputError
from leukobench.results.run import RunFolder
from tests.conftest import REPOSITORY
from tests.formats import assert_described


@pytest.fixture(scope="module")
def run(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train_network(
        *(cohort / name for name in ("images", "manifest.csv", "split.csv")),
        tmp_path_factory.mktemp("run") / "small",
        recipe="small-lightxception",
        epochs=1,
        changes={"input_side": 64},
    )


def network(head: str | None = None, **changes: str) -> keras.Model:
    keras.utils.set_random_seed(3)
    changed = {"input_side": 64} | ({} if head is None else {"head": head.split(",")}) | changes
    return build(change_recipe(network_recipe("small-lightxception"), changed), None).whole


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)


HEADS = "average,sigmoid average,softmax average,batchnorm,sigmoid cell-average,sigmoid cell-average,batchnorm,sigmoid"


@pytest.mark.parametrize("head", HEADS.split())
def test_after_average_pooling_and_one_dense_layer_grad_cam_is_the_class_activation_map(head: str) -> None:
    # Selvaraju et al. 2017, section 3: there the weights of the maps are the dense layer's, over height times width
    loss = "CategoricalCrossentropy" if "softmax" in head else "BinaryCrossentropy"
    model, seen, weight = network(head, loss=loss), pixels(), np.ones((4, 4, 1))
    if head.startswith("cell"):  # the left half is background
        seen[:, :32], weight[:, :2], weight[:, 2:] = 0, 0, 2
    maps = feature_maps(model, seen)
    last = next(reversed(maps.values())) * weight
    kernel, usual = model.get_layer("head").layers[-1].kernel.numpy(), 0
    if "batchnorm" in head:  # the score is the mean of what differs from the usual, and a constant
        normalisation, usual = model.get_layer("head").layers[0], last.mean(axis=(0, 1)) * np.linspace(0, 2, 1024)
        variance = np.linspace(0.1, 3, 1024)
        for variable, values in ((normalisation.moving_mean, usual), (normalisation.moving_variance, variance)):
            variable.assign(values)
        kernel = kernel / np.sqrt(variance + normalisation.epsilon)[:, None]
    weights = kernel[:, 0] if kernel.shape[1] == 1 else kernel[:, 1] - kernel[:, 0]
    for positive, sign in ((True, 1), (False, -1)):
        expected = np.maximum((last - usual * weight) @ (sign * weights), 0)
        if expected.any():
            expected /= expected.max()
        assert grad_cam(model, seen, positive=positive) == pytest.approx(expected, abs=1e-4)


def test_attribution_on_the_background_is_that_outside_the_mask() -> None:
    heat, mask = np.zeros((4, 4)), np.zeros((4, 4), bool)
    mask[:, :2] = True
    heat[0, 0], heat[0, 3] = 1.0, 0.25
    found = NetworkExplanation(Path("cell.bmp"), 0.9, "all", np.zeros((4, 4, 3), np.uint8), mask, heat)
    assert found.on_background == pytest.approx(0.2)
    assert found.background == 0.5
    assert "20% of the attribution on the background, which is 50% of the image" in found.line()
    cold = NetworkExplanation(Path("cell.bmp"), 0.9, "all", found.pixels, mask, np.zeros((4, 4)))
    assert cold.on_background is None
    assert "no attribution" in cold.line()


def test_what_is_explained_is_the_predicted_class() -> None:
    model = network()
    found = explain_pixels(model, Path("cell.bmp"), pixels(), np.ones((64, 64), bool))
    assert found.score == pytest.approx(float(model.predict(pixels()[None], verbose=0)[0, 0]))
    assert found.predicted == ("all" if found.score >= 0.5 else "hem")
    assert found.attribution.shape == (64, 64)
    assert found.on_background == 0


def test_what_is_usual_at_each_place_of_flattened_maps_is_no_evidence() -> None:
    model = network("flatten,batchnorm,sigmoid")
    *_, last = feature_maps(model, pixels()).values()
    usual = last.copy()
    usual[1, 2] = 0
    model.get_layer("head").layers[0].moving_mean.assign(usual.ravel())
    heats = [grad_cam(model, pixels(), positive=positive) for positive in (True, False)]
    speaks_for = max(heats, key=lambda heat: heat[1, 2])
    assert np.argwhere(speaks_for > 1e-2).tolist() == [[1, 2]]


def test_score_and_attribution_are_means_over_the_views_of_the_recipe() -> None:
    model, mask = network("average,sigmoid"), np.ones((64, 64), bool)
    views = orient(np.repeat(pixels()[None], 8, axis=0), np.arange(8))
    scores = positive_score(model.predict(views, verbose=0))
    found = explain_pixels(model, Path("a.bmp"), pixels(), mask, views=8)
    assert found.score == pytest.approx(scores.mean(), abs=1e-6)
    assert np.ptp(scores) > 1e-6
    # to the mean over all views it makes no difference which of them is the upright one
    for turn in (1, 6):
        same = explain_pixels(model, Path("a.bmp"), views[turn], mask, views=8)
        assert same.score == pytest.approx(found.score, abs=1e-6)
        assert undo_orientation(same.attribution, turn) == pytest.approx(found.attribution, abs=1e-4)
    one = explain_pixels(model, Path("a.bmp"), pixels(), mask)
    assert not np.allclose(one.attribution, found.attribution, atol=1e-2)


def test_tiles_show_each_channel_from_its_lowest_to_its_highest_value() -> None:
    maps = np.zeros((16, 16, 3))
    maps[:8, :, 0], maps[:, :8, 1] = 5.0, -2.0
    grid = tile_grid(maps)
    assert grid.shape == (34, 34)  # two by two tiles of 16 px, 2 px between them
    assert np.array_equal(grid[:16, :16], np.where(np.arange(16)[:, None] < 8, 255, 0) * np.ones(16))
    assert np.array_equal(grid[:16, 18:], np.where(np.arange(16) < 8, 0, 255) * np.ones((16, 1)))
    assert not grid[18:, :16].any()  # a channel that is the same everywhere
    assert (grid[18:, 18:] == 96).all()  # no tile


@pytest.mark.parametrize("pooling", ["average", "cell-average", "flatten"])
def test_the_diagram_names_the_pooling_and_every_layer_of_the_head(pooling: str) -> None:
    drawn = diagram(network(f"{pooling},dropout=0.2,batchnorm,dense=8,sigmoid"), "any")
    texts = [text.get_text().replace("\n", " ") for text in drawn.axes[0].texts]
    assert texts[-5:] == [
        pooling.replace("-", " "),
        "dropout 0.2",
        "batch normalisation",
        "dense 8 relu",
        "dense 1 sigmoid",
    ]


def test_explain_writes_grad_cam_and_the_maps_of_every_layer(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    paths = [cohort / "images" / path for path in run.predictions["path"][:2]]
    found = explain(run.folder, paths, tmp_path / "seen", maps=True)
    assert_described(tmp_path / "seen", "explain")
    assert [each.score for each in found] == pytest.approx(run.predictions["score"][:2].tolist(), abs=1e-5)
    assert run.predictions["score"][:2].tolist() != run.predictions["raw_score"][:2].tolist()
    assert [each.predicted for each in found] == run.predictions["predicted"][:2].tolist()
    table = pd.read_csv(tmp_path / "seen" / "explanations.csv")
    assert table["path"].tolist() == [path.as_posix() for path in paths]
    assert table["background"].between(0.2, 0.95).all()
    layers = sorted((tmp_path / "seen" / f"001_{paths[0].stem}" / "layers").iterdir())
    assert len(layers) == 36  # of the network's 37 layers all but its input
    with Image.open(tmp_path / "seen" / f"001_{paths[0].stem}" / "grad_cam.png") as figure:
        assert figure.width > 1000
    summary = pd.read_csv(tmp_path / "seen" / "summary.csv")
    assert summary["parameters"].sum() == 1_248_060
    assert summary["output"].iloc[0] == "64 x 64 x 3"
    assert (tmp_path / "seen" / "diagram.svg").is_file()
    explain(run.folder, paths[:1], tmp_path / "without maps")
    of_image = tmp_path / "without maps" / f"001_{paths[0].stem}"
    assert [path.name for path in of_image.iterdir()] == ["grad_cam.png"]


def test_explain_refuses_what_it_cannot_explain(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    image = cohort / "images" / run.predictions["path"][0]
    (tmp_path / "broken.bmp").write_bytes(image.read_bytes()[:999])
    with pytest.raises(InputError, match=r"broken\.bmp: cannot be read"):
        explain(run.folder, [image, tmp_path / "broken.bmp"], tmp_path / "seen")
    with pytest.raises(InputError, match=r"contains no model_fold_1\.keras; it is not a cross-validation"):
        explain(run.folder, [image], tmp_path / "seen", fold=1)
    shutil.copytree(run.folder, tmp_path / "svm")
    text = (tmp_path / "svm" / "run.json").read_text()
    (tmp_path / "svm" / "run.json").write_text(text.replace('"family": "cnn"', '"family": "svm"'))
    with pytest.raises(InputError, match="which is no network; name a run of a network"):
        explain(tmp_path / "svm", [image], tmp_path / "seen")
    assert not (tmp_path / "seen").exists()


def test_the_command_explains_a_network_too(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    image = cohort / "images" / run.predictions["path"][0]
    result = CliRunner().invoke(main, ["explain", str(run.folder), str(image), "-o", str(tmp_path / "seen")])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-2].startswith(f"{image}: predicted ")
    assert "attribution on the background" in result.output.splitlines()[-2] or "no attribution" in result.output
    assert (tmp_path / "seen" / f"001_{image.stem}" / "grad_cam.png").is_file()
    assert_described(tmp_path / "seen", "explain")


def test_brief_explanations_report_the_mean_share_of_attribution_on_the_background(
    run: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    images = [str(cohort / "images" / path) for path in run.predictions["path"][:4]]
    result = CliRunner().invoke(main, ["explain", str(run.folder), *images, "--brief", "-o", str(tmp_path / "seen")])
    assert result.exit_code == 0, result.output
    names = {file.name for file in (tmp_path / "seen").iterdir()}
    assert names == {"summary.csv", "diagram.png", "diagram.svg", "explanations.csv"}
    warm = pd.read_csv(tmp_path / "seen" / "explanations.csv").dropna()
    share, background = warm["attribution_on_background"].mean(), warm["background"].mean()
    said = (
        f"{len(warm)} images: {share:.0%} of the attribution on the background, which is {background:.0%} of the images"
    )
    assert said in result.output
    cold = NetworkExplanation(Path("a"), 0.1, "hem", np.zeros((2, 2, 3)), np.ones((2, 2), bool), np.zeros((2, 2)))
    assert mean_line([cold, cold]) == "2 images: no attribution"


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed: pip install 'leukobench[jax]'"
)
def test_tensorflow_and_jax_give_the_same_grad_cam_and_load_the_same_file(run: RunFolder, tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from leukobench.cnn.attribution import grad_cam\n"
        "from leukobench.cnn.network import load_network\n"
        "pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)\n"
        "np.save(sys.argv[2], grad_cam(load_network(sys.argv[1]), pixels, positive=True))"
    )
    heat = {}
    for backend in ("tensorflow", "jax"):
        environment = os.environ | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
        arguments = [run.folder / "model.keras", tmp_path / f"{backend}.npy"]
        subprocess.run([sys.executable, "-c", code, *arguments], cwd=REPOSITORY, env=environment, check=True)
        heat[backend] = np.load(tmp_path / f"{backend}.npy")
    assert heat["jax"].shape == (4, 4)
    assert heat["jax"] == pytest.approx(heat["tensorflow"], abs=1e-3)
