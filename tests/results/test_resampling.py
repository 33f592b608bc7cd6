from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from leukobench.results.resampling import draw_counts, pairwise_wins, positive_groups


def test_pairs_won_make_the_auroc_ties_and_resamples_included() -> None:
    rng = np.random.default_rng(0)
    score, code = rng.integers(0, 6, 200) / 5, rng.integers(0, 9, 200)
    positive = rng.random(200) < 0.4
    won, pairs = pairwise_wins(score, positive, code, 9), pairwise_wins(positive.astype(float), positive, code, 9)
    assert won.sum() / pairs.sum() == pytest.approx(roc_auc_score(positive, score))
    assert pairs.sum() == positive.sum() * (~positive).sum()
    drawn = rng.integers(0, 3, 9)
    weighted = (drawn @ won @ drawn) / (drawn @ pairs @ drawn)
    assert weighted == pytest.approx(roc_auc_score(positive, score, sample_weight=drawn[code]))


def test_as_many_groups_of_each_class_are_drawn_as_there_are() -> None:
    positive = positive_groups(np.array([1, 1, 0, 0, 1, 0, 0], bool), np.array([0, 0, 0, 1, 2, 2, 3]))
    assert positive.tolist() == [True, False, True, False]  # two of three, none, half, none
    counts = draw_counts(positive, 500, np.random.default_rng(0))
    assert (counts[:, positive].sum(axis=1) == 2).all()
    assert (counts[:, ~positive].sum(axis=1) == 2).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(4), abs=0.1)
