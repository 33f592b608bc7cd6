from __future__ import annotations

import numpy as np
import pytest

from leukobench.comparison import weighted_metrics
from leukobench.comparison.weighted_metrics import (
    THRESHOLDED_METRICS,
    Scored,
    average_precision,
    brier_score,
    influences,
    one_metric,
    thresholded_metrics,
)
from leukobench.results.metrics import classification_metrics

OF_SCORE = ("average_precision", "brier", "calibration_error")


def scored(ties: bool, groups: int = 15, seed: int = 0) -> Scored:
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, 120)
    positive = rng.random(120) < 0.35 + 0.3 * (group % 2)
    score = rng.integers(0, 11, 120) / 10 if ties else rng.random(120)
    return Scored(positive, score, group, groups)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.95, 0.0])
def test_every_metric_under_counts_is_that_of_rows_repeated_as_often(ties: bool, threshold: float) -> None:
    rows = scored(ties)
    counts = np.random.default_rng(1).integers(0, 4, (8, 15)).astype(float)
    counts[0] = 1
    found = thresholded_metrics(rows, counts, threshold)
    assert set(found) == set(THRESHOLDED_METRICS)
    found |= {name: one_metric(rows, counts, name, threshold) for name in OF_SCORE}
    for number, count in enumerate(counts):
        times = count[rows.group].astype(int)
        label = np.where(np.repeat(rows.positive, times), "all", "hem")
        expected = classification_metrics(label, np.repeat(rows.score, times), threshold)  # by scikit-learn
        assert set(expected) - {"auroc"} == set(found) - {"subject_sensitivity", "subject_specificity"}
        for name in expected.keys() - {"auroc"}:
            assert found[name][number] == pytest.approx(expected[name]), name


def test_subjects_weighted_equally_are_the_mean_over_subjects() -> None:
    rows = scored(ties=False)
    found = thresholded_metrics(rows, np.ones((1, 15)), 0.5)
    for name, of_class, right in (
        ("subject_sensitivity", rows.positive, rows.score >= 0.5),
        ("subject_specificity", ~rows.positive, rows.score < 0.5),
    ):
        groups = np.unique(rows.group[of_class])
        assert found[name][0] == pytest.approx(np.mean([right[of_class & (rows.group == g)].mean() for g in groups]))


def test_a_threshold_for_each_row_is_that_of_its_fold() -> None:
    rows = scored(ties=False)
    threshold = np.where(rows.group < 7, 0.3, 0.7)
    moved = Scored(rows.positive, rows.score - threshold + 0.5, rows.group, 15)
    each, same = (
        thresholded_metrics(rows, np.ones((1, 15)), threshold),
        thresholded_metrics(moved, np.ones((1, 15)), 0.5),
    )
    assert {name: value[0] for name, value in each.items()} == {name: value[0] for name, value in same.items()}


def test_the_influences_are_derivatives_in_closed_form() -> None:
    rows = scored(ties=False)
    found = influences(
        lambda weights: {"brier": brier_score(rows, weights)} | thresholded_metrics(rows, weights, 0.5), 15
    )
    square, predicted = (rows.score - rows.positive) ** 2, rows.score >= 0.5
    hit = rows.sums(rows.positive & predicted)
    of_class = rows.sums(rows.positive)
    sensitivity = hit.sum() / of_class.sum()
    brier = rows.sums(square - square.mean()) / len(square)
    assert found["brier"].influence == pytest.approx(brier, abs=1e-9)
    assert found["sensitivity"].influence == pytest.approx((hit - sensitivity * of_class) / of_class.sum(), abs=1e-9)
    assert found["sensitivity"].value == pytest.approx(sensitivity)


def test_many_rows_in_chunks_are_those_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, counts = scored(ties=True), np.random.default_rng(2).integers(0, 3, (50, 15)).astype(float)
    whole = average_precision(rows, counts)
    monkeypatch.setattr(weighted_metrics, "_CHUNK", 7 * 120)
    assert (average_precision(rows, counts) == whole).all()
