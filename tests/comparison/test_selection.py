from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leukobench.comparison.runs import compare
from leukobench.comparison.tables import latex, level_table, main_table, markdown
from leukobench.comparison.verdict import cautions, verdicts
from tests.comparison.cohorts import make_rows, make_run


def test_validation_far_above_test_is_a_caution(tmp_path: Path) -> None:
    rows = pd.concat([make_rows(12, 10), make_rows(6, 10, "validation", "v")], ignore_index=True)
    blast = (rows["label"] == "all").to_numpy()
    random = np.random.default_rng(0).uniform(0.3, 0.7, len(rows))
    learned = np.where(rows["part"] == "validation", np.where(blast, 0.9, 0.1), random)
    far = make_run(tmp_path / "far", rows=rows, score=learned)
    near = make_run(tmp_path / "near", rows=rows, score=random)
    comparison = compare([far, near])
    test = comparison.assessment("far").metrics["auroc"].value
    (found,) = [line for line in cautions(comparison) if "on validation and" in line]
    assert found.startswith(f"far has an AUROC of 1.000 on validation and {test:.3f} on test.")


@pytest.mark.parametrize(
    ("grid", "chosen", "says"),
    [
        (
            {"C": [1, 3, 10]},
            {"0": {"C": 10}, "1": {"C": 10}, "final": {"C": 3}},
            "C = 10, the largest of its grid in 2",
        ),
        ({"C": [1, 3, 10]}, {"final": {"C": 1}}, "C = 1, the smallest of its grid:"),
        ({"C": [1, 3, 10]}, {"0": {"C": 10}, "1": {"C": 3}}, None),
        ({"C": [1, 3]}, {"final": {"C": 3}}, None),
        ({"kernel": ["a", "b", "c"]}, {"final": {"kernel": "c"}}, None),
        ("strange", {"final": 3}, None),
    ],
)
def test_a_value_at_the_end_of_its_grid_is_a_caution(
    tmp_path: Path, grid: object, chosen: dict[str, object], says: str | None
) -> None:
    run = make_run(tmp_path / "a", parameters={"grid": grid, "chosen": chosen})
    found = [line for line in cautions(compare([run])) if "grid" in line]
    assert len(found) == (says is not None)
    assert says is None or says in found[0]


def test_a_class_of_one_person_has_no_interval_and_says_so(tmp_path: Path) -> None:
    rows = make_rows(12, 10)
    rows.loc[rows["label"] == "hem", ["subject", "subject_group"]] = "H0"
    comparison = compare([make_run(tmp_path / "a", rows=rows)])
    (_, free), (_, at_half) = level_table(comparison, "cells", ["a"])[:2]
    of = {name: value for name, value in (*free, *at_half)}
    assert of["AUROC"].endswith("(one person, no interval)")
    assert of["specificity"].endswith("(one person, no interval)")
    assert " to " in of["sensitivity"]


def test_the_best_run_of_a_row_is_marked(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "good", shift=2.0), make_run(tmp_path / "poor", shift=0.5)])
    rows = {shown: [best for _, best in cells] for shown, cells in main_table(comparison, comparison.runs)}
    assert rows["AUROC"] == [True, False]
    assert rows["Brier score"] == [True, False]  # the lowest
    assert rows["sensitivity at 0.5"] == [False, False]
    assert not any(best for _, cells in main_table(compare([tmp_path / "good"]), ["good"]) for _, best in cells)


def test_the_tables_of_a_paper_carry_the_cautions(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "a_b", leaky=True)])
    assert "- LEAKY (all runs): subjects shared" in markdown(comparison)
    run = make_run(
        tmp_path / "c_d", parameters={"grid": {"n_neighbors": [1, 2, 3]}, "chosen": {"f": {"n_neighbors": 3}}}
    )
    assert r"Note: c\_d chose n\_neighbors = 3, the largest" in latex(compare([run]))


def test_the_verdict_of_the_families_says_how_few_subjects_there_are(tmp_path: Path) -> None:
    names = {"svm": (3.0, "svm"), "knn": (0.2, "knn"), "net": (0.0, "cnn")}
    said = {}
    for groups in (9, 24):
        runs = [
            make_run(tmp_path / str(groups) / name, groups=groups, cells=40, shift=shift, family=family, seed=number)
            for number, (name, (shift, family)) in enumerate(names.items())
        ]
        (said[groups],) = [line for line in verdicts(compare(runs)) if line.startswith("By family")]
    assert "features are better; suggestive only, because 9 subject groups are too few for a conclusion." in said[9]
    assert "features are better." in said[24]
