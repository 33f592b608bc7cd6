from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.power import TTestPower

from leukobench.comparison.intervals import Measured, SubjectGroups
from leukobench.comparison.paired_tests import (
    delong,
    detectable,
    holm,
    mcnemar,
    swap_test,
    swap_test_of,
)

# The ovarian cancer patients of DeLong, DeLong & Clarke-Pearson 1988 with all three tests, as the SAS/STAT User's Guide
# prints them (example "Comparing Receiver Operating Characteristic Curves" of PROC LOGISTIC): albumin, total protein,
# Krebs-Goplerud score, and whether surgery helped.
_TABLE = """
    3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1
    3.8 5.7 5 1   3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0
    2.3 4.4 6 1   4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1
    3.1 6.6 6 1   4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0
    3.7 6.1 5 1   3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1
    3.3 5.7 6 1   3.7 6.9 5 1  3.6 6.6 5 1
"""
PATIENTS = np.array([float(number) for number in _TABLE.split()]).reshape(-1, 4)
HELPED = PATIENTS[:, 3] == 1
ALBUMIN, PROTEIN, KREBS_GOPLERUD = PATIENTS[:, 0], PATIENTS[:, 1], -PATIENTS[:, 2]


@pytest.mark.parametrize(
    ("test", "area", "difference", "error", "p"),  # against the K-G score's 0.7258, as SAS prints them
    [(ALBUMIN, 0.7366, 0.0108, 0.0953, 0.9102), (PROTEIN, 0.6478, -0.0780, 0.1046, 0.4561)],
)
def test_delong_on_the_published_patients(
    test: np.ndarray, area: float, difference: float, error: float, p: float
) -> None:
    assert roc_auc_score(HELPED, test) == pytest.approx(area, abs=5e-5)
    assert roc_auc_score(HELPED, KREBS_GOPLERUD) == pytest.approx(0.7258, abs=5e-5)
    assert delong(HELPED, test, KREBS_GOPLERUD) == pytest.approx((difference, error, p), abs=5e-5)


def test_delong_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    positive = rng.random(70) < 0.4
    first, second = rng.integers(0, 9, 70) + 2.0 * positive, rng.integers(0, 9, 70) + 1.0 * positive
    pairs = [
        (score[positive][:, None] > score[~positive]) + 0.5 * (score[positive][:, None] == score[~positive])
        for score in (first, second)
    ]
    gap = pairs[0] - pairs[1]  # of every positive with every negative
    variance = gap.mean(axis=1).var(ddof=1) / positive.sum() + gap.mean(axis=0).var(ddof=1) / (~positive).sum()
    expected = (gap.mean(), np.sqrt(variance), 2 * stats.norm.sf(abs(gap.mean()) / np.sqrt(variance)))
    assert delong(positive, first, second) == pytest.approx(expected)


def test_delong_of_equal_orders() -> None:
    score = np.array([0.1, 0.4, 0.3, 0.9])
    assert delong(np.array([False, True, False, True]), score, score**2) == (0, 0, 1)


def test_a_class_of_one_row_has_no_variance() -> None:
    difference, error, p = delong(np.array([True, False, False]), np.array([0.5, 0.1, 0.9]), np.array([0.5, 0.1, 0.2]))
    assert difference == -0.5
    assert np.isnan([error, p]).all()


def test_mcnemar_by_hand_and_as_a_binomial_test() -> None:
    first = np.array([True] * 8 + [False] * 2 + [True] * 30 + [False] * 5)
    second = np.array([False] * 8 + [True] * 2 + [True] * 30 + [False] * 5)
    first_only, second_only, p = mcnemar(first, second)
    assert (first_only, second_only) == (8, 2)
    assert p == pytest.approx(2 * (1 + 10 + 45) / 2**10)  # at most 2 heads, or tails, of 10 coins
    assert p == pytest.approx(stats.binomtest(8, 10).pvalue)
    assert mcnemar(first, first) == (0, 0, 1)


def test_holm_by_hand_and_by_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    for seed in range(5):
        p = np.random.default_rng(seed).random(7) ** 3
        # the largest, over the p-values up to this one, of the p-value times the number of those not smaller
        by_definition = [min(1, max(other * (p >= other).sum() for other in p[p <= own])) for own in p]
        assert holm(p) == pytest.approx(by_definition)
    assert holm([]) == []


def test_the_swap_test_is_scipys_permutation_test_of_signs() -> None:
    contributions = np.array([0.03, -0.01, 0.02, 0.05, 0.01, -0.02, 0.04, 0.015])
    exact = stats.permutation_test((contributions,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert swap_test(contributions) == pytest.approx(exact.pvalue)
    assert swap_test(np.zeros(5)) == 1
    many = np.tile(contributions, 4)  # too many for all swaps
    drawn = stats.permutation_test((many,), np.sum, permutation_type="samples", n_resamples=99_999, rng=1)
    assert swap_test(many) == pytest.approx(drawn.pvalue, abs=0.005)
    assert swap_test(np.full(40, 0.1)) == 1 / 10_000  # never 0


def test_any_metric_is_tested_by_the_same_swaps() -> None:
    first, second = np.array([3.0, 5.0, 4.0, 6.0]), np.array([1.0, 5.5, 2.0, 2.0])
    both = np.concatenate([first, second])
    found = swap_test_of(lambda weights: weights @ both / 4, 4)
    assert found == pytest.approx(swap_test((first - second) / 4))


def test_the_detectable_difference_has_the_stated_power() -> None:
    deviation = np.random.default_rng(0).normal(size=30)
    deviation = (deviation - deviation.mean()) / deviation.std(ddof=1)
    # the mean of 30 normal values, whose other class is constant: a paired t-test
    groups = SubjectGroups(pd.Index(range(60)), np.arange(60) < 30, np.ones(60, int))
    found = detectable(Measured(0.1, np.concatenate([deviation / 30, np.zeros(30)])), groups, margin=0.5)
    power = TTestPower().power(found.difference, nobs=30, alpha=0.05)
    assert power == pytest.approx(0.8, abs=0.005)
    low, high = 0.1 + np.array([-1, 1]) * stats.t.ppf(0.95, 29) / np.sqrt(30)
    assert found.equivalent is bool(low > -0.5 and high < 0.5)
    assert not detectable(Measured(0.3, np.concatenate([deviation / 30, np.zeros(30)])), groups, margin=0.5).equivalent
