"""Coverage against error, and the number of cells at which a subject's score settles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leukobench.comparison.referral import REFERRED, error_of_answered
from leukobench.comparison.runs import compare
from tests.comparison.cohorts import make_rows, make_run


def test_doubt_that_knows_nothing_leaves_the_error_and_one_that_knows_all_brings_it_to_zero() -> None:
    wrong, weight = np.arange(100) < 20, np.ones(100)
    assert error_of_answered(wrong, np.zeros(100), weight) == pytest.approx(np.full(51, 0.2))
    exact = error_of_answered(wrong, wrong, weight)
    assert exact == pytest.approx(np.maximum(0.2 - REFERRED, 0) / (1 - REFERRED))
    assert error_of_answered(wrong, ~wrong, weight)[10] == pytest.approx(0.2 / 0.9)


def test_referring_weights_stand_for_repeated_cells() -> None:
    rng = np.random.default_rng(0)
    wrong, doubt, weight = rng.random(30) < 0.3, rng.random(30), rng.integers(1, 4, 30)
    repeated = [np.repeat(values, weight) for values in (wrong, doubt)]
    assert error_of_answered(wrong, doubt, weight) == pytest.approx(error_of_answered(*repeated, np.ones(weight.sum())))


def test_the_table_has_the_error_without_referral_and_orders_by_novelty_where_it_is_stored(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", shift=1.5)
    plain = make_run(tmp_path / "b", shift=1.0, seed=1)
    test = run.part("test")
    right = (test["predicted"] == test["label"]).to_numpy()
    novelty = pd.DataFrame({"path": test["path"], "fold": "", "novelty": np.where(right, 0.5, 1.5)})
    novelty.to_csv(tmp_path / "a" / "novelty.csv", index=False)
    table = compare([run.folder, plain.folder]).referral
    assert set(zip(table["run"], table["order"], strict=True)) == {
        ("a", "certainty"),
        ("a", "novelty"),
        ("b", "certainty"),
    }
    by_novelty = table[table["order"] == "novelty"].set_index("referred")["error"]
    assert by_novelty[0.0] == pytest.approx(1 - right.mean())
    assert by_novelty[0.5] == 0  # the wrong cells are the novel ones, and fewer than half
    of_class = [1 - right[(test["label"] == label).to_numpy()].mean() for label in ("all", "hem")]
    first = table[table["referred"] == 0].set_index(["run", "order"])["subject_weighted_error"]
    for order in ("novelty", "certainty"):
        assert first["a", order] == pytest.approx(np.mean(of_class))  # all groups have as many cells


def test_scores_of_all_cells_have_the_auroc_of_subjects_and_fewer_cells_a_lower_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", groups=40, cells=30, shift=0.5)
    comparison = compare([run.folder])
    table = comparison.settling.set_index("cells")
    assert table.index.tolist() == [1, 2, 5, 10, 20, 30]
    assert table.loc[30, "subject_auroc"] == pytest.approx(comparison.table.loc[0, "subject_auroc"])
    # the mean of n scores with normal logits of difference 0.5 separates the better the more there are
    assert table["subject_auroc"].is_monotonic_increasing
    assert table.loc[1, "subject_auroc"] == pytest.approx(0.638, abs=0.05)  # Phi(0.5 / sqrt 2)


def test_subjects_have_their_mean_score_with_its_interval(tmp_path: Path) -> None:
    rows = make_rows(4, 10)
    score = np.where(rows["label"] == "all", 0.8, 0.3) + np.tile(np.linspace(-0.1, 0.1, 10), 4)
    by_subject = compare([make_run(tmp_path / "a", rows=rows, score=score).folder]).by_subject.set_index("subject")
    assert by_subject["mean_score"].to_dict() == pytest.approx({"H0": 0.3, "1": 0.8, "H2": 0.3, "3": 0.8})
    assert (by_subject["cells"] == 10).all()
    assert (by_subject["low"] < by_subject["mean_score"]).all()
    assert (by_subject["high"] > by_subject["mean_score"]).all()
    assert by_subject["predicted_at_half"].tolist() == by_subject["label"].tolist()
    assert (by_subject["correct_at_half"] == 1).all()
