from __future__ import annotations

import numpy as np
import pytest

from study.metrics import figures_of_merit


def test_figures_of_a_table_counted_by_hand() -> None:
    # 3 true positives, 1 false negative, 4 true negatives, 2 false positives
    label = np.array(["all"] * 4 + ["hem"] * 6)
    score = np.array([0.9, 0.8, 0.5, 0.2, 0.1, 0.1, 0.3, 0.4, 0.6, 0.85])
    figures = figures_of_merit(label, score)
    assert figures["accuracy"] == pytest.approx(7 / 10)
    assert figures["sensitivity"] == pytest.approx(3 / 4)
    assert figures["specificity"] == pytest.approx(4 / 6)
    assert figures["balanced_accuracy"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert figures["precision"] == pytest.approx(3 / 5)
    assert figures["f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert figures["weighted_f1"] == pytest.approx(0.4 * (6 / 9) + 0.6 * (8 / 11))
    assert figures["matthews"] == pytest.approx((3 * 4 - 2 * 1) / np.sqrt(5 * 4 * 6 * 5))
    # of 24 pairs the blasts win 6 + 5 + 4 + 2
    assert figures["auroc"] == pytest.approx(17 / 24)
    assert figures["brier"] == pytest.approx(((1 - score[:4]) ** 2).sum() / 10 + (score[4:] ** 2).sum() / 10)


def test_what_needs_both_classes_is_none_where_one_is_missing() -> None:
    figures = figures_of_merit(np.array(["all", "all"]), np.array([0.9, 0.2]))
    assert figures["auroc"] is None
    assert figures["specificity"] is None
    assert figures["sensitivity"] == 0.5
