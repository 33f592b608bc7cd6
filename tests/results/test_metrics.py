from __future__ import annotations

import numpy as np
import pytest

from leukobench.results.metrics import (
    best_threshold,
    calibration_bin,
    classification_metrics,
    expected_calibration_error,
)


def test_metrics_of_a_table_counted_by_hand() -> None:
    # 3 true positives, 1 false negative, 4 true negatives, 2 false positives
    label = np.array(["all"] * 4 + ["hem"] * 6)
    score = np.array([0.9, 0.8, 0.5, 0.2, 0.1, 0.1, 0.3, 0.4, 0.6, 0.85])
    metrics = classification_metrics(label, score)
    assert metrics["accuracy"] == pytest.approx(7 / 10)
    assert metrics["sensitivity"] == pytest.approx(3 / 4)
    assert metrics["specificity"] == pytest.approx(4 / 6)
    assert metrics["balanced_accuracy"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert metrics["precision"] == pytest.approx(3 / 5)
    assert metrics["f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert metrics["weighted_f1"] == pytest.approx(0.4 * (6 / 9) + 0.6 * (8 / 11))
    assert metrics["matthews"] == pytest.approx((3 * 4 - 2 * 1) / np.sqrt(5 * 4 * 6 * 5))
    # of 24 pairs, the blast has the higher score in 6 + 5 + 4 + 2
    assert metrics["auroc"] == pytest.approx(17 / 24)
    assert metrics["brier"] == pytest.approx(((1 - score[:4]) ** 2).sum() / 10 + (score[4:] ** 2).sum() / 10)


def test_metrics_of_both_classes_are_none_if_one_class_is_missing() -> None:
    metrics = classification_metrics(np.array(["all", "all"]), np.array([0.9, 0.2]))
    assert metrics["auroc"] is None
    assert metrics["specificity"] is None
    assert metrics["sensitivity"] == 0.5


def test_the_calibration_error_by_hand() -> None:
    # bin [0.2, 0.3): mean 0.24, half positive; bin [0.9, 1]: mean 0.95, all positive
    positive, score = np.array([False, True, True, True]), np.array([0.20, 0.28, 0.90, 1.0])
    assert expected_calibration_error(positive, score) == pytest.approx(0.5 * 0.26 + 0.5 * 0.05)
    assert classification_metrics(np.where(positive, "all", "hem"), score)["calibration_error"] == pytest.approx(0.155)


def test_a_bin_begins_at_its_lower_edge() -> None:
    assert calibration_bin(np.array([0.0, 0.0999, 0.1, 0.3, 0.7, 0.8999, 0.9, 1.0])).tolist() == [
        0,
        0,
        1,
        3,
        7,
        8,
        9,
        9,
    ]


def test_calibrated_scores_have_little_calibration_error() -> None:
    rng = np.random.default_rng(0)
    score = rng.random(20_000)
    positive = rng.random(20_000) < score
    assert expected_calibration_error(positive, score) < 0.02
    assert expected_calibration_error(positive, np.sqrt(score)) > 0.1


def test_the_best_threshold_lies_between_the_classes() -> None:
    label = np.array(["hem", "hem", "hem", "all", "all"])
    assert best_threshold(label, np.array([0.1, 0.2, 0.3, 0.7, 0.9])) == pytest.approx(0.5)
    assert best_threshold(label, np.array([0.6, 0.7, 0.8, 0.9, 0.95])) == pytest.approx(0.85)


def test_the_best_threshold_has_the_highest_balanced_accuracy_of_all() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        label = np.where(np.arange(30) < 8, "all", "hem")
        score = np.round(np.clip(rng.normal(0.5 + 0.1 * (label == "all"), 0.2), 0, 1), 2)
        reached = classification_metrics(label, score, best_threshold(label, score))["balanced_accuracy"]
        every = [classification_metrics(label, score, threshold)["balanced_accuracy"] for threshold in np.unique(score)]
        assert reached == pytest.approx(max(every))


def test_of_equally_good_thresholds_the_nearest_to_one_half_is_taken() -> None:
    # 0.15 and 0.55 both leave one of four on the wrong side
    label = np.array(["hem", "all", "hem", "all"])
    assert best_threshold(label, np.array([0.1, 0.2, 0.5, 0.6])) == pytest.approx(0.55)
    assert best_threshold(label, np.full(4, 0.3)) == 0.5
