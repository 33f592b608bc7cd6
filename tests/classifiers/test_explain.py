"""One cell's explanation by a score whose contributions can be worked out by hand, and the reference cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leukobench.classifiers.cells import LabelledCells
from leukobench.classifiers.explain import ClassifierExplanation, explain_cell, explanations_table
from leukobench.classifiers.plots import explanation_figure
from leukobench.classifiers.reference import OF_EACH_CLASS, REFERENCE, choose_reference, read_reference
from leukobench.core.errors import InputError
from leukobench.core.files import write_csv

UNITS = {"size_a": "px", "size_b": "px^2", "dye_a": "1", "dye_b": "grey levels"}


class Linear:
    """Scores 0.2 + 0.1 a + 0.05 b - 0.02 c, whatever d."""

    WEIGHTS = np.array([0.1, 0.05, -0.02, 0.0])

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        positive = 0.2 + features @ self.WEIGHTS
        return np.column_stack([1 - positive, positive])


@pytest.fixture(scope="module")
def found() -> ClassifierExplanation:
    blasts = [[1, 0, 0, 5], [2, 0, 1, 5], [3, 2, 0, 5], [4, 2, 1, 5]]
    normal = [[0, 1, 2, 5], [0, 3, 4, 5]]
    reference = LabelledCells(np.array(blasts + normal, float), np.arange(6) < 4, np.arange(6).astype(str))
    values = dict(zip(UNITS, (3.0, 4.0, 5.0, 5.0), strict=True))
    return explain_cell(Linear(), reference, values, Path("cells/a.bmp"), UNITS)


def test_contributions_and_their_errors_are_those_worked_out_by_hand(found: ClassifierExplanation) -> None:
    assert (found.score, found.predicted) == (0.6, "all")
    # means of the reference cells: 10/6, 8/6, 8/6
    assert found.reference_score == pytest.approx(0.2 + 1 / 6 + 0.4 / 6 - 0.16 / 6)
    by_feature = found.by_feature.set_index("feature")
    assert list(by_feature.index) == ["size_a", "size_b", "dye_a", "dye_b"]  # the largest first
    expected = [0.1 * (3 - 10 / 6), 0.05 * (4 - 8 / 6), -0.02 * (5 - 8 / 6), 0]
    assert by_feature["contribution"].to_numpy() == pytest.approx(expected, abs=1e-9)
    spread = np.std([1, 2, 3, 4, 0, 0], ddof=1) / np.sqrt(6)
    assert by_feature.loc["size_a", "standard_error"] == pytest.approx(0.1 * spread, abs=1e-9)
    assert by_feature.loc["dye_b", ["contribution", "standard_error"]].tolist() == [0, 0]
    by_family = found.by_family.set_index("family")
    assert by_family["features"].to_dict() == {"size": 2, "dye": 2}
    assert by_family["contribution"].sum() == pytest.approx(found.score - found.reference_score)
    of_both = np.std(np.array([1, 2, 3, 4, 0, 0]) * 0.1 + np.array([0, 0, 2, 2, 1, 3]) * 0.05, ddof=1) / np.sqrt(6)
    assert by_family.loc["size", "standard_error"] == pytest.approx(of_both, abs=1e-9)


def test_percentiles_count_half_of_those_that_have_the_same(found: ClassifierExplanation) -> None:
    by_feature = found.by_feature.set_index("feature")
    assert by_feature["percentile_all"].to_dict() == {"size_a": 62.5, "size_b": 100, "dye_a": 100, "dye_b": 50}
    assert by_feature["percentile_hem"].to_dict() == {"size_a": 100, "size_b": 100, "dye_a": 100, "dye_b": 50}


def test_a_line_and_a_row_say_what_pushed_which_way(found: ClassifierExplanation) -> None:
    assert found.line() == (
        "cells/a.bmp: predicted all (probability of all 0.600, mean of 6 reference cells 0.407); "
        "towards all: size +0.267, largest size_a +0.133; towards hem: dye -0.073, largest dye_a -0.073"
    )
    (row,) = explanations_table([found]).to_dict("records")
    assert list(row) == ["path", "score", "predicted", "reference_score", "dye", "size"]
    assert (row["path"], row["predicted"]) == ("cells/a.bmp", "all")
    assert row["reference_score"] + row["dye"] + row["size"] == pytest.approx(row["score"])


def test_the_figure_names_value_unit_and_place_of_each_feature(found: ClassifierExplanation) -> None:
    figure = explanation_figure(found, np.zeros((8, 8, 3), np.uint8))
    _, families, features = (axes for part in figure.subfigs for axes in part.axes)
    assert [text.get_text() for text in families.get_yticklabels()] == ["size\n2 features", "dye\n2 features"]
    labels = [text.get_text() for text in features.get_yticklabels()]
    assert labels[0] == "size_a\n3 px, above 62% of blasts, 100% of normal cells"
    assert labels[2].startswith("dye_a\n5, above")
    widths = [bar.get_width() for bar in features.patches]
    assert widths == pytest.approx(found.by_feature["contribution"].tolist())


def test_of_many_features_the_figure_draws_the_others_together(found: ClassifierExplanation) -> None:
    by_feature = pd.concat([found.by_feature] * 4, ignore_index=True)  # 16, of which 12 are drawn
    many = replace(found, by_feature=by_feature)
    features = explanation_figure(many, np.zeros((8, 8, 3), np.uint8)).subfigs[1].axes[0]
    assert features.get_yticklabels()[-1].get_text() == "all others together (4)"
    assert features.patches[-1].get_width() == pytest.approx(by_feature["contribution"][12:].sum())
    assert len(features.patches) == 13


def test_reference_cells_are_of_both_classes_and_of_every_person(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = [f"{number}.bmp" for number in range(140)]
    values = pd.DataFrame(
        rng.normal(size=(140, 3)) / 3, index=pd.Index(paths, name="path"), columns=["a", "b", "label"]
    )
    group = np.array(["01"] * 60 + ["02"] * 40 + [str(number) for number in range(10, 20)] + ["H1"] * 20 + ["H2"] * 10)
    label = np.where(np.char.startswith(group, "H"), "hem", "all")
    rows = pd.DataFrame({"path": paths, "label": label, "subject_group": group, "part": "train"}).iloc[::-1]
    chosen = choose_reference(values, rows, seed=1)
    assert chosen.iloc[:, 1].value_counts().to_dict() == {"all": OF_EACH_CLASS, "hem": OF_EACH_CLASS}
    of_group = chosen["subject_group"].value_counts()
    assert of_group[[str(number) for number in range(10, 20)]].tolist() == [1] * 10
    assert sorted(of_group[["01", "02"]]) == [7, 8]
    assert of_group[["H1", "H2"]].to_dict() == {"H1": 15, "H2": 10}
    assert chosen.equals(choose_reference(values, rows, seed=1))
    write_csv(chosen, tmp_path / REFERENCE)
    cells = read_reference(tmp_path)  # a column may even be called as one of the table's own
    assert (cells.features == values.loc[chosen["path"]].to_numpy()).all()
    assert cells.positive.sum() == OF_EACH_CLASS
    assert set(cells.group) == set(group)


def test_few_cells_are_all_taken(tmp_path: Path) -> None:
    values = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=["x", "y", "z"])
    rows = pd.DataFrame({"path": ["x", "y", "z"], "label": ["hem", "all", "all"], "subject_group": ["1", "2", "3"]})
    assert choose_reference(values, rows)["path"].tolist() == ["y", "z", "x"]
    with pytest.raises(InputError, match=r"contains no reference\.csv.*train again"):
        read_reference(tmp_path)
