from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from leukobench.results.resampling import draw_counts, pairwise_wins, positive_groups


def test_pairwise_wins_give_the_auroc_with_ties_and_resamples() -> None:
    rng = np.random.default_rng(0)
    score, code = rng.integers(0, 6, 200) / 5, rng.integers(0, 9, 200)
    positive = rng.random(200) < 0.4
    won, pairs = pairwise_wins(score, positive, code, 9), pairwise_wins(positive.astype(float), positive, code, 9)
    assert won.sum() / pairs.sum() == pytest.approx(roc_auc_score(positive, score))
    assert pairs.sum() == positive.sum() * (~positive).sum()
    drawn = rng.integers(0, 3, 9)
    weighted = (drawn @ won @ drawn) / (drawn @ pairs @ drawn)
    assert weighted == pytest.approx(roc_auc_score(positive, score, sample_weight=drawn[code]))


def test_each_class_keeps_its_number_of_groups_in_a_resample() -> None:
    positive = positive_groups(np.array([1, 1, 0, 0, 1, 0, 0], bool), np.array([0, 0, 0, 1, 2, 2, 3]))
    assert positive.tolist() == [True, False, True, False]  # two of three, none, half, none
    counts = draw_counts(positive, 500, np.random.default_rng(0))
    assert (counts[:, positive].sum(axis=1) == 2).all()
    assert (counts[:, ~positive].sum(axis=1) == 2).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(4), abs=0.1)
