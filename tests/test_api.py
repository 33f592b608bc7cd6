"""The public API as a notebook uses it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import leukobench as lb
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def runs(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, lb.Run]:
    """A run of each family on the generated cohort."""
    folder = tmp_path_factory.mktemp("runs")
    changes = {"input_side": 67, "head": ["average", "sigmoid"], "augmentation": None}
    return {
        "knn": lb.train_classifier(
            cohort / "features.csv",
            cohort / "split.csv",
            folder / "knn",
            recipe="leukobench-knn",
            settings={"n_neighbors": 5, "metric": "euclidean"},
            importance=False,
        ),
        "cnn": lb.train_network(
            cohort / "images",
            cohort / "manifest.csv",
            cohort / "split.csv",
            folder / "cnn",
            recipe="clinton-alexnet",
            changes=changes,
            epochs=1,
        ),
    }


def test_the_tour_goes_from_images_to_a_report(tmp_path: Path) -> None:
    lb.generate_cohort(tmp_path / "images", subjects=16, cells_per_subject=2)
    done = subprocess.run(
        [sys.executable, REPOSITORY / "docs" / "tour.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "report.html").is_file()
    assert {"svm", "knn"} <= set(done.stdout.split())
    assert len((REPOSITORY / "docs" / "tour.py").read_text().split('"""', 2)[2].strip().splitlines()) <= 30


def test_every_public_name_is_loaded_when_it_is_used() -> None:
    assert set(lb.__all__) <= set(dir(lb))
    for name in lb.__all__:
        assert getattr(lb, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = lb.no_such_name


@pytest.mark.parametrize("family", ["knn", "cnn"])
def test_a_run_predicts_images_as_in_training(runs: dict[str, lb.Run], cohort: Path, family: str) -> None:
    run = runs[family]
    predicted = run.predict(cohort / "images").set_index("path")
    expected = run.predictions.set_index("path")
    assert set(predicted.index) == set(expected.index)
    difference = predicted["score"] - expected["score"].loc[predicted.index]
    assert np.abs(difference).max() < (1e-5 if family == "cnn" else 1e-8)


@pytest.mark.parametrize("family", ["knn", "cnn"])
def test_single_files_are_predicted_and_broken_ones_are_named(
    runs: dict[str, lb.Run], cohort: Path, tmp_path: Path, family: str
) -> None:
    good = tmp_path / "good.bmp"
    shutil.copy(next((cohort / "images").rglob("*.bmp")), good)
    (tmp_path / "broken.bmp").write_bytes(good.read_bytes()[:999])
    table = runs[family].predict([good, tmp_path / "broken.bmp"])
    assert table["path"].tolist() == [str(good)]
    assert list(table.attrs["failures"]) == [str(tmp_path / "broken.bmp")]
    with pytest.raises(lb.InputError, match=r"none of 1 image could be (measured|read); the first: "):
        runs[family].predict([tmp_path / "broken.bmp"])


def test_a_run_that_is_loaded_again_is_the_same(runs: dict[str, lb.Run], cohort: Path) -> None:
    run = runs["knn"]
    again = lb.load_run(str(run.folder))
    assert again.info == run.info
    image = cohort / "images" / run.predictions["path"].iloc[0]
    assert again.predict([image])["score"].tolist() == run.predict([image])["score"].tolist()


def test_explanations_are_those_of_the_family(runs: dict[str, lb.Run], cohort: Path) -> None:
    path = cohort / "images" / runs["knn"].part("test")["path"].iloc[0]
    contributions = runs["knn"].explain(path)
    assert {"color", "geometry", "texture", "statistics"} <= set(contributions.by_family.iloc[:, 0])
    attribution = runs["cnn"].explain(path)
    assert attribution.score == pytest.approx(runs["cnn"].predict([path])["score"].iloc[0], abs=1e-5)


def test_options_of_networks_are_refused_by_classifiers(runs: dict[str, lb.Run], cohort: Path) -> None:
    with pytest.raises(lb.InputError, match="batch_size and device apply to networks only"):
        runs["knn"].predict(cohort / "images", batch_size=8)


def test_near_duplicates_are_found_in_any_orientation(cohort: Path, tmp_path: Path) -> None:
    files = sorted((cohort / "images").rglob("*.bmp"))[:6]
    pixels = lb.read_cell(files[0]).rgb
    import cv2

    for number, file in enumerate(files):
        shutil.copy(file, tmp_path / f"{number}.bmp")
    cv2.imwrite(str(tmp_path / "rotated.png"), np.rot90(np.pad(pixels, ((9, 9), (9, 9), (0, 0))))[..., ::-1])
    found = lb.find_near_duplicates(tmp_path)
    assert found[["path", "other"]].to_numpy().tolist() == [["0.bmp", "rotated.png"]]
    assert found["similarity"].iloc[0] > 0.99


def test_the_manifest_read_by_default_is_that_of_cnmc() -> None:
    manifest = lb.read_manifest()
    assert isinstance(manifest, pd.DataFrame)
    assert len(manifest) == 15_114
