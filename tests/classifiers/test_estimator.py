"""BlastClassifier: scikit-learn's own checks, and the same computation as the commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from leukobench.classifiers.cells import LabelledCells
from leukobench.classifiers.estimator import BlastClassifier
from leukobench.classifiers.fitting import fit
from leukobench.classifiers.recipes import RECIPES
from leukobench.classifiers.training import train_classifier
from leukobench.cohort.partition import read_partition
from leukobench.cohort.splitters import SubjectKFold
from leukobench.core.errors import InputError

SVM = BlastClassifier(C=1, gamma=0.01)
KNN = BlastClassifier("leukobench-knn", n_neighbors=5, metric="euclidean")


@parametrize_with_checks([BlastClassifier(), BlastClassifier("leukobench-knn")])
def test_scikit_learns_own_checks_pass(estimator: BlastClassifier, check: Any) -> None:
    check(estimator)


def people(count: int = 10, cells: int = 8, columns: int = 4) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Features, whether each cell is a blast, and subject groups; every second person has leukemia."""
    group = np.repeat(np.arange(count), cells)
    blast = group % 2 == 0
    features = np.random.default_rng(1).normal(size=(len(group), columns)) + blast[:, None]
    names = [f"size_{number}" for number in range(columns)]
    return pd.DataFrame(features, columns=names), blast.astype(int), group.astype(str)


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [("leukobench-svm", {}), ("leukobench-svm", {"C": [1, 3], "select": "anova:10"}), ("leukobench-knn", {})],
)
def test_the_probabilities_are_those_of_a_run(
    cohort: Path, tmp_path: Path, recipe: str, settings: dict[str, Any]
) -> None:
    files = (cohort / "features.csv", cohort / "split.csv", tmp_path / "run")
    run = train_classifier(*files, recipe=recipe, settings=settings, importance=False, seed=2)
    table = pd.read_csv(cohort / "features.csv", index_col="path")
    rows = read_partition(cohort / "split.csv").part("train")
    classifier = BlastClassifier(recipe, seed=2, **settings)
    classifier.fit(table.loc[rows["path"]], rows["label"], groups=rows["subject_group"])
    probability = classifier.predict_proba(table.loc[run.predictions["path"]])
    assert classifier.classes_.tolist() == ["all", "hem"]
    assert np.round(probability[:, 0], 9).tolist() == run.predictions["raw_score"].tolist()
    predicted = np.where(run.predictions["raw_score"] >= 0.5, "all", "hem")
    assert classifier.predict(table.loc[run.predictions["path"]]).tolist() == predicted.tolist()
    assert classifier.settings_ == run.info.parameters["chosen"]["final"]
    assert classifier.feature_names_in_.tolist() == run.info.parameters["features"]
    written = pd.read_csv(run.folder / "search.csv")
    assert classifier.search_["auroc_mean"].tolist() == pytest.approx(written["auroc_mean"].tolist())


def test_clones_and_parameters_are_those_of_scikit_learn() -> None:
    classifier = BlastClassifier("leukobench-svm", C=[1, 3])
    assert clone(classifier).get_params() == classifier.get_params()
    assert classifier.get_params()["C"] == [1, 3]
    features, blast, group = people()
    classifier.set_params(C=0.5, gamma="scale", kernel="poly", degree=2).fit(features, blast, group)
    assert classifier.settings_["C"] == 0.5
    assert classifier.settings_["degree"] == 2


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (
            {"recipe": "svm"},
            r"no classical recipe 'svm' \(did you mean 'leukobench-svm'\?\); expected one of leukobench-svm",
        ),
        ({"C": [1, -1]}, "C=-1; expected a number above 0"),
        ({"n_neighbors": 5}, "no setting 'n_neighbors' of the recipe leukobench-svm"),
        ({"criterion": ["auroc", "balanced-accuracy"]}, "takes one value"),
        ({"projection": "pca:0"}, "projection='pca:0'; expected none, whiten, pca:NUMBER, nca:NUMBER"),
        ({"C": []}, "C is empty"),
    ],
)
def test_a_wrong_parameter_is_named_when_fitting(parameters: dict[str, Any], says: str) -> None:
    features, blast, group = people()
    with pytest.raises(InputError, match=says):
        BlastClassifier(**parameters).fit(features, blast, group)


def test_more_or_fewer_than_two_classes_are_refused() -> None:
    features, blast, group = people()
    with pytest.raises(InputError, match="y has 1 class"):
        SVM.fit(features, np.zeros(len(blast)), group)
    with pytest.raises(ValueError, match="Only binary classification is supported"):
        SVM.fit(features, np.arange(len(blast)) % 3, group)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        SVM.fit(features, blast, group[:-1])
    with pytest.raises(InputError, match="every feature is constant"):
        SVM.fit(np.ones((len(blast), 2)), blast, group)


@pytest.mark.parametrize("classifier", [SVM, KNN])
def test_it_is_cross_validated_over_subjects_with_or_without_metadata_routing(classifier: BlastClassifier) -> None:
    features, blast, group = people()
    arguments: dict[str, Any] = {"cv": SubjectKFold(5), "method": "predict_proba"}
    plain = cross_val_predict(classifier, features, blast, groups=group, params={"groups": group}, **arguments)
    expected = np.empty(len(blast))
    for train, test in SubjectKFold(5).split(features, blast, group):
        cells = LabelledCells(features.to_numpy()[train], blast[train] == 1, group[train])
        settings = {name: value for name, value in classifier.get_params().items() if name in ("C", "gamma")}
        recipe = RECIPES[classifier.recipe]
        if recipe.family == "knn":
            settings = {"n_neighbors": 5, "metric": "euclidean"}
        expected[test] = fit(recipe.changed(settings), cells).model.predict_proba(features.to_numpy()[test])[:, 1]
    assert plain[:, 1].tolist() == expected.tolist()
    assert roc_auc_score(blast, plain[:, 1]) > 0.8
    with sklearn.config_context(enable_metadata_routing=True):
        asked = clone(classifier).set_fit_request(groups=True)
        routed = cross_val_predict(asked, features, blast, params={"groups": group}, **arguments)
    assert routed.tolist() == plain.tolist()


def test_it_is_the_last_step_of_a_pipeline() -> None:
    features, blast, group = people()
    pipeline = make_pipeline(StandardScaler(), SVM).fit(features, blast, blastclassifier__groups=group)
    assert pipeline.score(features, blast) > 0.8


def test_with_one_subject_of_a_class_nothing_is_searched_or_calibrated_and_the_notes_say_so() -> None:
    features, blast, group = people()
    few = np.isin(group, ["0", "1", "3"])
    found = BlastClassifier().fit(features[few], blast[few], group[few])
    assert (found.settings_["C"], found.calibration_["method"]) == (1.0, "none")
    assert found.notes_[0].startswith("settings not searched and not calibrated: the training part has 1 subject group")
    assert BlastClassifier().fit(features, blast, group).notes_ == ()


def test_with_fewer_cells_than_neighbours_all_of_a_fold_vote() -> None:
    features, blast, group = people(count=4, cells=2)
    found = BlastClassifier("leukobench-knn", n_neighbors=50).fit(features, blast, group)
    assert found.settings_["n_neighbors"] == 4  # two folds of 8 cells
    assert (
        BlastClassifier("leukobench-knn", n_neighbors=[3, 50]).fit(features, blast, group).settings_["n_neighbors"] == 3
    )


def test_it_loads_neither_tensorflow_nor_opencv() -> None:
    code = (
        "import sys, leukobench.classifiers.estimator\n"
        "print([name for name in ('tensorflow', 'keras', 'cv2', 'matplotlib') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
