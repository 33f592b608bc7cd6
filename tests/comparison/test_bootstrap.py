from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from leukobench.comparison.bootstrap import bca_interval, bca_p_value, draw_groups
from leukobench.comparison.resampled_metrics import Scored, auroc


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Thousands of small matrix products: threads would only wait for each other."""
    with threadpool_limits(1):
        yield


def cohort(subjects: int, cells: int) -> tuple[pd.Series, pd.Series]:
    """Labels and groups: as many subjects of each class, so many cells each."""
    group = pd.Series(np.repeat(np.arange(2 * subjects), cells))
    return pd.Series(np.where(group < subjects, "all", "hem")), group


def test_a_resample_draws_whole_groups_as_many_of_each_class_as_there_are() -> None:
    label, group = cohort(3, 4)
    draws = draw_groups(label, group, resamples=500, seed=1)
    assert draws.positive.tolist() == [True] * 3 + [False] * 3
    assert (draws.counts[:, :3].sum(axis=1) == 3).all()
    assert (draws.counts[:, 3:].sum(axis=1) == 3).all()
    assert len(np.unique(draws.counts, axis=0)) > 50  # of 10 x 10
    assert (draws.number(group) == group).all()
    assert (draw_groups(label, group, resamples=500, seed=1).counts == draws.counts).all()


def test_the_jackknife_leaves_each_group_out_once() -> None:
    label, group = cohort(2, 1)
    assert draw_groups(label, group, resamples=1).left_out.tolist() == [
        [0, 1, 1, 1],
        [1, 0, 1, 1],
        [1, 1, 0, 1],
        [1, 1, 1, 0],
    ]


@pytest.mark.parametrize("shift", [0.3, 2.0])
def test_the_bca_interval_is_that_of_scipy_where_every_cell_is_a_subject(shift: float) -> None:
    label, group = cohort(40, 1)
    positive = (label == "all").to_numpy()
    score = np.random.default_rng(3).normal(size=80) + shift * positive
    draws = draw_groups(label, group, resamples=20_000, seed=0)
    rows = Scored(positive, score, group.to_numpy(), 80)
    ours = bca_interval(
        roc_auc_score(positive, score), auroc(rows, draws.counts), auroc(rows, draws.left_out), draws.positive
    )

    def of_samples(positives: np.ndarray, negatives: np.ndarray, axis: int) -> np.ndarray:
        return (positives[..., :, None] > negatives[..., None, :]).mean(axis=(-1, -2))

    theirs = stats.bootstrap(
        (score[:40], score[40:]),
        of_samples,
        method="BCa",
        n_resamples=20_000,
        batch=500,
        vectorized=True,
        rng=np.random.default_rng(4),
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.004)


def coverage(subjects: int, cells: int, shift: float, trials: int, by_cell: bool = False) -> float:
    """How often the interval covers the true AUROC of people who differ as much as the cells of one do."""
    label, group = cohort(subjects, cells)
    positive = (label == "all").to_numpy()
    truth = stats.norm.cdf(shift / np.sqrt(2 * (0.7**2 + 0.7**2)))  # of two normals `shift` apart, variance 0.98
    rng = np.random.default_rng(0)
    unit = pd.Series(np.arange(len(group))) if by_cell else group
    covered = 0
    for trial in range(trials):
        person = rng.normal(0, 0.7, 2 * subjects)
        score = person[group] + rng.normal(0, 0.7, len(group)) + shift * positive
        draws = draw_groups(label, unit, resamples=400, seed=trial)
        rows = Scored(positive, score, unit.to_numpy(), unit.nunique())
        under = auroc(rows, np.vstack([np.ones(len(draws.groups)), draws.counts, draws.left_out]))
        low, high = bca_interval(under[0], under[1:401], under[401:], draws.positive)
        covered += low <= truth <= high
    return covered / trials


def test_the_interval_covers_the_truth_93_to_97_times_in_100() -> None:
    # 500 trials give the coverage to within 0.02 (two standard errors)
    assert 0.93 <= coverage(subjects=40, cells=4, shift=1.2, trials=500) <= 0.97


def test_an_interval_over_cells_would_promise_far_too_much() -> None:
    assert coverage(subjects=20, cells=8, shift=1.2, trials=60, by_cell=True) < 0.8


def test_two_equally_good_runs_are_told_apart_5_times_in_100() -> None:
    label, group = cohort(30, 4)
    positive = (label == "all").to_numpy()
    rng = np.random.default_rng(1)
    found = 0
    for trial in range(400):  # a share of 0.05 is met to within 0.022 (two standard errors)
        person = rng.normal(0, 0.7, 60)[group] + 1.2 * positive
        draws = draw_groups(label, group, resamples=400, seed=trial)
        under = np.vstack([np.ones(60), draws.counts, draws.left_out])
        both = [auroc(Scored(positive, person + rng.normal(0, 0.7, 240), group.to_numpy(), 60), under) for _ in "ab"]
        gap = both[0] - both[1]
        found += bca_p_value(float(gap[0]), gap[1:401], gap[401:], draws.positive) < 0.05
    assert 0.028 <= found / 400 <= 0.072


def test_the_p_value_is_at_the_level_where_the_interval_reaches_zero() -> None:
    rng = np.random.default_rng(5)
    jackknife, positive = rng.normal(0.1, 0.01, 30), np.arange(30) < 15
    resampled = rng.gamma(4, 0.05, 4000) - 0.05  # a skewed estimate
    for estimate in np.quantile(resampled, [0.3, 0.5, 0.7]):
        p = bca_p_value(float(estimate), resampled, jackknife, positive)
        low, high = bca_interval(float(estimate), resampled, jackknife, positive)
        assert (p < 0.05) == (low > 0 or high < 0)
    at_zero = resampled - bca_interval(0.15, resampled, jackknife, positive)[0]
    shifted = 0.15 - bca_interval(0.15, resampled, jackknife, positive)[0]
    assert bca_p_value(shifted, at_zero, jackknife, positive) == pytest.approx(0.05, abs=0.002)


def test_no_difference_at_all_is_certain() -> None:
    nothing, positive = np.zeros(100), np.arange(10) < 5
    assert bca_interval(0.0, nothing, np.zeros(10), positive) == (0, 0)
    assert bca_p_value(0.0, nothing, np.zeros(10), positive) == 1
