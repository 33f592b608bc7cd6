from __future__ import annotations

from pathlib import Path

from leukobench.comparison.checklist import answers, limits
from leukobench.comparison.runs import compare
from tests.comparison.cohorts import make_rows, make_run


def test_each_item_is_answered_by_the_run_folders(tmp_path: Path) -> None:
    honest = make_run(tmp_path / "a", validation=True, excluded={"x.bmp": "truncated"})
    leaky = make_run(tmp_path / "b", leaky=True, seed=1)
    said = {answer.item: answer.answer for answer in answers(compare([honest, leaky], allow_leaky=True), ["wrong"])}
    assert said["Excluded images"] == "a: 1 image could not be read"
    assert said["Partition"] == "a: subject test=0.2; b: image-LEAKY test=0.2"
    assert said["Level at which parts are disjoint"] == (
        "a: subject-level split: no subject group is in two parts; "
        "b: LEAKY: subjects shared between parts, 12 subject groups in several parts"
    )
    assert said["Subjects and images of each part"] == (
        "a: validation 60 images of 6 subjects, test 120 images of 12 subjects; b: test 120 images of 12 subjects"
    )
    assert said["Preprocessing"] == "cells on background: black"  # the same for both, so given once
    assert said["Class imbalance in the test part"] == "60 all and 60 hem"
    assert "permutation test over subject groups, Holm correction over 1 pair" in said["Uncertainty and tests"]
    assert "chosen on validation" in said["Measures of performance"]
    assert said["Failures"] == "the most confidently misclassified cells, above"
    assert said["Explanation"] == "none in this report"


def test_limits_count_people_and_name_those_tied_by_identical_images(tmp_path: Path) -> None:
    rows = make_rows(24, 5).drop(index=[0, 1])
    rows.loc[rows["subject"].isin(["1", "3", "5"]), "subject_group"] = "1=3=5"
    told = limits(compare([make_run(tmp_path / "a", rows=rows)]))
    assert told[0] == "all: 60 cells of 12 subjects in 10 independent groups"
    assert told[1] == "hem: 58 cells of 12 subjects in 12 independent groups"
    assert "(1=3=5)" in told[2]
    assert told[3].startswith("3 to 5 cells a subject")
    few = limits(compare([make_run(tmp_path / "b", groups=6)]))
    assert few[0].endswith("in 3 independent groups (fewer than 5: too few for a reliable interval)")
    assert few[2] == "no subject IDs of the test part share images"
