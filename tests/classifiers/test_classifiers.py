from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import FunctionTransformer

from classifiers.calibration import calibrate
from classifiers.recipes import recipe_named
from classifiers.search import group_folds, search
from classifiers.storage import load_model
from classifiers.training import train
from features.extractor import extract
from study.errors import StudyError
from study.indexing import scan_folder
from study.manifest import read_manifest, write_manifest
from study.partition import Choice, split_by_subject, write_partition
from study.run import Run


@pytest.fixture(scope="module", params=["svm", "knn"])
def run(request: pytest.FixtureRequest, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / request.param
    return train(cohort / "features.csv", cohort / "split.csv", out, family=request.param, seed=1)


def test_a_run_predicts_every_image_of_the_split_once(run: Run, cohort: Path) -> None:
    partition = pd.read_csv(cohort / "split.csv", dtype=str)
    assert run.predictions["path"].tolist() == partition["path"].tolist()
    assert run.predictions["part"].tolist() == partition["part"].tolist()
    assert run.predictions["score"].between(0, 1).all()
    assert run.metrics["train"]["auroc"] > 0.8


def test_the_stored_model_gives_the_scores_that_were_written(run: Run, cohort: Path) -> None:
    table = pd.read_csv(cohort / "features.csv").set_index("path").loc[run.predictions["path"]]
    score = load_model(run.folder / "model.skops").predict_proba(table.to_numpy())[:, 1]
    assert run.predictions["score"].to_numpy() == pytest.approx(score, abs=1e-9)


def test_test_rows_have_no_part_in_the_model(run: Run, cohort: Path, tmp_path: Path) -> None:
    table = pd.read_csv(cohort / "features.csv")
    partition = pd.read_csv(cohort / "split.csv").set_index("path")["part"]
    strange = (table["path"].map(partition) != "train").to_numpy()
    table.loc[strange, table.columns[1:]] *= 1000.0
    table.to_csv(tmp_path / "strange.csv", index=False)
    again = train(tmp_path / "strange.csv", cohort / "split.csv", tmp_path / "run", family=run.info["family"], seed=1)
    trained_on = run.predictions["part"] == "train"
    assert again.predictions["score"][trained_on].tolist() == run.predictions["score"][trained_on].tolist()


def test_equal_seeds_give_equal_runs_for_any_number_of_processes(run: Run, cohort: Path, tmp_path: Path) -> None:
    again = train(
        cohort / "features.csv", cohort / "split.csv", tmp_path / "run", family=run.info["family"], seed=1, jobs=2
    )
    for name in ("predictions.csv", "metrics.json", "search.csv"):
        assert (again.folder / name).read_bytes() == (run.folder / name).read_bytes()


def test_a_cross_validation_keeps_each_image_as_it_was_tested(folds: Path, cohort: Path, tmp_path: Path) -> None:
    run = train(cohort / "features.csv", folds, tmp_path / "knn", family="knn", seed=1)
    assert sorted(run.predictions["path"]) == sorted(pd.read_csv(cohort / "features.csv")["path"])
    assert set(run.predictions["part"]) == {"test"}
    single = train(cohort / "features.csv", folds / "fold_1.csv", tmp_path / "single", family="knn", seed=1)
    expected = single.part("test").set_index("path")["score"]
    assert run.predictions[run.predictions["fold"] == "1"].set_index("path")["score"].to_dict() == expected.to_dict()
    models = {file.name for file in run.folder.glob("*.skops")}
    assert models == {"model.skops", "model_fold_0.skops", "model_fold_1.skops", "model_fold_2.skops"}


def test_folds_hold_whole_groups_and_both_classes() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 14, 300)
    positive = groups % 3 > 0
    folds = group_folds(positive, groups, 0, "split.csv")
    assert 2 <= len(folds) <= 5
    for train_rows, held_out in folds:
        assert not set(groups[train_rows]) & set(groups[held_out])
        assert len(set(positive[held_out])) == len(set(positive[train_rows])) == 2
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(300))


def test_one_group_of_a_class_is_too_few_to_choose_by() -> None:
    groups = np.array(["1", "1", "H1", "H2"])
    with pytest.raises(StudyError, match=r"split\.csv: the training part has 1 subject group of one class"):
        group_folds(np.array([True, True, False, False]), groups, 0, "split.csv")


def test_the_search_scores_each_fold_by_the_auroc_of_people_left_out() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(12), 20)
    positive = groups % 2 == 0
    values = rng.normal(size=(240, 4)) + positive[:, None]
    folds = group_folds(positive, groups, 0, "split.csv")
    best, table = search(recipe_named("leukobench-knn", "knn"), values, positive, folds, 0, 1)
    row = table.loc[table["auroc_mean"].idxmax()]
    assert best.named_steps["classify"].n_neighbors == row["n_neighbors"]
    train_rows, held_out = folds[0]
    score = best.fit(values[train_rows], positive[train_rows]).predict_proba(values[held_out])[:, 1]
    assert row["auroc_fold_0"] == pytest.approx(roc_auc_score(positive[held_out], score))


def test_images_without_features_are_refused_unless_they_are_known_to_have_failed(cohort: Path, tmp_path: Path) -> None:
    table = pd.read_csv(cohort / "features.csv")
    lost = table["path"].iloc[2]
    table.drop(index=2).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(StudyError, match=rf"names 1 of 40 images that .* lacks \(first: {lost}\)"):
        train(tmp_path / "a.csv", cohort / "split.csv", tmp_path / "run", family="knn")
    (tmp_path / "a.failures.csv").write_text(f"path,reason\n{lost},truncated\n")
    run = train(tmp_path / "a.csv", cohort / "split.csv", tmp_path / "run", family="knn")
    assert run.info["excluded"] == {lost: "truncated"}
    assert len(run.predictions) == 39


def test_calibration_never_turns_the_order_of_the_scores_round() -> None:
    # blasts have the higher value among the first people and the lower one among the others, so that each half
    # scores below chance by what was learned on the other
    rng = np.random.default_rng(0)
    positive, first = rng.random(200) < 0.5, np.arange(200) < 110
    values = (rng.normal(size=200) + np.where(positive == first, 2, -2))[:, None]
    folds = [(np.flatnonzero(first), np.flatnonzero(~first)), (np.flatnonzero(~first), np.flatnonzero(first))]
    pipeline = recipe_named("leukobench-svm", "svm").pipeline(0)
    model, note = calibrate(pipeline, folds, values, positive)
    assert note.startswith("not calibrated")
    decision = model.calibrated_classifiers_[0].estimator.decision_function(values)
    assert model.predict_proba(values)[:, 1] == pytest.approx(1 / (1 + np.exp(-decision)))

    steady = (rng.normal(size=200) + 2 * positive)[:, None]
    model, note = calibrate(pipeline, folds, steady, positive)
    assert note == ""
    assert roc_auc_score(positive, model.predict_proba(steady)[:, 1]) > 0.8


def test_a_model_file_with_foreign_types_is_not_loaded(tmp_path: Path) -> None:
    skops.io.dump(FunctionTransformer(np.linalg.inv), tmp_path / "model.skops")
    with pytest.raises(StudyError, match=r"holds numpy\.linalg"):
        load_model(tmp_path / "model.skops")
    (tmp_path / "text.skops").write_text("no model")
    with pytest.raises(StudyError, match="cannot be loaded"):
        load_model(tmp_path / "text.skops")


def test_real_blasts_are_told_from_normal_cells_of_people_never_seen(cnmc: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    for file in sorted(cnmc.rglob("*.bmp"))[::8]:
        link = images / file.relative_to(cnmc)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.resolve())
    write_manifest(scan_folder(images, jobs=2), tmp_path / "manifest.csv")
    partition = split_by_subject(read_manifest(tmp_path / "manifest.csv"), 0.3, Choice(seed=1))
    write_partition(partition, tmp_path / "manifest.csv", tmp_path / "split.csv")
    assert extract(images, tmp_path / "manifest.csv", tmp_path / "features.csv", jobs=2).failed == {}
    run = train(tmp_path / "features.csv", tmp_path / "split.csv", tmp_path / "svm", family="svm", jobs=2)
    assert run.metrics["test"]["auroc"] > 0.7
