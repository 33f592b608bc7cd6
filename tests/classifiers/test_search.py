from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from leukobench.classifiers.calibration import calibrate, probability
from leukobench.classifiers.cells import LabelledCells
from leukobench.classifiers.estimator import BlastClassifier
from leukobench.classifiers.fitting import fit
from leukobench.classifiers.kernels import decision_values, kernel_matrix, resolve_gamma
from leukobench.classifiers.pipelines import fit_pipeline
from leukobench.classifiers.recipes import RECIPES, classical_recipe
from leukobench.classifiers.search import group_folds, search
from leukobench.core.errors import InputError
from leukobench.results.weights import cell_weights

SVM, KNN = RECIPES["leukobench-svm"], RECIPES["leukobench-knn"]


def people(count: int = 12, cells: int = 20, columns: int = 4, apart: float = 1.0, seed: int = 1) -> LabelledCells:
    """Cells of people, every second of whom has leukemia; blasts differ by `apart` deviations in every column."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(count), cells)
    positive = group % 2 == 0
    features = rng.normal(size=(len(group), columns)) + apart * positive[:, None]
    return LabelledCells(features, positive, group.astype(str))


def test_folds_hold_whole_groups_and_both_classes() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 14, 300)
    cells = LabelledCells(np.zeros((300, 1)), group % 3 > 0, group)
    folds = group_folds(cells, 0)
    assert 2 <= len(folds) <= 5
    for train_rows, held_out in folds:
        assert not set(group[train_rows]) & set(group[held_out])
        assert len(set(cells.positive[held_out])) == len(set(cells.positive[train_rows])) == 2
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(300))


def test_one_group_of_a_class_is_too_few_to_choose_by() -> None:
    cells = LabelledCells(np.zeros((4, 1)), np.array([True, True, False, False]), np.array(["1", "1", "H1", "H2"]))
    with pytest.raises(InputError, match="the training part has 1 subject group of one class"):
        group_folds(cells, 0)


def test_the_search_scores_svm_as_scikit_learn_does() -> None:
    cells = people(apart=0.5)
    folds = group_folds(cells, 0)
    plain = {"projection": "none", "weight": "class"}
    recipe = SVM.changed(
        plain | {"C": [0.1, 10], "gamma": [0.01, "scale"], "kernel": ["rbf", "linear", "poly"], "degree": 2}
    )
    settings, decision, tried = search(recipe, cells, folds, 0)
    assert len(tried) == 2 * 2 + 2 + 2 * 2  # a linear kernel has no gamma
    train, held_out = folds[1]
    for _, row in tried.iterrows():
        arguments = {"gamma": row["gamma"], "degree": 2} if row["kernel"] != "linear" else {}
        machine = SVC(C=row["C"], kernel=row["kernel"], class_weight="balanced", coef0=1, **arguments)
        plain = make_pipeline(StandardScaler(), machine).fit(cells.features[train], cells.positive[train])
        expected = roc_auc_score(cells.positive[held_out], plain.decision_function(cells.features[held_out]))
        assert row["auroc_fold_1"] == pytest.approx(expected, abs=2e-3)  # libsvm stops at a tolerance of 1e-3
    best = tried.loc[tried["auroc_mean"].idxmax()]
    assert (settings["kernel"], settings["C"]) == (best["kernel"], best["C"])
    assert best["auroc_fold_1"] == roc_auc_score(cells.positive[held_out], decision[held_out])


def test_the_search_scores_knn_as_scikit_learn_does() -> None:
    cells = people()
    cells.features[60] = cells.features[0]  # cells of two people at no distance from one another
    folds = group_folds(cells, 0)
    changes = {"projection": "none", "n_neighbors": [5, 15, 35, 75], "metric": ["euclidean", "manhattan"]}
    settings, decision, tried = search(KNN.changed(changes), cells, folds, 0)
    assert len(tried) == 4 * 2 * 2
    train, held_out = folds[0]
    machine = KNeighborsClassifier(
        settings["n_neighbors"], metric=settings["metric"], weights=settings["neighbor_weight"]
    )
    plain = make_pipeline(StandardScaler(), machine).fit(cells.features[train], cells.positive[train])
    expected = plain.predict_proba(cells.features[held_out])[:, 1]
    assert decision[held_out] == pytest.approx(expected, abs=1e-9)
    by_distance = tried[tried["neighbor_weight"] == "distance"].iloc[0]
    machine = KNeighborsClassifier(by_distance["n_neighbors"], metric=by_distance["metric"], weights="distance")
    plain = make_pipeline(StandardScaler(), machine).fit(cells.features[train], cells.positive[train])
    expected = roc_auc_score(cells.positive[held_out], plain.predict_proba(cells.features[held_out])[:, 1])
    assert by_distance["auroc_fold_0"] == pytest.approx(expected, abs=1e-9)


def test_the_cosine_metric_finds_the_neighbours_that_scikit_learn_finds() -> None:
    cells = people()
    folds = group_folds(cells, 0)
    changes = {"projection": "none", "n_neighbors": 9, "metric": "cosine", "neighbor_weight": "uniform"}
    settings, decision, _ = search(KNN.changed(changes), cells, folds, 0)
    for train, held_out in folds:
        plain = make_pipeline(StandardScaler(), KNeighborsClassifier(9, metric="cosine"))
        plain.fit(cells.features[train], cells.positive[train])
        assert decision[held_out] == pytest.approx(plain.predict_proba(cells.features[held_out])[:, 1])
    fitted = fit_pipeline(settings, cells, 0)
    plain = make_pipeline(StandardScaler(), KNeighborsClassifier(9, metric="cosine")).fit(
        cells.features, cells.positive
    )
    assert fitted.predict_proba(cells.features) == pytest.approx(plain.predict_proba(cells.features))


def test_columns_are_selected_inside_the_folds() -> None:
    # noise: whoever selects columns by all cells finds some that tell the classes of the very same cells
    cells = people(count=12, cells=5, columns=2000, apart=0.0)
    folds = group_folds(cells, 0)
    recipe = SVM.changed({"select": "anova:10", "C": 1, "gamma": "scale"})
    _, _, inside = search(recipe, cells, folds, 0)
    outside = SelectKBest(f_classif, k=10).fit_transform(cells.features, cells.positive)
    leaking = LabelledCells(outside, cells.positive, cells.group)
    _, _, leaked = search(SVM.changed({"C": 1, "gamma": "scale"}), leaking, folds, 0)
    assert leaked["auroc_mean"][0] > 0.9
    assert 0.3 < inside["auroc_mean"][0] < 0.7


@pytest.mark.parametrize("projection", ["pca:2", "nca:2"])
@pytest.mark.parametrize("select", ["none", "anova:3", "mutual-information:3"])
def test_every_step_is_fitted_on_the_cells_it_is_given(projection: str, select: str) -> None:
    cells = people(columns=6)
    cells.features[:, 5] = 1.0  # constant
    cells.features[:, 4] = 0.0
    cells.features[0, 4] = 1e-9  # nothing to learn, but not constant
    settings = SVM.changed({"select": select, "projection": projection, "C": 1, "gamma": 1}).combinations()[0]
    pipeline = fit_pipeline(settings, cells, 0)
    assert pipeline.named_steps["classify"].n_features_in_ == 2
    assert pipeline.named_steps["scale"].n_features_in_ == 5
    prepared = pipeline[:2].transform(cells.features)
    assert prepared.mean(axis=0) == pytest.approx(np.zeros(5), abs=1e-9)
    assert roc_auc_score(cells.positive, pipeline.decision_function(cells.features)) > 0.8
    if select != "none":
        kept = pipeline.named_steps["select"].transform(np.arange(5)[None])[0]
        assert set(kept) <= {0, 1, 2, 3}


def test_scaling_to_0_1_is_of_the_training_cells() -> None:
    cells = people()
    settings = RECIPES["clinton-svm"].combinations()[0]
    pipeline = fit_pipeline(settings, cells, 0)
    scaled = pipeline[:2].transform(cells.features)
    assert (scaled.min(), scaled.max()) == (0.0, pytest.approx(1.0))
    machine = pipeline.named_steps["classify"]
    plain = SVC().fit(scaled, cells.positive)  # library defaults
    assert machine.decision_function(scaled) == pytest.approx(plain.decision_function(scaled), abs=1e-9)


def test_weights_make_classes_or_subjects_count_the_same() -> None:
    group = np.array(["a", "b", "b", "b", "c", "c"])
    cells = LabelledCells(np.zeros((6, 1)), np.array([True] * 4 + [False] * 2), group)
    assert cell_weights("none", cells.positive, cells.group).tolist() == [1] * 6
    assert cell_weights("class", cells.positive, cells.group) == pytest.approx([0.75] * 4 + [1.5] * 2)
    assert cell_weights("subject", cells.positive, cells.group) == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3, 1, 1])
    assert cell_weights("class-subject", cells.positive, cells.group) == pytest.approx([1.5, 0.5, 0.5, 0.5, 1.5, 1.5])


def test_a_person_with_many_cells_counts_as_much_as_one_with_few() -> None:
    # blasts of one person lie to the left, those of four others to the right; of the one there are ten times as many
    group = np.repeat(["left", "1", "2", "3", "4", "H1", "H2"], [400, 10, 10, 10, 10, 50, 50])
    place = np.where(group == "left", -1.0, np.where(np.char.startswith(group, "H"), 0.0, 1.0))
    features = (place + np.random.default_rng(0).normal(scale=0.6, size=len(group)))[:, None]
    cells = LabelledCells(features, ~np.char.startswith(group, "H"), group)
    recipe = SVM.changed({"kernel": "linear", "C": 1, "weight": ["class", "class-subject"]})
    by_cell, by_person = (fit_pipeline(settings, cells, 0) for settings in recipe.combinations())
    left, right = by_cell.decision_function([[-1.0], [1.0]])
    assert left > right
    left, right = by_person.decision_function([[-1.0], [1.0]])
    assert left < right


@pytest.mark.parametrize("kernel", ["rbf", "linear", "poly"])
def test_decision_values_are_those_of_scikit_learn(kernel: str) -> None:
    cells = people(count=80, cells=30)  # more than one block
    machine = SVC(kernel=kernel, gamma=0.2, degree=2, coef0=1, C=0.1).fit(cells.features[::5], cells.positive[::5])
    expected = machine.decision_function(cells.features)
    assert decision_values(machine, cells.features) == pytest.approx(expected, abs=1e-9)


def test_kernel_matrix_and_gamma_are_those_of_scikit_learn() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 30, 5))
    assert kernel_matrix("rbf", a, b, 0.3) == pytest.approx(rbf_kernel(a, b, gamma=0.3), abs=1e-12)
    assert resolve_gamma("scale", a) == pytest.approx(1 / (5 * a.var()))
    assert resolve_gamma(0.25, a) == 0.25


def test_the_approximate_kernel_takes_over_says_so_and_loses_little() -> None:
    cells, unseen = people(count=20, cells=30, apart=0.6), people(count=20, cells=30, apart=0.6, seed=2)
    recipe = SVM.changed({"C": 1, "gamma": 0.1})
    exact, approximate = fit(recipe, cells), fit(recipe.changed({"approximate_above": 599}), cells)
    assert exact.notes == ()
    assert "approximate kernel (Nystroem, 500 components) for 600 training cells" in approximate.notes[0]
    assert "--" not in approximate.notes[0]  # a library says nothing about options of the command line
    assert approximate.support_vectors is None
    auroc = [roc_auc_score(unseen.positive, of.model.decision(unseen.features)) for of in (exact, approximate)]
    assert auroc[1] == pytest.approx(auroc[0], abs=0.02)


def test_platts_sigmoid_is_that_of_scikit_learn() -> None:
    cells = people(apart=0.4)
    folds = group_folds(cells, 0)
    base = LogisticRegression()
    decision = cross_val_predict(base, cells.features, cells.positive, cv=folds, method="decision_function")
    calibrator, chosen, note = calibrate(("sigmoid",), decision, cells.positive, folds)
    assert (chosen["method"], note) == ("sigmoid", "")
    plain = CalibratedClassifierCV(base, cv=folds, ensemble=False).fit(cells.features, cells.positive)
    ours = probability(calibrator, base.fit(cells.features, cells.positive).decision_function(cells.features), True)
    assert ours == pytest.approx(plain.predict_proba(cells.features)[:, 1], abs=1e-3)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration_never_turns_the_order_of_the_scores_round(method: str) -> None:
    rng = np.random.default_rng(0)
    positive = rng.random(200) < 0.5
    below_chance = np.where(positive, -1, 1) + rng.uniform(-0.9, 0.9, size=200)
    calibrator, chosen, note = calibrate((method,), below_chance, positive, [])
    assert note.startswith("not calibrated")
    assert (calibrator, chosen["method"]) == (None, "none")
    assert probability(None, below_chance, margin=True) == pytest.approx(expit(below_chance))


def test_calibration_is_chosen_on_further_groups() -> None:
    # the chance of a blast has a step in the decision value, which no sigmoid follows
    rng = np.random.default_rng(0)
    decision = rng.uniform(-3, 3, 4000)
    positive = rng.random(4000) < np.where(decision < 2, 0.3, 0.95)
    halves = np.arange(4000) < 2000
    folds = [(np.flatnonzero(halves), np.flatnonzero(~halves)), (np.flatnonzero(~halves), np.flatnonzero(halves))]
    _, chosen, _ = calibrate(("sigmoid", "isotonic"), decision, positive, folds)
    assert chosen["method"] == "isotonic"
    possible = np.mean(np.where(decision < 2, 0.3 * 0.7, 0.95 * 0.05))  # the Brier score of the true chances
    assert chosen["brier"]["isotonic"] == pytest.approx(possible, abs=0.01)
    assert chosen["brier"]["isotonic"] < chosen["brier"]["sigmoid"]


def test_nested_scores_are_of_models_that_saw_nothing_of_the_fold() -> None:
    cells = people(count=8, cells=10)
    classifier, values = BlastClassifier("leukobench-knn", n_neighbors=[5, 15]), pd.DataFrame(cells.features)
    outer = group_folds(cells, 7)
    arguments = {"params": {"groups": cells.group}, "method": "predict_proba"}
    score = cross_val_predict(classifier, values, cells.positive, cv=outer, **arguments)[:, 1]
    assert not np.isnan(score).any()
    train, held_out = outer[0]
    values.iloc[held_out] = 1e6
    alone = fit(KNN.changed({"n_neighbors": [5, 15]}), cells.take(train)).model
    assert score[held_out].tolist() == alone.predict_proba(cells.features[held_out])[:, 1].tolist()
    again = classifier.fit(values.iloc[train], cells.positive[train], cells.group[train])
    expected = alone.predict_proba(cells.features[train[:5]])
    assert again.predict_proba(values.iloc[train[:5]]) == pytest.approx(expected)


def test_a_value_given_replaces_the_recipes_and_a_wrong_one_is_refused() -> None:
    recipe = SVM.changed({"C": [1, 2.5], "kernel": "poly", "degree": 2, "criterion": "average-precision"})
    assert recipe.grid["C"] == (1.0, 2.5)
    assert len(recipe.combinations()) == 2 * len(SVM.grid["gamma"])
    _, _, tried = search(recipe.changed({"gamma": 1}), people(), group_folds(people(), 0), 0)
    assert "average_precision_mean" in tried
    with pytest.raises(InputError, match="no setting 'metric' of the recipe leukobench-svm"):
        SVM.changed({"metric": "cosine"})
    with pytest.raises(InputError, match="no svm recipe 'leukobench-knn'"):
        classical_recipe("leukobench-knn", "svm")
    few = KNN.changed({"n_neighbors": 500})
    with pytest.raises(InputError, match="too few for the settings of leukobench-knn"):
        search(few, people(), group_folds(people(), 0), 0)
