from __future__ import annotations

import doctest
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score

from leukobench.comparison import scores
from leukobench.comparison.results import FIXED, LEVELS
from leukobench.comparison.runs import compare
from leukobench.comparison.scores import METRICS, bootstrap_metric, compare_scores, estimate_metric
from leukobench.core.errors import InputError
from leukobench.results.metrics import classification_metrics
from tests.comparison.cohorts import make_run


def cells(subjects: int = 40, each: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes, probabilities and subjects of cells."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(subjects), each)
    y = subject % 2
    logit = rng.normal(size=subjects)[subject] + rng.normal(size=len(subject)) + 2 * y
    return y, 1 / (1 + np.exp(-logit)), subject


@pytest.mark.parametrize("folds", [0, 3])
def test_every_interval_is_that_of_a_comparison_of_runs(tmp_path: Path, folds: int) -> None:
    first, second = (
        make_run(tmp_path / "a", groups=30, folds=folds),
        make_run(tmp_path / "b", groups=30, seed=1, folds=folds),
    )
    comparison = compare([first, second])
    for level, table in zip(LEVELS, (comparison.rows, comparison.subjects), strict=True):
        assessment = comparison.assessment("a", level)
        expected = assessment.metrics | assessment.thresholded[FIXED].metrics
        assert set(expected) <= set(METRICS)
        for metric, estimate in expected.items():
            fold = table["fold"] if folds else None
            found = estimate_metric(table["label"], table["a"], table["subject_group"], metric, folds=fold)
            assert str(found) == str(estimate), metric


@pytest.mark.parametrize("metric", ["auroc", "subject_weighted_auroc"])
def test_the_test_of_two_scores_is_that_of_a_comparison_of_runs(tmp_path: Path, metric: str) -> None:
    comparison = compare([make_run(tmp_path / "a", groups=30), make_run(tmp_path / "b", groups=30, seed=1, shift=0.7)])
    pair, rows = comparison.differences[0], comparison.rows
    found = compare_scores(rows["label"], rows[pair.better], rows[pair.other], rows["subject_group"], metric=metric)
    gap = pair.auroc if metric == "auroc" else pair.subject_weighted
    assert (found.value, found.low, found.high) == (gap.estimate.value, gap.estimate.low, gap.estimate.high)
    assert found.p == gap.p  # of one pair: Holm's correction leaves it
    assert (found.detectable, found.equivalent) == (gap.could.difference, gap.could.equivalent)


def test_the_value_is_that_of_scikit_learn() -> None:
    y, score, subject = cells()
    assert estimate_metric(y, score, subject).value == pytest.approx(roc_auc_score(y, score))
    at = estimate_metric(y, score, subject, "balanced_accuracy", threshold=0.7)
    assert at.value == pytest.approx(balanced_accuracy_score(y, score >= 0.7))
    label = np.where(y, "all", "hem")
    for metric, value in classification_metrics(label, score).items():
        assert estimate_metric(y, score, subject, metric).value == pytest.approx(value), metric


def test_scores_and_their_negative_differ_by_both_aurocs() -> None:
    y, score, subject = cells()
    found = compare_scores(y, score, 1 - score, subject)
    assert found.value == pytest.approx(2 * roc_auc_score(y, score) - 1)
    assert found.p < 0.01
    turned = compare_scores(y, 1 - score, score, subject)
    assert turned.value == pytest.approx(-found.value)
    same = compare_scores(y, score, score, subject)
    assert (same.value, same.low, same.high, same.p, same.detectable) == (0, 0, 0, 1, 0)


def test_a_higher_level_is_a_wider_interval_and_cells_of_one_subject_widen_it_too() -> None:
    y, score, subject = cells()
    usual, wide = estimate_metric(y, score, subject), estimate_metric(y, score, subject, level=0.99)
    assert wide.low < usual.low < usual.high < wide.high
    by_cell = estimate_metric(y, score, np.arange(200))
    assert usual.high - usual.low > 1.3 * (by_cell.high - by_cell.low)


def test_classes_may_be_numbers_truth_values_or_labels() -> None:
    y, score, subject = cells()
    expected = estimate_metric(y, score, subject)
    for classes in (y == 1, y.astype(float), y.tolist(), np.where(y, "all", "hem"), pd.Series(y, index=y * 0)):
        assert estimate_metric(classes, score, subject) == expected


def test_any_finite_score_has_an_auroc() -> None:
    y, score, subject = cells()
    logit = np.log(score / (1 - score))
    assert estimate_metric(y, logit, subject) == estimate_metric(y, score, subject)


def test_few_groups_are_warned_of_and_many_are_not(recwarn: pytest.WarningsRecorder) -> None:
    estimate_metric(*cells(10))
    assert not recwarn.list
    with pytest.warns(UserWarning, match="only 4 subject groups of the positive class and 4 subject groups of the neg"):
        estimate_metric(*cells(8))
    with pytest.warns(UserWarning, match="1 subject group of the negative class: there is no interval"):
        assert np.isnan(estimate_metric(*cells(2)).low)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda y, score, group: (y, score[:-1], group), "score: has 199 rows, y has 200"),
        (lambda y, score, group: (y, score, group[:-1]), "groups: has 199 rows, y has 200"),
        (lambda y, score, group: (y, score.reshape(2, -1), group), r"score: has the shape \(2, 100\)"),
        (lambda y, score, group: (y[:, None], score, group), r"y: has the shape \(200, 1\)"),
        (lambda y, score, group: (y * 0, score, group), r"y: has one class only \(0\)"),
        (lambda y, score, group: (y * 2, score, group), "y: '2' is no class; give 0 and 1"),
        (lambda y, score, group: (np.where(y, "all", "ALL"), score, group), "y: 'ALL' is no class"),
        (lambda y, score, group: (np.where(y, 1.0, np.nan), score, group), "y: a value is missing"),
        (lambda y, score, group: (y, np.where(group == 1, np.nan, score), group), "score: is missing or not finite in"),
        (lambda y, score, group: (y, ["high"] * 200, group), "score: has a value that is no number"),
        (lambda y, score, group: (y, score, np.where(group == 1, np.nan, group)), "groups: a value is missing"),
        (lambda y, score, group: (y, score, group, "accurracy"), "metric 'accurracy': is unknown; choose one of auroc"),
        (lambda y, score, group: (y, score + 1, group, "brier"), "'brier' takes probabilities from 0 to 1"),
        (lambda y, score, group: ([], [], []), "y: is empty"),
    ],
)
def test_what_cannot_be_computed_is_refused(change: Callable[..., tuple], says: str) -> None:
    arguments = change(*cells())
    with pytest.raises(InputError, match=says):
        estimate_metric(*arguments)


def test_bad_settings_and_bad_second_scores_are_refused() -> None:
    y, score, subject = cells()
    with pytest.raises(InputError, match="level 95: must lie between 0 and 1"):
        compare_scores(y, score, score, subject, level=95)
    with pytest.raises(InputError, match="b: has 10 rows, y has 200"):
        compare_scores(y, score, score[:10], subject)


def test_the_former_name_gives_the_same_interval() -> None:
    y, score, subject = cells()
    with pytest.warns(DeprecationWarning, match="is now estimate_metric"):
        assert bootstrap_metric(y, score, subject, resamples=10, seed=3) == estimate_metric(y, score, subject)


def test_any_metric_is_compared_by_swapping_subjects() -> None:
    y, score, subject = cells()
    worse = 0.5 + (score - 0.5) * 0.2
    for metric in METRICS:
        same = compare_scores(y, score, score, subject, metric=metric)
        assert (same.value, same.p, same.equivalent) == (0, 1, True), metric
    found = compare_scores(y, score, worse, subject, metric="brier")
    assert found.value == pytest.approx(brier_score_loss(y, score) - brier_score_loss(y, worse))
    assert found.p < 0.05
    slope = compare_scores(y, score, worse, subject, metric="calibration_slope")
    assert slope.value < 0  # the other scores are not extreme enough: their slope is five times as steep
    assert slope.p < 0.05


def test_folds_are_checked() -> None:
    y, score, subject = cells()
    folds = subject // 2 % 4
    assert estimate_metric(y, score, subject, folds=folds).value != estimate_metric(y, score, subject).value
    pooled = estimate_metric(y, score, subject, "pooled_auroc", folds=folds)
    assert pooled == estimate_metric(y, score, subject)
    with pytest.raises(InputError, match="no fold has both classes"):
        estimate_metric(y, score, subject, folds=y)
    with pytest.raises(InputError, match="folds: has 3 rows, y has 200"):
        estimate_metric(y, score, subject, folds=[0, 1, 2])
    with pytest.raises(InputError, match="folds: a value is missing"):
        estimate_metric(y, score, subject, folds=np.where(subject == 1, np.nan, folds))


def test_the_examples_run() -> None:
    assert doctest.testmod(scores).failed == 0
