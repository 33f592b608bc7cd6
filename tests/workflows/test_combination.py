"""Combined runs: the mean of the log odds, calibrated, as a run folder like any other."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.special import logit

import leukobench as lb
from leukobench.cli import main
from leukobench.cohort.manifest import read_manifest
from leukobench.cohort.partition import write_split
from leukobench.cohort.splitting import SplitOptions, split_in_folds


@pytest.fixture(scope="module")
def runs(cohort: Path, folds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of an SVM and a k-NN run of the same cross-validation, and `both`, their combination."""
    folder = tmp_path_factory.mktemp("runs")
    for name, settings in (("svm", {"C": 1, "gamma": 0.01}), ("knn", {"n_neighbors": 5, "metric": "euclidean"})):
        lb.train_classifier(
            cohort / "features.csv", folds, folder / name, recipe=f"leukobench-{name}", settings=settings,
            importance=False,
        )  # fmt: skip
    lb.combine([folder / "svm", folder / "knn"], folder / "both")
    return folder


def test_the_score_is_the_mean_of_the_log_odds(runs: Path) -> None:
    svm, knn, both = (
        lb.load_run(runs / name).predictions.set_index(["path", "fold"]) for name in ("svm", "knn", "both")
    )
    mean = (logit(svm["score"].clip(1e-9, 1 - 1e-9)) + logit(knn["score"].clip(1e-9, 1 - 1e-9))) / 2
    assert both.index.sort_values().equals(svm.index.sort_values())
    np.testing.assert_allclose(logit(both["raw_score"]), mean.reindex(both.index), atol=1e-4)


def test_a_combination_is_calibrated_on_the_validation_part_of_each_fold(runs: Path) -> None:
    run = lb.load_run(runs / "both")
    assert sorted(run.info.calibration) == ["0", "1", "2"]
    for fold, calibration in run.info.calibration.items():
        rows = run.part("validation", int(fold))
        if calibration is not None:
            assert (calibration.cells, calibration.groups) == (len(rows), rows["subject_group"].nunique())
            expected = calibration.intercept + calibration.slope * logit(rows["raw_score"])
            np.testing.assert_allclose(logit(rows["score"]), expected, atol=1e-5)


def test_new_images_get_the_score_of_the_test_part(runs: Path, cohort: Path, tmp_path: Path) -> None:
    """A copy of the run folder elsewhere scores the test images of a fold as they were scored in training."""
    shutil.copytree(runs / "both", tmp_path / "moved")
    run = lb.load_run(tmp_path / "moved")
    tested = run.part("test", 1)
    again = run.predict([cohort / "images" / path for path in tested["path"]], fold=1)
    np.testing.assert_allclose(again["score"], tested["score"], atol=1e-6)


def test_without_a_fold_the_mean_over_the_folds_predicts(runs: Path, cohort: Path) -> None:
    run = lb.load_run(runs / "both")
    images = [cohort / "images" / path for path in run.part("test", 0)["path"]]
    mean = np.mean([run.predict(images, fold=fold)["score"] for fold in (0, 1, 2)], axis=0)
    np.testing.assert_allclose(run.predict(images)["score"], mean, atol=1e-8)


def test_the_novelty_is_the_largest_of_a_member(runs: Path, cohort: Path) -> None:
    images = [cohort / "images" / path for path in lb.load_run(runs / "both").part("test", 0)["path"]]
    found = lb.load_run(runs / "both").predict(images, fold=0)
    members = [lb.load_run(runs / name).predict(images, fold=0)["novelty"] for name in ("svm", "knn")]
    np.testing.assert_allclose(found["novelty"], np.maximum(*members), atol=1e-6)
    assert found["out_of_distribution"].equals(found["novelty"] > 1)


def test_combined_runs_are_compared_and_explained(runs: Path, cohort: Path, tmp_path: Path) -> None:
    comparison = lb.compare([runs / "svm", runs / "knn", runs / "both"])
    assert set(comparison.table["run"]) == {"svm", "knn", "both"}
    image = cohort / "images" / lb.load_run(runs / "both").predictions["path"][0]
    done = CliRunner().invoke(main, ["explain", str(runs / "both"), str(image), "--brief", "-o", str(tmp_path / "why")])
    assert done.exit_code == 0, done.output
    assert sorted(folder.name for folder in (tmp_path / "why").iterdir()) == ["0_svm", "1_knn"]


def test_the_command_that_it_records_repeats_it(runs: Path, tmp_path: Path) -> None:
    command = list(lb.load_run(runs / "both").info.command[1:])
    command[-1] = str(tmp_path / "again")
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    first, again = (pd.read_csv(folder / "predictions.csv") for folder in (runs / "both", tmp_path / "again"))
    pd.testing.assert_frame_equal(first, again)


def test_runs_that_do_not_fit_together_are_refused(runs: Path, cohort: Path, tmp_path: Path) -> None:
    partitions = split_in_folds(read_manifest(cohort / "manifest.csv"), 3, SplitOptions(validation_size=0.2, seed=2))
    write_split(partitions, tmp_path / "other_folds")
    lb.train_classifier(
        cohort / "features.csv", tmp_path / "other_folds", tmp_path / "other", recipe="leukobench-knn",
        settings={"n_neighbors": 5, "metric": "euclidean"}, importance=False,
    )  # fmt: skip
    for given, message in (
        (["svm"], "takes at least two"),
        (["svm", "svm"], "is given twice"),
        (["svm", "both"], "is a combined run"),
        (["svm", str(tmp_path / "other")], "were trained on different splits"),
    ):
        with pytest.raises(lb.InputError, match=message):
            lb.combine([runs / name for name in given], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_changed_member_is_refused(runs: Path, cohort: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "both", tmp_path / "both")
    information = tmp_path / "both" / "members" / "0_svm" / "run.json"
    information.write_text(
        information.read_text(encoding="utf-8").replace("leukobench-svm", "another"), encoding="utf-8"
    )
    with pytest.raises(lb.InputError, match="0_svm: is missing, or was changed after it was combined"):
        lb.load_run(tmp_path / "both").predict(cohort / "images")
