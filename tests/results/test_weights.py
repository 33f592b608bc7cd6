"""Sample weights: what each kind makes equal."""

from __future__ import annotations

import numpy as np
import pytest

from leukobench.results.weights import FULL_WEIGHT_CELLS, cell_weights


def test_weights_of_the_classes_make_both_classes_weigh_the_same() -> None:
    positive = np.array([True] * 6 + [False] * 2)
    weights = cell_weights("class", positive, np.zeros(8))
    assert weights[positive].sum() == pytest.approx(weights[~positive].sum())
    assert weights.mean() == pytest.approx(1)


def test_weights_of_the_subjects_make_all_people_of_a_class_weigh_the_same() -> None:
    positive = np.array([True] * 6 + [False] * 4)
    group = np.array(list("aaaab" + "c" + "ddda"))  # a has cells of both classes
    weights = cell_weights("class-subject", positive, group)
    assert weights == pytest.approx(np.array([5 / 12] * 4 + [5 / 3] * 2 + [5 / 6] * 3 + [5 / 2]))
    assert weights.mean() == pytest.approx(1)


def test_capped_weights_let_no_cell_of_a_small_group_outweigh_one_of_a_group_of_25() -> None:
    cells = {"a": 100, "b": FULL_WEIGHT_CELLS, "c": 5, "d": 50, "e": 10}
    group = np.repeat(list(cells), list(cells.values()))
    positive = np.isin(group, ["a", "b", "c"])
    weights = cell_weights("class-subject-capped", positive, group)
    total = {name: weights[group == name].sum() for name in cells}
    assert total["a"] == pytest.approx(total["b"])
    assert total["c"] == pytest.approx(total["b"] * 5 / 25)
    assert total["e"] == pytest.approx(total["d"] * 10 / 25)
    assert total["a"] + total["b"] + total["c"] == pytest.approx(total["d"] + total["e"])
    assert weights.mean() == pytest.approx(1)
