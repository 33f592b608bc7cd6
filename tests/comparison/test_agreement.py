"""Agreement of two runs, on cells of which the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, matthews_corrcoef

from leukobench.comparison.agreement import agreement_table
from leukobench.comparison.runs import compare
from tests.comparison.cohorts import make_rows, make_run


def test_a_run_and_its_copy_agree_and_have_nothing_to_gain(tmp_path: Path) -> None:
    row = compare([make_run(tmp_path / "a", shift=0.5), make_run(tmp_path / "b", shift=0.5)]).agreement.iloc[0]
    assert (row["kappa"], row["error_correlation"]) == (1, pytest.approx(1))
    assert row["score_correlation"] == pytest.approx(1)
    assert (row["only_run_wrong"], row["only_other_wrong"]) == (0, 0)
    assert row["oracle_balanced_accuracy"] == row["balanced_accuracy"] == row["other_balanced_accuracy"]


def test_agreement_of_two_runs_equals_that_of_other_formulas(tmp_path: Path) -> None:
    comparison = compare(
        [make_run(tmp_path / "a", shift=0.7, groups=40), make_run(tmp_path / "b", shift=0.5, groups=40, seed=1)]
    )
    row = comparison.agreement.iloc[0]
    positive = (comparison.rows["label"] == "all").to_numpy()
    classes = [(comparison.rows[row[name]] >= 0.5).to_numpy() for name in ("run", "other_run")]
    wrong = [each != positive for each in classes]
    assert row["error_correlation"] == pytest.approx(matthews_corrcoef(*wrong))
    counts = [wrong[0] & ~wrong[1], wrong[1] & ~wrong[0], wrong[0] & wrong[1]]
    assert list(row[["only_run_wrong", "only_other_wrong", "both_wrong"]]) == [each.sum() for each in counts]
    oracle = np.where(classes[0] == positive, classes[0], classes[1])
    assert row["oracle_balanced_accuracy"] == pytest.approx(balanced_accuracy_score(positive, oracle))
    assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(positive, classes[0]))


def test_the_correlation_of_errors_is_not_defined_without_errors(tmp_path: Path) -> None:
    rows = make_rows()
    score = np.where(rows["label"] == "all", 0.9, 0.1)
    perfect = [make_run(tmp_path / name, rows=rows, score=score) for name in ("a", "b")]
    row = agreement_table(compare(perfect)).iloc[0]
    assert np.isnan(row["error_correlation"])
    assert (row["oracle_balanced_accuracy"], row["both_wrong"]) == (1, 0)
