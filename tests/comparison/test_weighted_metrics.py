from __future__ import annotations

import numpy as np
import pytest

from leukobench.comparison.resampled_metrics import (
    SCORE_METRICS,
    THRESHOLDED_METRICS,
    Scored,
    auroc,
    score_metrics,
    thresholded_metrics,
)
from leukobench.results.metrics import classification_metrics


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
    found = score_metrics(rows, counts) | thresholded_metrics(rows, counts, threshold)
    assert set(found) == set(SCORE_METRICS) | set(THRESHOLDED_METRICS)
    for number, count in enumerate(counts):
        times = count[rows.group].astype(int)
        label = np.where(np.repeat(rows.positive, times), "all", "hem")
        expected = classification_metrics(label, np.repeat(rows.score, times), threshold)  # by scikit-learn
        assert set(expected) == set(found)
        for name, value in expected.items():
            assert found[name][number] == pytest.approx(value), name


def test_the_metrics_in_the_table_are_those_of_a_run() -> None:
    assert set(classification_metrics(np.array(["all", "hem"]), np.array([1.0, 0.0]))) == {
        *SCORE_METRICS,
        *THRESHOLDED_METRICS,
    }


def test_a_resample_without_a_class_has_no_auroc() -> None:
    rows = Scored(np.array([True, True, False]), np.array([0.9, 0.4, 0.6]), np.array([0, 0, 1]), 2)
    assert auroc(rows, np.array([[1.0, 1.0], [2.0, 1.0]])) == pytest.approx([0.5, 0.5])
    assert np.isnan(auroc(rows, np.array([[2.0, 0.0]]))).all()


def test_many_rows_in_chunks_are_those_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, counts = scored(ties=True), np.random.default_rng(2).integers(0, 3, (50, 15)).astype(float)
    whole = score_metrics(rows, counts)["average_precision"]
    monkeypatch.setattr("leukobench.comparison.resampled_metrics._CHUNK", 7 * 120)
    assert (score_metrics(rows, counts)["average_precision"] == whole).all()
