"""Contributions against closed forms, sums over all subsets, and gradients integrated numerically."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from leukobench.classifiers.attribution import contributions
from leukobench.classifiers.cells import LabelledCells
from leukobench.classifiers.model import Model
from leukobench.classifiers.pipelines import fit_pipeline
from leukobench.classifiers.recipes import RECIPES

RNG = np.random.default_rng(0)
CELL, REFERENCE = RNG.normal(size=5), RNG.normal(size=(4, 5))
PAIRWISE = RNG.normal(size=(5, 5))


def additive(cells: np.ndarray) -> np.ndarray:
    return np.sin(cells[:, 0]) + cells[:, 1] ** 3 - 2 * cells[:, 3]


def pairwise(cells: np.ndarray) -> np.ndarray:
    return np.sin(cells).sum(axis=1) + np.einsum("ni,ij,nj->n", cells, PAIRWISE, cells)


def jump(cells: np.ndarray) -> np.ndarray:
    return (cells[:, 0] + cells[:, 1] * cells[:, 2] * cells[:, 4] > 0.1).astype(float)


def shapley(score, cell: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Shapley's formula: over all subsets of the other features, weighted by their sizes."""
    features = len(cell)
    values = np.zeros(features)
    for own in range(features):
        others = [other for other in range(features) if other != own]
        for size in range(features):
            weight = math.factorial(size) * math.factorial(features - size - 1) / math.factorial(features)
            for subset in itertools.combinations(others, size):
                without = reference.copy()
                without[list(subset)] = cell[list(subset)]
                with_it = without.copy()
                with_it[own] = cell[own]
                values[own] += weight * (score(with_it[None]) - score(without[None]))[0]
    return values


def test_of_an_additive_score_each_feature_gets_its_own_term() -> None:
    found = contributions(additive, CELL, REFERENCE)
    zero = np.zeros(4)
    expected = np.column_stack(
        [
            np.sin(CELL[0]) - np.sin(REFERENCE[:, 0]),
            CELL[1] ** 3 - REFERENCE[:, 1] ** 3,
            zero,
            -2 * (CELL[3] - REFERENCE[:, 3]),
            zero,
        ]
    )
    assert found == pytest.approx(expected, abs=1e-12)
    assert (found[:, [2, 4]] == 0).all()  # features that the score does not look at


def test_where_no_more_than_two_features_act_together_one_pair_of_steps_gives_shapley_values() -> None:
    found = contributions(pairwise, CELL, REFERENCE, pairs=1)
    expected = [shapley(pairwise, CELL, start) for start in REFERENCE]
    assert found == pytest.approx(np.array(expected), abs=1e-12)


def test_small_steps_give_the_values_of_aumann_and_shapley() -> None:
    # of a^2 b c from 0 to 1: a gets the integral of 2t^3, which is 1/2, b and c that of t^3, 1/4; Shapley: 1/3 each
    found = contributions(
        lambda cells: cells[:, 0] ** 2 * cells[:, 1] * cells[:, 2], np.ones(3), np.zeros((1, 3)), pairs=100
    )
    assert found[0] == pytest.approx([1 / 2, 1 / 4, 1 / 4], abs=1e-3)


@pytest.mark.parametrize("score", [additive, pairwise, jump])
def test_contributions_add_up_to_the_difference_of_the_scores(score) -> None:
    many = np.random.default_rng(1).normal(size=(50, 5))
    found = contributions(score, CELL, many)
    assert found.sum(axis=1) == pytest.approx(score(CELL[None]) - score(many), abs=1e-12)


def test_equal_seeds_give_equal_contributions() -> None:
    def product(cells: np.ndarray) -> np.ndarray:
        return cells.prod(axis=1)

    one, same, other = (contributions(product, CELL, REFERENCE, seed=seed) for seed in (5, 5, 6))
    assert (one == same).all()
    assert (one != other).any()


def test_of_a_support_vector_machine_they_are_its_gradient_along_the_way() -> None:
    # 12 features that nearly say the same: the first two differ between the classes, the rest follow them
    rng = np.random.default_rng(2)
    positive = np.arange(200) % 2 == 0
    two = rng.normal(size=(200, 2)) + positive[:, None]
    features = np.hstack([two, two @ rng.normal(size=(2, 10)) + 0.1 * rng.normal(size=(200, 10))])
    cells = LabelledCells(features, positive, np.arange(200).astype(str))
    settings = RECIPES["leukobench-svm"].changed({"C": 1, "gamma": 0.01}).combinations()[0]
    model = Model(fit_pipeline(settings, cells, 0))

    def score(rows: np.ndarray) -> np.ndarray:
        return model.predict_proba(rows)[:, 1]

    cell, start = features[0], features[1]
    way = start + (np.arange(400) + 0.5)[:, None] / 400 * (cell - start)
    small = 1e-5 * np.eye(12)
    gradient = np.column_stack([(score(way + step) - score(way - step)) / 2e-5 for step in small])
    expected = gradient.mean(axis=0) * (cell - start)
    assert np.abs(expected).max() > 0.1
    found = contributions(score, cell, start[None], pairs=25)[0]
    assert found == pytest.approx(expected, abs=0.02 * np.abs(expected).max())
    coarse = contributions(score, cell, np.repeat(start[None], 25, axis=0)).mean(axis=0)
    assert coarse == pytest.approx(expected, abs=0.15 * np.abs(expected).max())
