from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from leukobench.comparison.curves import GRID, draw_group_counts, net_benefit, precision_recall, reliability, roc
from leukobench.comparison.intervals import SubjectGroups
from leukobench.comparison.weighted_metrics import Scored


def rows(seed: int = 0) -> tuple[Scored, np.ndarray]:
    """200 cells of 20 groups, with ties, and resamples of the groups."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(20), 10)
    positive = group % 2 == 0
    score = np.round(np.clip(rng.normal(0.4 + 0.2 * positive, 0.2), 0, 1), 1)
    return Scored(positive, score, group, 20), rng.multinomial(20, np.full(20, 1 / 20), 300).astype(float)


def test_the_roc_curve_is_scikit_learns_and_lies_in_its_band() -> None:
    scored, counts = rows()
    curve = roc(scored, counts)
    false, hit, _ = roc_curve(scored.positive, scored.score, drop_intermediate=False)
    assert curve.x == pytest.approx(false)
    assert curve.y == pytest.approx(hit)
    on_grid = np.interp(GRID, curve.x, curve.y)
    assert (curve.low <= on_grid + 1e-9).all()
    assert (on_grid <= curve.high + 1e-9).all()
    assert (curve.high - curve.low).max() > 0.05


def test_the_precision_recall_curve_is_scikit_learns() -> None:
    scored, counts = rows()
    curve = precision_recall(scored, counts)
    precision, recall, _ = precision_recall_curve(scored.positive, scored.score)
    assert curve.x == pytest.approx(recall[:-1][::-1])  # scikit-learn adds the point (0, 1) and goes upwards
    assert curve.y == pytest.approx(precision[:-1][::-1])
    assert ((curve.low <= curve.high) & (curve.high <= 1)).all()


def test_a_band_without_resampling_is_the_curve() -> None:
    scored, _ = rows()
    once = np.ones((3, 20))
    curve = roc(scored, once)
    assert curve.low == pytest.approx(np.interp(GRID, curve.x, curve.y))
    assert curve.low == pytest.approx(curve.high)


def test_reliability_by_hand() -> None:
    # bin [0.2, 0.3): 0.20 and 0.28, one of them positive; bin [0.9, 1]: 0.95, 0.95, 1.0, all positive
    score = np.array([0.20, 0.28, 0.95, 0.95, 1.0])
    found = reliability(Scored(np.array([False, True, True, True, True]), score, np.arange(5), 5))
    assert found.predicted == pytest.approx([0.24, 2.9 / 3])
    assert found.observed == pytest.approx([0.5, 1.0])
    assert found.rows.tolist() == [2, 3]


def test_net_benefit_by_hand() -> None:
    scored = Scored(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.6, 0.1]), np.arange(4), 4)
    # at 0.5: one hit and one false positive of four cells, at odds of 1; at 0.8: one hit alone; at 0.05: all predicted
    assert net_benefit(scored, np.array([0.5, 0.8, 0.05])) == pytest.approx([0, 0.25, 0.5 - 0.5 * 0.05 / 0.95])


def test_the_bands_draw_as_many_groups_of_each_class_as_there_are() -> None:
    groups = SubjectGroups(pd.Index(range(5)), np.array([True, True, True, False, False]), np.ones(5, int))
    counts = draw_group_counts(groups)
    assert (counts[:, :3].sum(axis=1) == 3).all()
    assert (counts[:, 3:].sum(axis=1) == 2).all()
    assert (draw_group_counts(groups) == counts).all()
