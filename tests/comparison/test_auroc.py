from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from leukobench.comparison.auroc import auroc, independent_pairs, swap_contributions
from leukobench.comparison.weighted_metrics import Scored


def scored(seed: int = 0, *, folds: int = 0, mixed: bool = False, ties: bool = False) -> Scored:
    """120 cells of 12 groups of unequal size; groups of one class, or of both."""
    rng = np.random.default_rng(seed)
    group = np.sort(rng.choice(12, 120, p=np.arange(1, 13) / 78))
    positive = rng.random(120) < 0.5 if mixed else group % 2 == 0
    score = rng.random(120) + 0.3 * positive
    if ties:
        score = np.round(score * 5)
    return Scored(positive, score, group, 12, group // 2 % folds if folds else None)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_both_aurocs_are_scikit_learns_with_the_weights_of_the_cells(ties: bool, mixed: bool) -> None:
    rows = scored(ties=ties, mixed=mixed)
    assert auroc(rows).value == pytest.approx(roc_auc_score(rows.positive, rows.score))
    of_cell = zip(rows.positive, rows.group, strict=True)
    size = np.array([((rows.group == g) & (rows.positive == of)).sum() for of, g in of_cell])
    weighted = roc_auc_score(rows.positive, rows.score, sample_weight=1 / size)
    assert auroc(rows, equal=True).value == pytest.approx(weighted)


def test_subjects_weighted_equally_is_the_mean_over_pairs_of_subjects() -> None:
    rows = scored()
    of_pairs = []
    for blast, normal in itertools.product(range(0, 12, 2), range(1, 12, 2)):
        both = np.isin(rows.group, [blast, normal])
        of_pairs.append(roc_auc_score(rows.positive[both], rows.score[both]))
    assert auroc(rows, equal=True).value == pytest.approx(np.mean(of_pairs))


def test_within_folds_the_auroc_is_the_mean_of_the_folds_weighted_by_their_pairs() -> None:
    rows = scored(folds=3)
    values, pairs = [], []
    for fold in range(3):
        inside = rows.fold == fold
        values.append(roc_auc_score(rows.positive[inside], rows.score[inside]))
        pairs.append(rows.positive[inside].sum() * (~rows.positive[inside]).sum())
    assert auroc(rows).value == pytest.approx(np.average(values, weights=pairs))


def test_a_fold_on_another_scale_does_not_change_the_auroc_within_folds() -> None:
    rows = scored(folds=3)
    other = Scored(rows.positive, rows.score / (1 + 5.0 * (rows.fold == 1)), rows.group, 12, rows.fold)
    assert auroc(other).value == pytest.approx(auroc(rows).value)
    pooled = [auroc(Scored(each.positive, each.score, each.group, 12)).value for each in (rows, other)]
    assert abs(pooled[0] - pooled[1]) > 0.01


@pytest.mark.parametrize("mixed", [False, True])
def test_the_influence_of_a_group_is_the_derivative_by_its_weight(mixed: bool) -> None:
    rows = scored(mixed=mixed)
    for group in range(12):
        inside = (rows.group == group).astype(float)
        ends = [roc_auc_score(rows.positive, rows.score, sample_weight=1 + step * inside) for step in (-1e-5, 1e-5)]
        assert auroc(rows).influence[group] == pytest.approx((ends[1] - ends[0]) / 2e-5, abs=1e-7)


@pytest.mark.parametrize("folds", [0, 2])
def test_signed_contributions_are_the_difference_after_swapping_the_ranks(folds: int) -> None:
    first, second = scored(folds=folds, mixed=True), scored(seed=5, folds=folds, mixed=True)
    second = Scored(first.positive, second.score, first.group, 12, first.fold)
    contributions = swap_contributions(first, second)
    assert contributions.sum() == pytest.approx(auroc(first).value - auroc(second).value)
    ranks = []
    for score in (first.score, second.score):
        ranks.append(score.copy())
        for fold in range(max(1, folds)):
            inside = first.fold == fold if folds else np.ones(120, bool)
            ranks[-1][inside] = rankdata(score[inside])
    for signs in np.random.default_rng(0).choice([-1, 1], (20, 12)):
        swapped = signs[first.group] < 0
        one, two = np.where(swapped, ranks[1], ranks[0]), np.where(swapped, ranks[0], ranks[1])
        one, two = (auroc(Scored(first.positive, each, first.group, 12, first.fold)).value for each in (one, two))
        assert signs @ contributions == pytest.approx(one - two)


def test_independent_pairs_have_no_group_in_common() -> None:
    assert independent_pairs(scored()) == 6
    assert independent_pairs(scored(folds=3)) == 6  # two of each class in each fold
    assert independent_pairs(Scored(np.array([True, False, False]), np.zeros(3), np.arange(3), 3)) == 1


def test_without_a_fold_of_both_classes_there_is_no_auroc() -> None:
    rows = Scored(np.array([True, False]), np.array([0.9, 0.1]), np.arange(2), 2, np.array([0, 1]))
    assert np.isnan(auroc(rows).value)
