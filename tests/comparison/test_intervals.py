from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from leukobench.comparison.auroc import auroc, swap_contributions
from leukobench.comparison.intervals import Estimate, Measured, SubjectGroups, separation_bound
from leukobench.comparison.measuring import estimates, measure_classes, measure_score
from leukobench.comparison.paired_tests import delong, swap_test
from leukobench.comparison.weighted_metrics import Scored


def subject_groups(positive: np.ndarray, group: np.ndarray) -> SubjectGroups:
    return SubjectGroups.of(pd.Series(np.where(positive, "all", "hem")), pd.Series(group))


def clustered(rng: np.random.Generator, sizes: np.ndarray, positives: int, shift: float, shared: float) -> Scored:
    """Scores of cells, of which a share of the variance is between subjects; the first subjects are positive."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    of_subject = rng.normal(size=len(sizes)) * np.sqrt(shared)
    score = of_subject[group] + rng.normal(size=len(group)) * np.sqrt(1 - shared) + shift * (group < positives)
    return Scored(group < positives, 1 / (1 + np.exp(-score)), group, len(sizes))


def test_a_difference_of_two_means_has_welchs_interval() -> None:
    first, second = np.array([3.0, 5.0, 4.0, 8.0, 6.0]), np.array([1.0, 2.5, 2.0])
    positive = np.repeat([True, False], [5, 3])
    influence = np.concatenate([(first - first.mean()) / 5, -(second - second.mean()) / 3])
    found = subject_groups(positive, np.arange(8)).interval(Measured(first.mean() - second.mean(), influence))
    low, high = CompareMeans(DescrStatsW(first), DescrStatsW(second)).tconfint_diff(usevar="unequal")
    assert (found.low, found.high) == pytest.approx((low, high))


def test_where_every_cell_is_a_subject_the_error_of_a_difference_is_delongs() -> None:
    rng = np.random.default_rng(0)
    positive = rng.random(70) < 0.4
    scores = [rng.integers(0, 9, 70) / 9 + 0.2 * positive, rng.integers(0, 9, 70) / 9]
    first, second = (auroc(Scored(positive, score, np.arange(70), 70)) for score in scores)
    difference = first - second
    error, _ = subject_groups(positive, np.arange(70)).standard_error(difference.influence)
    assert (difference.value, error) == pytest.approx(delong(positive, *scores)[:2])


def test_the_error_of_the_auroc_is_obuchowskis_for_subjects_of_equal_size() -> None:
    rows = clustered(np.random.default_rng(1), np.full(12, 6), 7, 1.0, 0.5)
    value = auroc(rows).value
    blasts, normals = rows.score[:42], rows.score[42:]
    higher = (blasts[:, None] > normals) + 0.5 * (blasts[:, None] == normals)
    # Obuchowski 1997: sums over the clusters of the structural components' deviations, no cluster with both classes
    of_blasts, of_normals = (higher.mean(axis=1) - value).reshape(7, 6), (higher.mean(axis=0) - value).reshape(5, 6)
    s10 = 7 / ((7 - 1) * 42) * (of_blasts.sum(axis=1) ** 2).sum()
    s01 = 5 / ((5 - 1) * 30) * (of_normals.sum(axis=1) ** 2).sum()
    error, _ = subject_groups(rows.positive, rows.group).standard_error(auroc(rows).influence)
    assert error**2 == pytest.approx(s10 / 42 + s01 / 30)


def test_the_degrees_of_freedom_are_those_of_the_variance_under_simulation() -> None:
    cells = np.array([40, 10, 5, 5, 3, 2, 2])
    groups = SubjectGroups(pd.Index(range(14)), np.repeat([True, False], 7), np.tile(cells, 2))
    share = cells / cells.sum()
    value = np.random.default_rng(0).normal(size=(200_000, 7))
    deviation = share * (value - (value @ share)[:, None])
    variance = (deviation**2 / (1 - share)).sum(axis=1)
    simulated = 2 * variance.mean() ** 2 / variance.var()
    influence = np.concatenate([share * (np.arange(7) - np.arange(7) @ share), np.zeros(7)])
    influence[:7] -= influence[:7].mean()
    assert groups.standard_error(influence)[1] == pytest.approx(simulated, rel=0.02)
    assert groups.standard_error(influence, equal=True)[1] == pytest.approx(6)


def test_undecided_groups_widen_an_interval_as_a_real_group_of_half_does() -> None:
    right = np.array([1.0, 1.0, 0.9, 0.8, 1.0])  # share of ten cells of each subject that is predicted correctly
    group = np.repeat(np.arange(7), 10)
    score = np.concatenate([np.arange(10) < 10 * share for share in right] + [np.zeros(20)]).astype(float)
    rows = Scored(group < 5, score, group, 7)
    groups = subject_groups(rows.positive, group)
    found = groups.logit_interval(measure_classes(rows, 0.5)["sensitivity"], classes=(True,), undecided=1.0)
    six = np.append(right, 0.5)
    middle, error = six.mean(), six.std(ddof=1) / np.sqrt(6)
    reach = stats.t.ppf(0.975, 5) * error / (middle * (1 - middle))
    expected = stats.logistic.cdf(stats.logistic.ppf(middle) + np.array([-reach, reach]))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.value == pytest.approx(right.mean())


@pytest.mark.parametrize("shift", [0.0, 2.0, 5.0, 8.0])
def test_every_interval_contains_its_value_also_close_to_one(shift: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        rows = clustered(rng, rng.integers(1, 40, 14), 8, shift, 0.5)
        groups = subject_groups(rows.positive, rows.group)
        found = estimates(measure_score(rows) | measure_classes(rows, 0.5), groups, [rows])
        for name, estimate in found.items():
            assert np.isnan(estimate.low) or estimate.low <= estimate.value <= estimate.high, name


@pytest.mark.parametrize("groups", [1, 3, 12, 40])
def test_complete_separation_has_the_exact_bound(groups: int) -> None:
    exact = stats.binomtest(groups, groups, alternative="greater").proportion_ci(0.95, "exact")
    assert separation_bound(groups) == pytest.approx(exact.low)


def test_a_perfect_run_is_never_certain() -> None:
    rows = Scored(np.repeat([True, False], [12, 8]), np.repeat([0.9, 0.1], [12, 8]), np.repeat(np.arange(5), 4), 5)
    groups = subject_groups(rows.positive, rows.group)
    found = estimates(measure_score(rows) | measure_classes(rows, 0.5), groups, [rows])
    assert str(found["auroc"]) == f"1.000 (at least {0.05 ** (1 / 2):.3f})"  # 3 and 2 subjects: 2 disjoint pairs
    assert str(found["sensitivity"]) == f"1.000 (at least {0.05 ** (1 / 3):.3f})"
    assert str(found["specificity"]) == f"1.000 (at least {0.05 ** (1 / 2):.3f})"
    assert str(found["accuracy"]) == "1.000"
    assert np.isnan(found["calibration_slope"].value)
    wrong = Scored(rows.positive, 1 - rows.score, rows.group, 5)
    assert str(estimates(measure_score(wrong), groups, [wrong])["auroc"]) == f"0.000 (at most {1 - 0.05**0.5:.3f})"


def test_one_subject_of_a_class_has_no_interval() -> None:
    rows = clustered(np.random.default_rng(1), np.full(6, 5), 5, 0.5, 0.3)
    groups = subject_groups(rows.positive, rows.group)
    for name, estimate in estimates(measure_score(rows) | measure_classes(rows, 0.5), groups, [rows]).items():
        assert np.isnan([estimate.low, estimate.high]).all() or name.endswith("sensitivity"), name
    assert str(Estimate(0.5)) == "0.500"


def test_with_few_subjects_some_metrics_have_no_interval() -> None:
    for subjects, given in ((8, False), (10, True)):
        rows = clustered(np.random.default_rng(1), np.full(subjects, 5), subjects // 2, 0.5, 0.3)
        groups = subject_groups(rows.positive, rows.group)
        found = estimates(measure_classes(rows, 0.5), groups, [rows])
        assert np.isfinite([found["balanced_accuracy"].low, found["matthews"].low]).all() == given
        assert np.isfinite(found["accuracy"].low)


def test_the_expected_calibration_error_has_no_interval() -> None:
    rows = clustered(np.random.default_rng(0), np.full(20, 5), 10, 1.0, 0.3)
    found = estimates(measure_score(rows), subject_groups(rows.positive, rows.group), [rows])
    assert np.isnan(found["calibration_error"].low)


@pytest.mark.parametrize("equal", [False, True])
def test_the_interval_covers_and_the_test_keeps_its_size(equal: bool) -> None:
    """A short form of benchmarks/inference.py: 13 + 7 subjects of unequal size, two models of equal AUROC."""
    rng = np.random.default_rng(0)
    sizes = np.array([2, 3, 3, 4, 6, 8, 9, 12, 14, 15, 20, 26, 60, 2, 4, 5, 8, 11, 20, 45])
    positive = np.arange(20) < 13
    shift = np.sqrt(2) * stats.norm.ppf(0.85)
    covered, rejected = [], []
    for _ in range(300):
        first, second = clustered(rng, sizes, 13, shift, 0.4), clustered(rng, sizes, 13, shift, 0.4)
        groups = SubjectGroups(pd.Index(range(20)), positive, sizes)
        found = groups.logit_interval(auroc(first, equal=equal), equal=equal)
        covered.append(found.low <= 0.85 <= found.high)
        rejected.append(swap_test(swap_contributions(first, second, equal=equal)) <= 0.05)
    assert 0.93 - 0.025 < np.mean(covered) < 0.97 + 0.025  # 300 cohorts: two standard errors are 0.025
    assert np.mean(rejected) < 0.05 + 0.025
