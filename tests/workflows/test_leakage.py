from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from leukobench.cli import main
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest, write_manifest
from leukobench.cohort.partition import read_split
from leukobench.cohort.split_levels import SplitLevel
from leukobench.cohort.synthetic import generate_cohort
from leukobench.comparison.intervals import Estimate
from leukobench.core.errors import InputError, UnfinishedError
from leukobench.features.extractor import extract
from leukobench.results.run import read_run_folder
from leukobench.workflows.leakage import leakage
from leukobench.workflows.leakage_report import statements
from leukobench.workflows.level_bias import METRICS, LevelBias

WRITTEN = {"leakage.csv", "leakage.json", "leakage.md", "leakage.png", "leakage.svg", "splits", "runs"}


def make_cohort(folder: Path, tied: bool) -> Path:
    """Write images, manifest, ties and features of 16 generated subjects.

    With ties, of both classes, the second subject has a copy of an image of the first, and the third a rotated copy.
    """
    generate_cohort(folder / "images", subjects=16, cells_per_subject=6, seed=2)
    for label, first, second, third in (("all", "1", "2", "3"), ("hem", "H1", "H2", "H3")) if tied else ():
        image = next((folder / "images").rglob(f"UID_{first}_1_1_{label}.bmp"))
        shutil.copy(image, image.with_name(f"UID_{second}_7_1_{label}.bmp"))
        rotated = np.ascontiguousarray(np.rot90(cv2.imread(str(image))))
        cv2.imwrite(str(image.with_name(f"UID_{third}_7_1_{label}.bmp")), rotated)
    index_folder(folder / "images", out=folder / "manifest.csv")
    extract(folder / "images", folder / "manifest.csv", folder / "features.csv", feature_set="patel")
    return folder


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort with subject IDs that are tied by identical images, and others by near-duplicates."""
    return make_cohort(tmp_path_factory.mktemp("tied"), tied=True)


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort in which every subject ID is a subject."""
    return make_cohort(tmp_path_factory.mktemp("untied"), tied=False)


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["leakage", *map(str, arguments)])


def test_the_command_measures_every_level_and_keeps_everything(tied: Path, tmp_path: Path) -> None:
    out = tmp_path / "leakage"
    result = run_command(
        tied / "features.csv", tied / "manifest.csv", "--family", "knn", "--folds", 3, "--seeds", 2, "-o", out
    )
    assert result.exit_code == 0, result.output
    assert "at the level image (LEAKY: subjects shared between parts) against" in result.output
    assert "on the same 100 cells" in result.output
    assert {path.name for path in out.iterdir()} == WRITTEN
    assert sorted(tmp_path.iterdir()) == [out]
    table = pd.read_csv(out / "leakage.csv")
    assert table["level"].tolist() == list(SplitLevel) * 2
    assert (table["test_images"] == 100).all()
    assert (table["test_subjects"] == 12).all()
    for column in ("train_images", "train_all"):
        assert (table.groupby("seed")[column].nunique() == 1).all()
    seen = table.pivot(index="seed", columns="level", values="seen_subjects")
    assert (seen["subject-group"] == 0).all()
    assert (seen["image"] == 12).all()
    assert ((table["seen_images"] > 0) == (table["seen_subjects"] > 0)).all()
    assert ((table["seen_cells"] > 0) == (table["seen_subjects"] > 0)).all()
    manifest = read_manifest(tied / "manifest.csv").set_index("path")
    for _, row in table.iterrows():
        run = read_run_folder(out / "runs" / row["run"])
        assert run.info.leaky == row["leaky"] == (row["seen_subjects"] > 0)
        assert sorted(run.predictions["path"]) == sorted(manifest.index)
        seen_cells, seen_images = 0, 0
        for fold, partition in read_split(out / "splits" / row["run"].removeprefix("knn_")).by_fold():
            train, test = partition.part("train"), partition.part("test")
            assert set(run.part("test", fold)["path"]) == set(test["path"])
            assert len(train) == row["train_images"]
            seen_cells += test["subject_group"].isin(train["subject_group"]).sum()
            seen_images += train["subject_group"].isin(test["subject_group"]).sum()
        assert seen_cells == row["seen_cells"]
        assert round(seen_images / 3) == row["seen_images"]
    found = pd.DataFrame(json.loads((out / "leakage.json").read_text())["biases"])
    assert found["level"].tolist() == ["image", "subject-id", "identical-images"] * len(METRICS)
    for _, each in found.iterrows():
        mean = table.groupby("level")[each["metric"]].mean()
        assert each["value"]["value"] == pytest.approx(mean[each["level"]])
        assert each["reference"]["value"] == pytest.approx(mean["subject-group"])
        assert each["bias"]["value"] == pytest.approx(mean[each["level"]] - mean["subject-group"])
        assert each["bias"]["low"] < each["bias"]["value"] < each["bias"]["high"]


def test_without_ties_the_levels_of_ids_coincide_and_are_trained_once(untied: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run_command(
        untied / "features.csv", untied / "manifest.csv", "--family", "knn", "--folds", 3, "--seeds", 2, "-o", out
    )
    assert result.exit_code == 0, result.output
    for level in ("subject-id", "identical-images"):
        assert f"the level {level} keeps the same images together as subject-group" in result.output
    assert pd.read_csv(out / "leakage.csv")["level"].tolist() == ["image", "subject-group"] * 2
    assert len(list((out / "runs").iterdir())) == 4


def test_a_cluster_gives_the_same_biases(untied: Path, tmp_path: Path, dask: str) -> None:
    files, how = (untied / "features.csv", untied / "manifest.csv"), {"family": "knn", "folds": 2, "levels": ["image"]}
    here = leakage(*files, tmp_path / "here", **how)
    there = leakage(*files, tmp_path / "there", **how, backend="dask", scheduler=dask)
    assert there.table.equals(here.table)
    run = read_run_folder(there.folder / "runs" / there.table["run"][0])
    assert run.info.command[-6:-2] == ("--backend", "dask", "--scheduler", dask)


def test_only_the_chosen_levels_and_the_reference_are_trained(tied: Path, tmp_path: Path) -> None:
    options = ("--family", "knn", "--folds", 2, "--level", "identical-images", "--level", "image")
    result = run_command(tied / "features.csv", tied / "manifest.csv", *options, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    levels = pd.read_csv(tmp_path / "out" / "leakage.csv")["level"]
    assert levels.tolist() == ["image", "identical-images", "subject-group"]


@pytest.mark.parametrize(
    ("levels", "says"),
    [
        (["subject-group"], "the only split level is the reference"),
        (["patient"], "no split level 'patient'; choose from image, subject-id, identical-images, subject-group"),
        (["subject-id", "identical-images"], "subject-id and identical-images keep the same images together as"),
    ],
)
def test_levels_without_a_comparison_are_refused(untied: Path, tmp_path: Path, levels: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        leakage(untied / "features.csv", untied / "manifest.csv", tmp_path / "out", levels=levels)
    assert list(tmp_path.iterdir()) == []


def test_a_network_is_measured_beside_the_classifier_on_the_same_cells(
    untied: Path, tmp_path: Path, quick_network: str
) -> None:
    network = {"images": untied / "images", "recipe": quick_network, "epochs": 1}
    files = untied / "features.csv", untied / "manifest.csv"
    done = leakage(*files, tmp_path / "out", family="knn", folds=2, levels=["image"], **network)
    assert done.table["model"].tolist() == ["knn", "small-lightxception"] * 2
    for column in ("train_images", "test_images", "seen_images"):
        assert (done.table.groupby("level")[column].nunique() == 1).all()
    assert [each.model for each in done.biases] == ["knn"] * len(METRICS) + ["small-lightxception"] * len(METRICS)
    runs = [read_run_folder(tmp_path / "out" / "runs" / name) for name in done.table["run"]]
    assert [run.info.family for run in runs] == ["knn", "cnn"] * 2
    for one, other in (runs[:2], runs[2:]):
        assert set(one.predictions["path"]) == set(other.predictions["path"])


def test_an_interrupted_measurement_resumes(tied: Path, tmp_path: Path) -> None:
    arguments = {"family": "knn", "folds": 2, "seeds": 2}
    files = tied / "features.csv", tied / "manifest.csv"
    whole = leakage(*files, tmp_path / "whole", **arguments)
    shutil.copytree(tmp_path / "whole", tmp_path / "interrupted.partial")
    for name in ("leakage.csv", "leakage.json"):
        (tmp_path / "interrupted.partial" / name).unlink()
    run = json.loads((tmp_path / "whole" / "leakage.json").read_text())["run"]
    (tmp_path / "interrupted.partial" / "arguments.json").write_text(json.dumps(run))
    shutil.rmtree(tmp_path / "interrupted.partial" / "runs" / "knn_subject-group_seed_1")
    kept = (tmp_path / "interrupted.partial" / "runs" / "knn_image_seed_0" / "run.json").stat().st_mtime_ns
    for other in ({"seeds": 3}, {"folds": 3}, {"levels": ["image"]}):
        with pytest.raises(InputError, match="was written with other arguments"):
            leakage(*files, tmp_path / "interrupted", **arguments | other, resume=True)
    with pytest.raises(UnfinishedError, match="contains the unfinished results of an interrupted call"):
        leakage(*files, tmp_path / "interrupted", **arguments)
    work = tmp_path / "interrupted.partial"
    content = (work / "arguments.json").read_text()
    (work / "arguments.json").unlink()
    with pytest.raises(InputError, match=r"arguments\.json: cannot be read .*; remove .* and measure again"):
        leakage(*files, tmp_path / "interrupted", **arguments, resume=True)
    (work / "arguments.json").write_text(content)
    for left in (".knn_image_seed_0.lock", "network_image_seed_0.partial"):  # as killed trainings leave them
        (work / "runs" / left).touch()
    other = work / "runs" / "knn_subject-id_seed_1"
    info = (other / "run.json").read_text()
    found = json.loads(info)
    found["checksums"]["fold_0"] = "0" * 64
    (other / "run.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match="was trained on another split than"):
        leakage(*files, tmp_path / "interrupted", **arguments, resume=True)
    (other / "run.json").write_text(info)
    done = leakage(*files, tmp_path / "interrupted", **arguments, resume=True)
    assert all(path.name.startswith("knn_") for path in (done.folder / "runs").iterdir())
    assert (tmp_path / "interrupted" / "runs" / "knn_image_seed_0" / "run.json").stat().st_mtime_ns == kept
    assert done.table.equals(whole.table)
    for name in ("leakage.md", "leakage.png", "leakage.svg"):
        assert (tmp_path / "interrupted" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "interrupted.partial").exists()


def test_the_sentences_of_a_known_result() -> None:
    seen = {"image": (8, 40, 160), "subject-id": (1, 10, 20), "subject-group": (0, 0, 0)}
    rows = [
        {"model": "svm", "seed": seed, "level": level, "leaky": level != "subject-group", "train_images": 80}
        | {"test_images": 1000, "test_subjects": 12, "test_subjects_all": 8, "seen_subjects": subjects}
        | {"seen_cells": cells, "seen_images": images}
        for seed in range(2)
        for level, (subjects, cells, images) in seen.items()
    ]
    reference = Estimate(0.8, 0.7, 0.9)
    found = [
        LevelBias("svm", "auroc", SplitLevel.IMAGE, Estimate(0.9), reference, Estimate(0.1, 0.05, 0.15), 0.0004),
        LevelBias("svm", "auroc", SplitLevel.SUBJECT_ID, Estimate(0.81), reference, Estimate(0.01, -0.02, 0.04), 0.2),
        LevelBias("svm", "subject_weighted_auroc", SplitLevel.IMAGE, Estimate(0.7), reference, Estimate(-0.1), 0.01),
    ]
    said = statements(pd.DataFrame(rows), found, {SplitLevel.IDENTICAL_IMAGES: SplitLevel.SUBJECT_GROUP})
    assert said[0] == (
        "svm, AUROC of cells: 0.900 at the level image (LEAKY: subjects shared between parts) against 0.800 at the "
        "level subject-group (unseen subjects), on the same 1,000 cells: optimistic bias 0.100 (95% interval 0.050 "
        "to 0.150; p < 0.001)."
    )
    assert said[1].endswith("no significant difference, +0.010 (95% interval -0.020 to 0.040; p = 0.200).")
    assert "significantly lower by 0.100" in said[2]
    assert said[3:] == [
        "Every cell is tested once at each level, in each of 2 repeats, over which the AUROCs are averaged. All models "
        "are trained on 80 images, with the same number of each class.",
        "Of 12 subjects, in training while tested: 8 with 160 training images per fold at the level image; 1 with 20 "
        "training images per fold at the level subject-id; 0 with 0 training images per fold at the level "
        "subject-group.",
        "There are few subjects (8 with blasts and 4 with normal cells): the intervals may be too narrow.",
        "The p-values are corrected over 2 levels by Holm's method.",
        "In this cohort, the level identical-images keeps the same images together as subject-group: both have the "
        "same results.",
    ]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--seeds", 0), 2, "range"),
        (("--folds", 1), 2, "range"),
        (("--level", "patient"), 2, "'patient' is not one of"),
        (("--recipe", "small-lightxception"), 2, "needs both --images and --recipe"),
        (("--epochs", 3), 2, "are for a network"),
        (("--folds", 9), 1, "9 folds need 9 subject groups of each class; the cohort has 8 of"),
        (("--images", "IMAGES", "--recipe", "nothing"), 1, "no network recipe 'nothing'"),
    ],
)
def test_bad_input_ends_in_one_line_and_leaves_nothing(
    untied: Path, tmp_path: Path, options: tuple[object, ...], code: int, says: str
) -> None:
    options = tuple(untied / "images" if option == "IMAGES" else option for option in options)
    result = run_command(untied / "features.csv", untied / "manifest.csv", *options, "-o", tmp_path / "out")
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert says in next(line for line in result.output.splitlines() if line.startswith("Error: "))
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_without_its_ties_is_refused(untied: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes((untied / "manifest.csv").read_bytes())
    result = run_command(untied / "features.csv", tmp_path / "manifest.csv", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "manifest.ties.csv: is missing" in result.output


def test_features_of_another_manifest_are_refused(untied: Path, tmp_path: Path) -> None:
    write_manifest(read_manifest(untied / "manifest.csv").iloc[1:], tmp_path / "manifest.csv")
    result = run_command(untied / "features.csv", tmp_path / "manifest.csv", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "was extracted with another manifest" in result.output
