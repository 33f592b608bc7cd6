from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from leukobench.classifiers.cells import LabelledCells
from leukobench.classifiers.fitting import fit
from leukobench.classifiers.prediction import trained_model
from leukobench.classifiers.recipes import RECIPES
from leukobench.classifiers.storage import load_model, save_model
from leukobench.classifiers.training import train_classifier
from leukobench.cli import main
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest, write_manifest
from leukobench.cohort.partition import read_split, write_split
from leukobench.cohort.splitting import SplitOptions, split_by_image, split_by_subject
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer
from leukobench.features.extractor import extract
from leukobench.results.calibration import calibrated, fit_calibration
from leukobench.results.feature_table import TableFacts, facts_path, write_facts
from leukobench.results.run import RunFolder, read_run_folder

WRITTEN = (
    "predictions.csv",
    "metrics.json",
    "search.csv",
    "novelty.npz",
    "novelty.csv",
    "search.png",
    "search.svg",
    "importance.csv",
    "importance_by_family.csv",
    "importance.png",
    "importance.svg",
    "reference.csv",
    "model.skops",
)


@pytest.fixture(scope="module", params=["svm", "knn"])
def run(request: pytest.FixtureRequest, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("runs") / request.param
    return train_classifier(
        cohort / "features.csv", cohort / "split.csv", out, recipe=f"leukobench-{request.param}", seed=1
    )


def test_a_run_predicts_every_image_of_the_split_once(run: RunFolder, cohort: Path) -> None:
    partition = pd.read_csv(cohort / "split.csv", dtype=str)
    assert run.predictions["path"].tolist() == partition["path"].tolist()
    assert run.predictions["part"].tolist() == partition["part"].tolist()
    assert run.predictions["score"].between(0, 1).all()
    assert run.metrics["train"]["auroc"] > 0.8


def test_the_run_folder_holds_search_and_importance(run: RunFolder) -> None:
    assert {file.name for file in run.folder.iterdir()} == {*WRITTEN, "run.json", "README.md"}
    parameters = run.info.parameters
    tried = pd.read_csv(run.folder / "search.csv")
    best = tried.loc[tried["auroc_mean"].idxmax()]
    for name, value in parameters["chosen"]["final"].items():
        assert str(best[name]) == str(value) or best[name] == value
    assert parameters["search_score"]["final"] == pytest.approx(best["auroc_mean"])
    by_fold = best.filter(regex=r"^auroc_fold_\d$").astype(float)
    assert best["auroc_mean"] == pytest.approx(by_fold.mean())
    assert best["auroc_min"] == by_fold.min()
    by_feature = pd.read_csv(run.folder / "importance.csv")
    assert sorted(by_feature["feature"]) == sorted(parameters["features"])
    assert by_feature["drop"].is_monotonic_decreasing
    by_family = pd.read_csv(run.folder / "importance_by_family.csv").set_index("family")["features"]
    assert by_family.to_dict() == by_feature["family"].value_counts().to_dict()
    assert run.info.importance["auroc"] == pytest.approx(run.metrics["test"]["auroc"])
    machine = load_model(run.folder / "model.skops").classifier
    if run.info.family == "svm":
        assert sum(parameters["support_vectors"]["final"].values()) == len(machine.support_)


def test_the_stored_model_gives_the_scores_that_were_written(run: RunFolder, cohort: Path) -> None:
    table = pd.read_csv(cohort / "features.csv").set_index("path").loc[run.predictions["path"]]
    raw_score = load_model(run.folder / "model.skops").predict_proba(table.to_numpy())[:, 1]
    assert run.predictions["raw_score"].to_numpy() == pytest.approx(raw_score, abs=1e-9)
    assert trained_model(run).score(table)["score"].tolist() == run.predictions["score"].tolist()


def test_the_probabilities_are_calibrated_on_the_validation_part(run: RunFolder) -> None:
    held = run.part("validation")
    development = run.predictions[run.predictions["part"] != "test"].drop_duplicates("subject_group")
    share = (development["label"] == "all").mean()
    expected = fit_calibration(held["raw_score"], held["label"] == "all", held["subject_group"], share=share)
    found = run.info.calibration_of(None)
    assert (found.groups, found.cells, found.share) == (held["subject_group"].nunique(), len(held), share)
    assert (found.intercept, found.slope) == pytest.approx((expected.intercept, expected.slope), abs=1e-4)
    assert "on validation" not in run.info.note
    score, raw_score = run.predictions["score"], run.predictions["raw_score"]
    assert score.to_numpy() == pytest.approx(calibrated(raw_score, found), abs=1e-9)
    assert (score - raw_score).abs().max() > 0.001  # 0.0098 or more, by processor; calibration left out would give 0


def test_without_a_validation_part_the_note_says_that_there_was_no_calibration(cohort: Path, tmp_path: Path) -> None:
    partition = split_by_subject(read_manifest(cohort / "manifest.csv"), 0.4, SplitOptions(validation_size=0, seed=1))
    write_split(partition, tmp_path / "split.csv")
    files = (cohort / "features.csv", tmp_path / "split.csv", tmp_path / "run")
    run = train_classifier(*files, recipe="leukobench-knn", importance=False)
    assert run.info.note == "not calibrated on validation: the split has no validation part"
    assert run.info.calibration == {"final": None}
    assert run.predictions["score"].tolist() == run.predictions["raw_score"].tolist()


def test_test_rows_have_no_part_in_the_model(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    table = pd.read_csv(cohort / "features.csv")
    partition = pd.read_csv(cohort / "split.csv").set_index("path")["part"]
    strange = (table["path"].map(partition) != "train").to_numpy()
    table.loc[strange, table.columns[1:]] *= 1000.0
    table.to_csv(tmp_path / "strange.csv", index=False)
    again = train_classifier(
        tmp_path / "strange.csv", cohort / "split.csv", tmp_path / "run", recipe=run.info.recipe, seed=1
    )
    trained_on = run.predictions["part"] == "train"
    assert again.predictions["raw_score"][trained_on].tolist() == run.predictions["raw_score"][trained_on].tolist()
    other = run.predictions["part"] != "train"
    assert again.predictions["raw_score"][other].tolist() != run.predictions["raw_score"][other].tolist()


def test_equal_seeds_give_equal_runs_for_any_number_of_processes(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    again = train_classifier(
        cohort / "features.csv", cohort / "split.csv", tmp_path / "run", recipe=run.info.recipe, seed=1, jobs=2
    )
    for name in set(WRITTEN) - {"model.skops"}:  # a zip archive has the time in it
        assert (again.folder / name).read_bytes() == (run.folder / name).read_bytes()


def test_a_cross_validation_keeps_each_image_as_it_was_tested(folds: Path, cohort: Path, tmp_path: Path) -> None:
    run = train_classifier(cohort / "features.csv", folds, tmp_path / "knn", recipe="leukobench-knn", seed=1)
    table = pd.read_csv(cohort / "features.csv").set_index("path")
    assert sorted(run.part("test")["path"]) == sorted(pd.read_csv(cohort / "features.csv")["path"])
    for fold, partition in read_split(folds).by_fold():
        assert run.part("validation", fold)["path"].tolist() == partition.part("validation")["path"].tolist()
        scored = trained_model(run, fold).score(table.loc[run.predictions["path"][run.predictions["fold"] == fold]])
        assert scored["score"].tolist() == run.predictions["score"][run.predictions["fold"] == fold].tolist()
    final = trained_model(run)  # fitted on every image, so that none is left to calibrate it on
    raw_score = load_model(run.folder / "model.skops").predict_proba(table.to_numpy())[:, 1]
    assert run.info.calibration["final"] is None
    assert final.score(table)["score"].to_numpy() == pytest.approx(raw_score, abs=1e-9)
    single = train_classifier(
        cohort / "features.csv", folds / "fold_1.csv", tmp_path / "single", recipe="leukobench-knn", seed=1
    )
    expected = single.part("test").set_index("path")["score"]
    assert run.part("test", 1).set_index("path")["score"].to_dict() == expected.to_dict()
    models = {file.name for file in run.folder.glob("*.skops")}
    assert models == {"model.skops", "model_fold_0.skops", "model_fold_1.skops", "model_fold_2.skops"}
    assert run.info.importance["cells"] == 40
    pooled = roc_auc_score(run.part("test")["label"] == "all", run.part("test")["score"])
    assert run.info.importance["auroc"] == pytest.approx(pooled)


def test_importance_can_be_left_out(cohort: Path, tmp_path: Path) -> None:
    run = train_classifier(
        cohort / "features.csv", cohort / "split.csv", tmp_path / "run", recipe="leukobench-knn", importance=False
    )
    assert run.info.importance is None
    assert not list(run.folder.glob("importance*"))


def test_what_was_given_is_recorded(cohort: Path, tmp_path: Path) -> None:
    settings = {"kernel": "linear", "C": 0.5, "weight": "subject", "select": "anova:5", "calibration": "isotonic"}
    run = train_classifier(
        cohort / "features.csv", cohort / "split.csv", tmp_path / "run", settings=settings, importance=False
    )
    parameters = run.info.parameters
    assert parameters["grid"]["kernel"] == ["linear"]
    assert parameters["calibration"] == ["isotonic"]
    assert parameters["chosen"]["final"] == {
        "scaling": "standard",
        "select": "anova:5",
        "projection": "whiten",
        "kernel": "linear",
        "C": 0.5,
        "weight": "subject",
    }
    machine = load_model(run.folder / "model.skops").classifier
    assert (machine.kernel, machine.C, machine.n_features_in_) == ("linear", 0.5, 5)


@pytest.mark.parametrize(
    ("recipe", "settings", "changed"),
    [
        (
            "leukobench-svm",
            {"C": [0.5, 2], "gamma": "scale", "weight": "subject", "approximate_above": 15},
            ("C=0.5,2.0", "gamma=scale", "weight=subject", "approximate_above=15"),
        ),
        (
            "leukobench-knn",
            {"n_neighbors": (3, 5), "projection": ["none", "pca:3"], "calibration": ["sigmoid", "isotonic"]},
            ("projection=none,pca:3", "n_neighbors=3,5", "calibration=sigmoid,isotonic"),
        ),
    ],
)
def test_the_recorded_command_repeats_the_run(
    cohort: Path, tmp_path: Path, recipe: str, settings: dict[str, object], changed: tuple[str, ...]
) -> None:
    files = (str(cohort / "features.csv"), cohort / "split.csv")
    run = train_classifier(*files, tmp_path / "a", recipe=recipe, settings=settings, importance=False, seed=3, jobs=2)
    assert sorted(run.info.changed) == sorted(changed)
    program, *arguments = run.info.command
    assert program == "leukobench"
    assert "--no-importance" in arguments
    where = arguments.index("--out")
    arguments[where + 1] = str(tmp_path / "b")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    for name in ("predictions.csv", "search.csv", "novelty.npz", "novelty.csv", "metrics.json"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
    again = read_run_folder(tmp_path / "b").info
    assert (again.changed, again.parameters, again.seed) == (run.info.changed, run.info.parameters, 3)


def test_a_value_of_the_recipe_itself_is_no_change(cohort: Path, tmp_path: Path) -> None:
    run = train_classifier(
        cohort / "features.csv",
        cohort / "split.csv",
        tmp_path / "run",
        settings={"C": [1, 3], "kernel": "rbf"},
        importance=False,
    )
    assert list(run.info.changed) == []
    assert "--C" not in run.info.command


def test_a_second_training_to_the_same_folder_is_told_at_once(cohort: Path, tmp_path: Path) -> None:
    files = (cohort / "features.csv", cohort / "split.csv", tmp_path / "run")
    with only_writer(tmp_path / "run"), pytest.raises(InputError, match="another process"):
        train_classifier(*files, recipe="leukobench-knn")
    assert not list(tmp_path.iterdir())


def test_images_without_features_are_refused_unless_they_are_known_to_have_failed(cohort: Path, tmp_path: Path) -> None:
    table = pd.read_csv(cohort / "features.csv")
    lost = table["path"].iloc[2]
    table.drop(index=2).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(InputError, match=rf"names 1 of 40 images that .* lacks \(first: {lost}\)"):
        train_classifier(tmp_path / "a.csv", cohort / "split.csv", tmp_path / "run", recipe="leukobench-knn")
    (tmp_path / "a.csv.failures.csv").write_text(f"path,reason\n{lost},truncated\n")
    run = train_classifier(tmp_path / "a.csv", cohort / "split.csv", tmp_path / "run", recipe="leukobench-knn")
    assert run.info.excluded == {lost: "truncated"}
    assert len(run.predictions) == 39


def test_the_recipe_of_clinton_says_that_their_split_leaks(cohort: Path, tmp_path: Path) -> None:
    table = tmp_path / "clinton19.csv"
    pd.read_csv(cohort / "features.csv").iloc[:, :20].to_csv(table, index=False)
    facts = TableFacts(
        feature_set="clinton19", feature_set_version="1", settings={}, background="black", columns=19, manifest=""
    )
    write_facts(facts, table, facts_path(table))
    manifest = cohort / "manifest.csv"
    write_split(split_by_image(read_manifest(manifest), 0.15, SplitOptions(seed=121)), tmp_path / "image.csv")
    leaky = train_classifier(table, tmp_path / "image.csv", tmp_path / "leaky", recipe="clinton-svm")
    assert "the split leaks" in leaky.info.note
    chosen = leaky.info.parameters["chosen"]["final"]
    assert (chosen["scaling"], chosen["kernel"], chosen["C"], chosen["gamma"]) == ("minmax", "rbf", 1.0, "scale")
    # predicted as the machine itself predicts: without calibration the threshold 0.5 is the sign of the decision value
    model = load_model(leaky.folder / "model.skops")
    features = pd.read_csv(table).set_index("path").loc[leaky.predictions["path"]].to_numpy()
    assert ((leaky.predictions["raw_score"] >= 0.5) == model.pipeline.predict(features)).all()
    honest = train_classifier(table, cohort / "split.csv", tmp_path / "honest", recipe="clinton-svm")
    assert "leak" not in honest.info.note


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("svm", {"select": "mutual-information:3", "projection": "pca:2", "calibration": "isotonic"}),
        ("svm", {"approximate_above": 10, "scaling": "minmax"}),
        ("svm", {"kernel": "poly", "calibration": "none"}),
        ("knn", {"n_neighbors": 5, "metric": "cosine", "projection": "nca:2", "calibration": "sigmoid"}),
    ],
)
def test_every_kind_of_model_comes_back_from_disk(family: str, settings: dict[str, str | int], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(8), 10)
    features = rng.normal(size=(80, 5)) + (group % 2 == 0)[:, None]
    cells = LabelledCells(features, group % 2 == 0, group.astype(str))
    one = {"C": 1, "gamma": 0.1} if family == "svm" else {}
    model = fit(RECIPES[f"leukobench-{family}"].changed(one | settings), cells).model
    save_model(model, tmp_path / "model.skops")
    assert (load_model(tmp_path / "model.skops").predict_proba(features) == model.predict_proba(features)).all()


def test_a_model_file_with_foreign_types_is_not_loaded(tmp_path: Path) -> None:
    skops.io.dump(FunctionTransformer(np.linalg.inv), tmp_path / "model.skops")
    with pytest.raises(InputError, match=r"contains numpy\.linalg"):
        load_model(tmp_path / "model.skops")
    skops.io.dump(StandardScaler(), tmp_path / "scaler.skops")
    with pytest.raises(InputError, match="contains a StandardScaler, not a model of leukobench"):
        load_model(tmp_path / "scaler.skops")
    (tmp_path / "text.skops").write_text("no model")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(tmp_path / "text.skops")


def test_real_blasts_and_normal_cells_of_unseen_subjects_are_separated_by_size(cnmc: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    # in folds 0 and 1 blasts are larger than normal cells; some normal subjects of fold 2 have large cells
    for file in sorted(cnmc.rglob("fold_[01]/*/*.bmp"))[::8]:
        link = images / file.relative_to(cnmc)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.resolve())
    write_manifest(index_folder(images, jobs=2), tmp_path / "manifest.csv")
    partition = split_by_subject(read_manifest(tmp_path / "manifest.csv"), 0.3, SplitOptions(seed=1))
    write_split(partition, tmp_path / "split.csv")
    assert (
        extract(images, tmp_path / "manifest.csv", tmp_path / "features.csv", feature_set="patel", jobs=2).failed == {}
    )
    run = train_classifier(tmp_path / "features.csv", tmp_path / "split.csv", tmp_path / "svm", jobs=2)
    assert run.metrics["test"]["auroc"] > 0.7
    # of all families, permuting shape and size costs most
    by_family = pd.read_csv(run.folder / "importance_by_family.csv")
    assert by_family["family"][0] == "geometry"
