"""The scores of an exported file in ONNX Runtime are those of `predict`."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from leukobench.classifiers.training import train_classifier
from leukobench.cli import main
from leukobench.cnn.architectures import ARCHITECTURES
from leukobench.cnn.backend import keras
from leukobench.cnn.data import read_square
from leukobench.cnn.network import build, positive_score
from leukobench.cnn.onnx_graph import add_model, add_network
from leukobench.cnn.recipe_catalog import network_recipe
from leukobench.cnn.scaling import SCALINGS
from leukobench.core.errors import InputError
from leukobench.results.calibration import Calibration, calibrated
from leukobench.results.onnx_graph import Graph
from leukobench.results.run import RunFolder
from leukobench.workflows.combination import combine
from leukobench.workflows.export import export_onnx
from leukobench.workflows.prediction import predict_images
from tests.cnn.test_prediction import trained as trained_network
from tests.conftest import REPOSITORY

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'leukobench[onnx]'")

SETTINGS: dict[str, dict[str, Any]] = {
    "svm": {"C": 1, "gamma": 0.01},
    "svm-poly": {"C": 1, "kernel": "poly", "gamma": 0.01, "scaling": "minmax", "projection": "pca:5"},
    "svm-approximate": {"C": 1, "gamma": 0.01, "approximate_above": 5, "select": "anova:9", "projection": "none"},
    "knn": {"n_neighbors": 5, "metric": "cosine", "neighbor_weight": "uniform"},
    "knn-manhattan": {
        "n_neighbors": 4, "metric": "manhattan", "neighbor_weight": "distance", "calibration": "isotonic",
        "projection": "nca:3",
    },
}  # fmt: skip


def scores(file: Path, given: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    score, raw_score = session.run(["score", "raw_score"], {session.get_inputs()[0].name: given})
    return score, raw_score, session.get_modelmeta().custom_metadata_map


@pytest.mark.parametrize("name", SETTINGS)
def test_classifiers_score_as_in_training(cohort: Path, tmp_path: Path, name: str) -> None:
    recipe = f"leukobench-{name.partition('-')[0]}"
    table, split = cohort / "features.csv", cohort / "split.csv"
    run = train_classifier(table, split, tmp_path / "run", recipe=recipe, settings=SETTINGS[name], importance=False)
    result = CliRunner().invoke(main, ["export", str(run.folder), "--onnx", "-o", str(tmp_path / "model.onnx")])
    assert result.exit_code == 0, result.output
    values = pd.read_csv(table, index_col="path")
    expected = run.predictions.set_index("path").loc[values.index]
    columns = json.loads(scores(tmp_path / "model.onnx", values.to_numpy(float))[2]["columns"])
    score, raw_score, facts = scores(tmp_path / "model.onnx", values[columns].to_numpy(float))
    assert np.abs(score - expected["score"]).max() < 1e-6
    assert np.abs(raw_score - expected["raw_score"]).max() < 1e-6
    assert expected["score"].std() > 0.01
    assert json.loads(facts["classes"]) == {"positive": "all", "negative": "hem"}
    assert json.loads(facts["checksums"])["model.skops"] == run.info.files["model.skops"]


@pytest.fixture(scope="module")
def network(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    files = (cohort / name for name in ("images", "manifest.csv", "split.csv"))
    return trained_network(
        *files, tmp_path_factory.mktemp("run") / "run", epochs=16, views=8, head=["cell-average", "sigmoid"]
    )


def test_a_network_scores_as_in_training_with_cell_average_and_views(
    network: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    (file,) = export_onnx(network, tmp_path / "network.onnx")
    images = [cohort / "images" / path for path in network.predictions["path"]]
    pixels = np.stack([read_square(image, "black", 320, 48) for image in images])
    score, raw_score, facts = scores(file, pixels)
    assert np.abs(score - predict_images(network, images).scored["score"]).max() < 1e-5
    assert np.abs(raw_score - network.predictions["raw_score"]).max() < 1e-5
    preprocessing = json.loads(facts["preprocessing"])
    assert (preprocessing["frame"], preprocessing["side"], preprocessing["views"]) == (320, 48, 8)


def test_the_networks_of_folds_are_files_whose_mean_is_that_of_predict(
    cohort: Path, folds: Path, tmp_path: Path
) -> None:
    run = trained_network(cohort / "images", cohort / "manifest.csv", folds, tmp_path / "run")
    files = export_onnx(run, tmp_path / "network.onnx")
    assert [file.name for file in files] == [f"network_fold_{fold}.onnx" for fold in range(3)]
    images = sorted((cohort / "images").rglob("*.bmp"))[:6]
    pixels = np.stack([read_square(image, "black", 320, 48) for image in images])
    mean = np.mean([scores(file, pixels)[0] for file in files], axis=0)
    assert np.abs(mean - predict_images(run, images).scored["score"]).max() < 1e-5
    with pytest.raises(InputError, match="choose one of the folds 0, 1, 2"):
        export_onnx(run, tmp_path / "other.onnx", fold=7)


@pytest.mark.parametrize(
    ("name", "side"), [("alexnet", 67), ("lightxception", 64), ("inceptionv3", 75), ("efficientnetb1", 64)]
)
def test_architectures_have_the_outputs_that_keras_computes(name: str, side: int, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    maps = ARCHITECTURES[name](side, None)
    images = keras.Input((side, side, 3))  # scaled as by Caffe, which reverses the channels
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps(SCALINGS["caffe"](images))))
    graph = Graph()
    outputs = graph.add("Cast", add_model(graph, model, "channels_first"), to=graph.onnx.TensorProto.DOUBLE)
    flat = graph.add("Reshape", outputs, graph.constant(np.array([-1])))
    pixels = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype(np.float32)
    given = "channels_first", graph.onnx.TensorProto.FLOAT, [3, side, side]
    graph.write(tmp_path / "model.onnx", given, flat, flat, {})
    found = scores(tmp_path / "model.onnx", pixels.transpose(0, 3, 1, 2))[0]
    expected = np.asarray(model.predict(pixels, verbose=0)).ravel()
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_recipe_of_the_readme_has_the_outputs_that_keras_computes(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    network = build(network_recipe("leukobench"), None).whole
    side, graph, calibration = network.input.shape[1], Graph(), Calibration(0.3, 1.4, groups=6, cells=60, share=0.5)
    raw_score, score = add_network(graph, network, "images", 1, calibration)
    graph.write(tmp_path / "a.onnx", ("images", graph.onnx.TensorProto.UINT8, [side, side, 3]), raw_score, score, {})
    pixels = np.random.default_rng(0).integers(0, 256, (4, side, side, 3), np.uint8)
    pixels[:, : side // 3] = 0
    expected = positive_score(network.predict(pixels, verbose=0))
    found, raw, _ = scores(tmp_path / "a.onnx", pixels)
    assert np.abs(raw - expected).max() < 1e-5
    assert np.abs(found - calibrated(expected, calibration)).max() < 1e-5


def test_the_examples_of_the_documentation_give_the_scores_of_predict(
    network: RunFolder, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_table, of_images = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "onnx.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    shutil.copy(cohort / "features.csv", tmp_path)
    shutil.copy(cohort / "features.csv.json", tmp_path)
    svm = train_classifier("features.csv", cohort / "split.csv", "svm", settings=SETTINGS["svm"], importance=False)
    export_onnx(svm, "svm.onnx")
    export_onnx(network, "network.onnx")
    found: dict[str, Any] = {}
    exec(of_table, found)
    expected = svm.predictions.set_index("path").loc[found["table"]["path"], "score"]
    assert np.abs(found["score"] - expected).max() < 1e-6
    shutil.copy(cohort / "images" / network.predictions["path"].iloc[0], "cell.bmp")
    exec(of_images, found)
    assert abs(found["score"][0] - predict_images(network, ["cell.bmp"]).scored["score"].iloc[0]) < 1e-5


def test_a_combined_run_is_refused_in_one_line(network: RunFolder, cohort: Path, tmp_path: Path) -> None:
    table, split, settings = cohort / "features.csv", cohort / "split.csv", SETTINGS["knn"]
    knn = train_classifier(table, split, tmp_path / "knn", recipe="leukobench-knn", settings=settings, importance=False)
    combined = combine([network, knn], tmp_path / "combined")
    with pytest.raises(InputError, match="is a combined run; export the runs in its folder members"):
        export_onnx(combined, tmp_path / "model.onnx")


def test_without_the_package_one_line_says_what_to_install(
    network: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = CliRunner().invoke(main, ["export", str(network.folder), "--onnx", "-o", str(tmp_path / "a.onnx")])
    assert result.exit_code == 1
    assert result.output == "Error: export to ONNX needs an extra: pip install 'leukobench[onnx]'\n"
    assert not list(tmp_path.iterdir())
