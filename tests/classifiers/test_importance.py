from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from leukobench.classifiers.cells import LabelledCells
from leukobench.classifiers.importance import permutation_importance
from leukobench.classifiers.model import Model
from leukobench.classifiers.pipelines import fit_pipeline
from leukobench.classifiers.plots import importance_figure, search_figure
from leukobench.classifiers.recipes import RECIPES
from leukobench.core.plotting import save_figure


@pytest.fixture(scope="module")
def tested() -> tuple[Model, LabelledCells]:
    """A linear machine on cells of 20 people: size twice, noise, and a constant."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(20), 40)
    positive = group % 2 == 0
    size = rng.normal(size=800) + 2 * positive
    features = np.column_stack([size, size, rng.normal(size=800), np.ones(800)])
    cells = LabelledCells(features, positive, group.astype(str))
    settings = RECIPES["leukobench-svm"].changed({"kernel": "linear", "C": 1}).combinations()[0]
    return Model(fit_pipeline(settings, cells, 0)), cells


COLUMNS = ["size_a", "size_b", "noise_a", "constant_a"]


def test_what_says_nothing_costs_nothing_and_what_decides_costs_all(tested: tuple[Model, LabelledCells]) -> None:
    found = permutation_importance([tested], COLUMNS)
    model, cells = tested
    by_family = found.by_family.set_index("family")
    auroc = roc_auc_score(cells.positive, model.decision(cells.features))
    assert found.facts["auroc"] == pytest.approx(auroc)
    assert by_family.loc["size", "drop"] == pytest.approx(auroc - 0.5, abs=0.05)
    assert by_family.loc["constant", ["drop", "low", "high"]].tolist() == [0, 0, 0]
    assert abs(by_family.loc["noise", "drop"]) < 0.01
    assert by_family["features"].to_dict() == {"size": 2, "noise": 1, "constant": 1}
    size = by_family.loc["size"]
    assert 0.2 < size["low"] < size["drop"] < size["high"] < 0.6


def test_columns_that_say_the_same_hide_each_other_but_not_their_family(tested: tuple[Model, LabelledCells]) -> None:
    found = permutation_importance([tested], COLUMNS)
    alone = found.by_feature.set_index("feature")["drop"]
    assert alone["size_a"] < 0.7 * found.by_family.set_index("family")["drop"]["size"]


def test_importance_does_not_depend_on_the_number_of_threads(tested: tuple[Model, LabelledCells]) -> None:
    one, two = (permutation_importance([tested], COLUMNS, seed=3, jobs=jobs) for jobs in (1, 2))
    assert one.by_feature.equals(two.by_feature)
    assert one.by_family.equals(two.by_family)


def test_one_group_of_a_class_gives_no_interval_and_one_class_no_importance(
    tested: tuple[Model, LabelledCells],
) -> None:
    model, cells = tested
    few = cells.take(np.isin(cells.group, ["0", "1", "3"]))
    assert permutation_importance([(model, few)], COLUMNS).by_family["low"].isna().all()
    assert permutation_importance([(model, cells.take(cells.positive))], COLUMNS) is None


def test_of_many_cells_some_of_each_group_are_taken(tested: tuple[Model, LabelledCells]) -> None:
    model, cells = tested
    many = LabelledCells(*(np.concatenate([values] * 4) for values in (cells.features, cells.positive, cells.group)))
    facts = permutation_importance([(model, many), (model, many)], COLUMNS).facts
    assert (facts["cells"], facts["test_cells"], facts["subject_groups"]) == (2000, 6400, 20)


def searched(**settings: list[object]) -> pd.DataFrame:
    """A table of a search over all combinations of settings, better with each row."""
    rows = [dict(zip(settings, values, strict=True)) for values in itertools.product(*settings.values())]
    table = pd.DataFrame(rows)
    score = np.linspace(0.6, 0.9, len(rows))
    return table.assign(auroc_fold_0=score, auroc_fold_1=score, auroc_mean=score, auroc_min=score)


def test_the_figure_of_the_search_is_a_surface_or_lines() -> None:
    surface = search_figure(searched(kernel=["rbf"], C=[0.1, 1.0], gamma=[0.01, 0.1, 1.0])).axes[0]
    assert (surface.get_xlabel(), surface.get_ylabel()) == ("C", "gamma")
    assert [text.get_text() for text in surface.texts] == ["0.600", "0.780", "0.660", "0.840", "0.720", "0.900"]
    assert [text.get_text() for text in surface.texts if text.get_weight() == "bold"] == ["0.900"]
    assert surface.get_title() == "6 combinations over 2 folds of subject groups"
    lines = search_figure(searched(C=[0.1, 1.0], gamma=["scale", 0.1], kernel=["rbf", "poly"])).axes[0]
    assert lines.get_xlabel() == "C"
    assert lines.lines[0].get_label() == "gamma 0.1, kernel poly"  # the best first
    assert len(lines.lines) == 4
    points = search_figure(searched(select=["none", "anova:5"])).axes[0]
    assert points.get_xlabel() == "select"
    mixed = search_figure(searched(gamma=[0.1, "scale"], weight=["class", "subject"])).axes[0]
    assert [tick.get_text() for tick in mixed.get_xticklabels()] == ["0.1", "scale"]
    assert search_figure(searched(C=[1.0])) is None


def test_equal_figures_are_equal_files(tested: tuple[Model, LabelledCells], tmp_path: Path) -> None:
    found = permutation_importance([tested], COLUMNS)
    for name in ("a", "b"):
        save_figure(importance_figure(found), tmp_path / name)
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert "size_a" in (tmp_path / "a.svg").read_text()
