from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leukobench.comparison.literature import compare_with_literature
from leukobench.comparison.runs import compare
from tests.comparison.cohorts import make_run

PAPER = "Dhuri & Guinde 2020"


@pytest.mark.parametrize(
    ("leaky", "reported", "says"),
    [
        (
            False,
            "accuracy 91.4% in test (70 images, split by image)",
            "Not comparable: the published value comes from",
        ),
        (True, "accuracy 91.4% in test (70 images, split by image)", "Comparable in kind only"),
        (False, "accuracy 91.4%", "does not say how the published test images were split"),
        (False, {"accuracy": 0.914, "split": "by image", "recall": None}, "Not comparable: the published value comes"),
    ],
)
def test_a_published_value_and_ours_are_listed_with_whether_they_are_comparable(
    tmp_path: Path, leaky: bool, reported: Any, says: str
) -> None:
    run = make_run(tmp_path / "a", leaky=leaky, parameters={"source": PAPER, "reported": reported})
    line = compare_with_literature(compare([run]))[0]
    assert (line.run, line.source, line.split) == ("a", PAPER, run.info.split)
    assert says in line.verdict
    assert f"accuracy {run.metrics['test']['accuracy']:.1%}" in line.ours
    assert line.reported == (reported if isinstance(reported, str) else "accuracy 0.914, split by image")


@pytest.mark.parametrize(
    "parameters", [{}, {"source": "leukobench", "reported": "x"}, {"source": PAPER, "reported": ""}]
)
def test_recipes_of_our_own_have_no_paper(tmp_path: Path, parameters: dict[str, Any]) -> None:
    assert compare_with_literature(compare([make_run(tmp_path / "a", parameters=parameters)])) == []


def test_the_split_and_changes_are_told_where_the_recipe_has_them(tmp_path: Path) -> None:
    recipe = {"source": PAPER, "reported": {"accuracy": 0.76}, "split": "split --method image --test-size 0.15"}
    run = make_run(tmp_path / "a", parameters=recipe, changed=["epochs=3", "batch=8"])
    line = compare_with_literature(compare([run]))[0]
    assert (line.reported, line.their_split) == ("accuracy 0.76", "split --method image --test-size 0.15")
    assert line.changed == "epochs=3; batch=8"
    assert line.verdict.startswith("Not comparable: the published value comes from an image-level split")


def test_a_recipe_recorded_whole_is_found_too(tmp_path: Path) -> None:
    recipe = {"source": PAPER, "reported": ["accuracy 91.4%", "split by image"]}
    run = make_run(tmp_path / "a", parameters={"recipe": recipe, "features": []})
    assert compare_with_literature(compare([run]))[0].reported == "accuracy 91.4%; split by image"
