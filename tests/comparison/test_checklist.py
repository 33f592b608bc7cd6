from __future__ import annotations

import re
from pathlib import Path

from leukobench.comparison.checklist import LEFT_TO_AUTHORS, answers, limits
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
    assert said["Ensembles"] == "none"


def test_item_numbers_are_those_of_the_guidelines_and_none_is_answered_and_left_to_the_authors(tmp_path: Path) -> None:
    found = answers(compare([make_run(tmp_path / "a")]), [])
    sizes = {"claim": 44, "tripod": 27}
    for guideline, items in sizes.items():
        numbers = [int(each) for answer in found for each in re.findall(r"\d+", getattr(answer, guideline))]
        assert min(numbers) >= 1 and max(numbers) <= items
    # headings of the 2024 update: data preprocessing, level at which partitions are disjoint, detailed description of
    # the model, software, ensembling techniques, limitations
    claim = {answer.item: answer.claim for answer in found}
    assert (claim["Preprocessing"], claim["Level at which parts are disjoint"], claim["Model"]) == ("9", "20", "22")
    assert (claim["Software"], claim["Ensembles"], claim["Limits of the data"]) == ("23", "27", "40")
    modules = {1: "c", 2: "e", 3: "g", 4: "c", 5: "f", 6: "c", 7: "c", 8: "b"}  # last letter of each: 32 items
    reforms = {f"{module}{chr(letter)}" for module, last in modules.items() for letter in range(97, ord(last) + 1)}
    assert len(reforms) == 32
    answered = {each for answer in found for each in re.findall(r"\d[a-g]", answer.reforms)}
    ranges = re.findall(
        r"(\d)([a-g])(?:-\d([a-g]))?", " ".join(text.partition("REFORMS")[2] for text in LEFT_TO_AUTHORS)
    )
    left = {f"{module}{chr(letter)}" for module, a, b in ranges for letter in range(ord(a), ord(b or a) + 1)}
    assert not answered & left
    assert answered | left == reforms


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
