from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.classifiers.training import train_classifier
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest, write_manifest
from leukobench.cohort.partition import write_split
from leukobench.cohort.splitting import split
from leukobench.cohort.synthetic import GROUND_TRUTH, generate_cohort
from leukobench.features.extractor import extract


def auroc_by_image_and_by_subject(folder: Path, seed: int) -> tuple[float, float]:
    generate_cohort(folder / "images", subjects=12, cells_per_subject=8, seed=seed)
    write_manifest(index_folder(folder / "images"), folder / "manifest.csv")
    extract(folder / "images", folder / "manifest.csv", folder / "features.csv", jobs=2)
    manifest = read_manifest(folder / "manifest.csv")
    by_image = split(manifest, "image", test_size=1 / 3, validation_size=0, seed=seed)
    write_split(by_image, folder / "image.csv")
    write_split(split(manifest, "kfold", folds=3, validation_size=0, seed=seed), folder / "folds")
    runs = [
        train_classifier(folder / "features.csv", folder / name, folder / f"run-{name}", importance=False)
        for name in ("image.csv", "folds")
    ]
    assert [run.info.leaky for run in runs] == [True, False]
    return tuple(run.metrics["test"]["auroc"] for run in runs)


def test_an_image_level_split_has_an_optimistic_bias(tmp_path: Path) -> None:
    figures = np.array([auroc_by_image_and_by_subject(tmp_path / str(seed), seed) for seed in range(4)])
    by_image, by_subject = figures.mean(axis=0)
    assert by_image > by_subject + 0.01
    assert 0.75 < by_subject < 0.98  # the classes overlap, but can be told apart


def test_features_follow_the_ground_truth(tmp_path: Path) -> None:
    generate_cohort(tmp_path / "images", subjects=8, cells_per_subject=6, seed=5)
    write_manifest(index_folder(tmp_path / "images"), tmp_path / "manifest.csv")
    extract(tmp_path / "images", tmp_path / "manifest.csv", tmp_path / "features.csv", jobs=2)
    truth = pd.read_csv(tmp_path / "images" / GROUND_TRUTH).set_index("path")
    table = pd.read_csv(tmp_path / "features.csv").set_index("path").loc[truth.index]
    assert (table["geometry_area"] == truth["area"]).all()
    for channel in ("red", "green", "blue"):
        assert np.corrcoef(table[f"color_mean_{channel}"], truth[f"stain_{channel}"])[0, 1] > 0.9
    assert np.corrcoef(table["geometry_eccentricity"], truth["eccentricity"])[0, 1] > 0.8
    assert np.corrcoef(table["geometry_concavity"], truth["roughness"])[0, 1] > 0.3
