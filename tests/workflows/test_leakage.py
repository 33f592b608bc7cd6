from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from leukobench.cli import main
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest, write_manifest
from leukobench.cohort.partition import read_partition
from leukobench.cohort.synthetic import generate_cohort
from leukobench.core.errors import InputError, UnfinishedError
from leukobench.features.extractor import extract
from leukobench.results.run import read_run_folder
from leukobench.workflows.leakage import (
    _classical,
    _network,
    _train_all,
    _write_splits,
    leakage,
    matched_partitions,
)
from leukobench.workflows.leakage_report import METRICS, split_biases, statements

WRITTEN = {"leakage.csv", "leakage.json", "leakage.md", "leakage.png", "leakage.svg", "partitions", "runs"}


@pytest.fixture(scope="module")
def cohort_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images, manifest and features of 14 generated subjects."""
    folder = tmp_path_factory.mktemp("cohort_folder")
    generate_cohort(folder / "images", subjects=14, cells_per_subject=6, seed=2)
    write_manifest(index_folder(folder / "images"), folder / "manifest.csv")
    extract(folder / "images", folder / "manifest.csv", folder / "features.csv")
    return folder


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["leakage", *map(str, arguments)])


@pytest.mark.parametrize("seed", range(4))
def test_both_splits_have_as_many_images_of_each_class_in_each_part(cohort_folder: Path, seed: int) -> None:
    made = matched_partitions(read_manifest(cohort_folder / "manifest.csv"), 0.3, seed)
    sizes = [made[split].rows.groupby(["part", "label"]).size().to_dict() for split in ("image", "subject")]
    assert sizes[0] == sizes[1]
    assert set(sizes[0]) == {("train", "all"), ("train", "hem"), ("test", "all"), ("test", "hem")}
    assert sum(sizes[0].values()) >= 0.8 * 84  # little is cut away
    assert made["subject"].shared_groups == []
    assert len(made["image"].shared_groups) > 5
    assert made["image"].method == f"image-LEAKY test=0.3 validation=0.0 seed={seed} matched"


def test_the_command_measures_both_splits_and_keeps_everything(cohort_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "leakage"
    result = run_command(
        cohort_folder / "features.csv", cohort_folder / "manifest.csv", "--seeds", 2, "--test-size", 0.3, "-o", out
    )
    assert result.exit_code == 0, result.output
    assert "with the image-level split (LEAKY: subjects shared between parts)" in result.output
    assert {path.name for path in out.iterdir()} == WRITTEN
    assert sorted(tmp_path.iterdir()) == [out]
    table = pd.read_csv(out / "leakage.csv")
    assert table[["seed", "split"]].to_numpy().tolist() == [[0, "subject"], [0, "image"], [1, "subject"], [1, "image"]]
    for column in ("train_images", "train_all", "test_images", "test_all"):
        assert (table.groupby("seed")[column].nunique() == 1).all()
    assert (table.loc[table["split"] == "subject", "seen_subjects"] == 0).all()
    assert (table.loc[table["split"] == "image", "seen_subjects"] > 5).all()
    for _, row in table.iterrows():
        run = read_run_folder(out / "runs" / f"svm_seed_{row['seed']}_{row['split']}")
        assert run.info.leaky == (row["split"] == "image")
        assert run.metrics["test"]["auroc"] == pytest.approx(row["auroc"])
        partition = read_partition(out / "partitions" / f"seed_{row['seed']}_{row['split']}.csv")
        assert len(run.predictions) == len(partition.rows)
    found = {each["metric"]: each for each in json.loads((out / "leakage.json").read_text())["biases"]}
    assert set(found) == set(METRICS)
    gap = table.pivot(index="seed", columns="split", values="auroc")
    assert found["auroc"]["bias"] == pytest.approx((gap["image"] - gap["subject"]).mean())


def test_a_network_is_trained_on_the_images_that_the_classifier_is_trained_on(
    cohort_folder: Path, tmp_path: Path
) -> None:
    made = {0: matched_partitions(read_manifest(cohort_folder / "manifest.csv"), 0.3, 0)}
    paths = _write_splits(made, tmp_path / "partitions")
    options = {"recipe": "small-lightxception", "weights": None, "epochs": 1, "jobs": 1, "background": "black"}
    models = [
        _classical(cohort_folder / "features.csv", "knn", 1),
        _network(cohort_folder / "images", cohort_folder / "manifest.csv", options),
    ]
    one = {key: path for key, path in paths.items() if key == (0, "subject")}
    table = pd.DataFrame(_train_all(models, one, tmp_path / "runs"))
    assert table["model"].tolist() == ["knn", "small-lightxception"]
    assert table["train_images"].nunique() == 1
    network = read_run_folder(tmp_path / "runs" / "small-lightxception_seed_0_subject")
    assert network.info.family == "cnn"
    assert set(network.predictions["part"]) == {"train", "test"}


def test_an_interrupted_measurement_resumes(cohort_folder: Path, tmp_path: Path) -> None:
    arguments = {"family": "knn", "test_size": 0.3, "seeds": 2}
    files = cohort_folder / "features.csv", cohort_folder / "manifest.csv"
    whole = leakage(*files, tmp_path / "whole", **arguments)
    shutil.copytree(tmp_path / "whole", tmp_path / "interrupted.partial")
    for name in ("leakage.csv", "leakage.json"):
        (tmp_path / "interrupted.partial" / name).unlink()
    run = json.loads((tmp_path / "whole" / "leakage.json").read_text())["run"]
    (tmp_path / "interrupted.partial" / "arguments.json").write_text(json.dumps(run))
    shutil.rmtree(tmp_path / "interrupted.partial" / "runs" / "knn_seed_1_subject")
    kept = (tmp_path / "interrupted.partial" / "runs" / "knn_seed_0_image" / "run.json").stat().st_mtime_ns
    with pytest.raises(InputError, match="was written with other arguments"):
        leakage(*files, tmp_path / "interrupted", **arguments | {"seeds": 3}, resume=True)
    with pytest.raises(UnfinishedError, match="contains the unfinished results of an interrupted call"):
        leakage(*files, tmp_path / "interrupted", **arguments)
    done = leakage(*files, tmp_path / "interrupted", **arguments, resume=True)
    assert (tmp_path / "interrupted" / "runs" / "knn_seed_0_image" / "run.json").stat().st_mtime_ns == kept
    assert done.table.equals(whole.table)
    assert not (tmp_path / "interrupted.partial").exists()


def test_biases_and_sentences_of_a_table_counted_by_hand() -> None:
    rows = [
        {"model": "svm", "seed": seed, "split": split, "train_images": 80, "test_images": 20, "test_subjects": 5}
        | {"seen_subjects": 5 * (split == "image")}
        | dict.fromkeys(METRICS, 0.9 if split == "image" else 0.9 - gap)
        for seed, gap in enumerate((0.09, 0.10, 0.11))
        for split in ("image", "subject")
    ]
    table = pd.DataFrame(rows)
    found = {each.metric: each for each in split_biases(table)}
    assert (found["auroc"].image_level, found["auroc"].subject_level) == pytest.approx((0.9, 0.8))
    assert found["auroc"].bias == pytest.approx(0.1)
    # 4.303 (Student's t of 2) * sqrt((1/3 + 20/80) * 0.0001)
    assert found["auroc"].high - 0.1 == pytest.approx(0.03286, abs=1e-4)
    said = statements(table, list(found.values()))
    assert said[0].startswith(
        "svm, AUROC of cells: 0.900 with the image-level split (LEAKY: subjects shared between parts), 0.800 on unseen "
        "subjects; optimistic bias of the image-level split 0.100"
    )
    assert said[-1].endswith("training: 5 of 5 with the image-level split, 0 of 5 with the subject-level split.")


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--seeds", 1), 2, "range"),
        (("--recipe", "small-lightxception"), 2, "needs both --images and --recipe"),
        (("--epochs", 3), 2, "are for a network"),
        (("--test-size", 0.9), 1, "subject group"),
        (("--images", "IMAGES", "--recipe", "nothing"), 1, "no network recipe 'nothing'"),
    ],
)
def test_bad_input_ends_in_one_line_and_leaves_nothing(
    cohort_folder: Path, tmp_path: Path, options: tuple[object, ...], code: int, says: str
) -> None:
    options = tuple(cohort_folder / "images" if option == "IMAGES" else option for option in options)
    result = run_command(
        cohort_folder / "features.csv", cohort_folder / "manifest.csv", *options, "-o", tmp_path / "out"
    )
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    assert says in next(line for line in result.output.splitlines() if line.startswith("Error: "))
    assert list(tmp_path.iterdir()) == []


def test_features_of_another_manifest_are_refused(cohort_folder: Path, tmp_path: Path) -> None:
    write_manifest(read_manifest(cohort_folder / "manifest.csv").iloc[1:], tmp_path / "manifest.csv")
    result = run_command(cohort_folder / "features.csv", tmp_path / "manifest.csv", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "was extracted with another manifest" in result.output
