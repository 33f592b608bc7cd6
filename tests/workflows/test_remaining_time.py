"""The time that is left of a study: facts that can be checked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from leukobench.workflows.remaining_time import (
    IMAGES,
    QUICK_LEAKAGE,
    SECONDS,
    RemainingTime,
    expected_seconds,
    in_words,
)
from leukobench.workflows.study_plan import CohortFacts, Step, Study, steps


def step(name: str, optional: bool = False) -> Step:
    return Step(name, (), Path(name), list, optional=optional)


def after(expected: dict[str, float], finished: dict[str, float | None]) -> RemainingTime:
    remaining = RemainingTime(expected)
    for name, seconds in finished.items():
        remaining.add(name, seconds)
    return remaining


def test_the_last_of_equal_steps_takes_the_mean_of_the_others() -> None:
    remaining = after(dict.fromkeys("abcd", 1), {"a": 10, "b": 20, "c": 60})
    assert remaining.seconds([step("d")]) == pytest.approx(30)


def test_a_machine_of_half_the_speed_takes_twice_the_time() -> None:
    remaining = after({"a": 10, "b": 30, "c": 50}, {"a": 20})
    assert remaining.seconds([step("b"), step("c")]) == pytest.approx(160)


def test_nothing_is_estimated_from_reused_steps_or_from_next_to_nothing() -> None:
    assert after({"a": 1, "b": 1}, {}).seconds([step("b")]) is None
    assert after({"a": 1, "b": 1}, {"a": None}).seconds([step("b")]) is None
    reused = after({"a": 9, "b": 1, "c": 2}, {"a": None, "b": 5})
    assert reused.seconds([step("c")]) == pytest.approx(10)  # from b alone
    assert after({"folds": 0, "b": 100}, {"folds": 0.1}).seconds([step("b")]) is None
    assert after({"a": 1, "b": 1000}, {"a": 1}).seconds([step("b")]) is None


def test_optional_steps_that_would_begin_after_the_limit_do_not_count() -> None:
    remaining = after(dict.fromkeys("abcd", 10), {"a": 10})
    rest = [step("b"), step("c", optional=True), step("d")]
    assert remaining.seconds(rest, limit=10.1) == pytest.approx(30)  # c begins after 10 s
    assert remaining.seconds(rest, limit=9.9) == pytest.approx(20)


@pytest.mark.parametrize("quick", [True, False])
def test_every_step_has_an_expected_time_that_grows_with_the_images(tmp_path: Path, quick: bool) -> None:
    names = {each.name for each in steps(Study(tmp_path, tmp_path, quick=quick), CohortFacts(40, ("train",), 5))}
    assert names <= set(SECONDS)
    few, many = (expected_seconds(images, quick) for images in (IMAGES[0], 2 * IMAGES[1]))
    leakage = QUICK_LEAKAGE if quick else SECONDS["leakage"]
    assert few["leakage"] == leakage[0]
    assert many["leakage"] == 2 * leakage[1]
    assert expected_seconds(sum(IMAGES) // 2, quick)["svm"] == pytest.approx(sum(SECONDS["svm"]) / 2)


def test_the_time_is_said_as_a_person_would() -> None:
    said = {59: "less than a minute left", 61: "about 1 minute left", 5399: "about 90 minutes left"}
    assert {seconds: in_words(seconds) for seconds in said} == said
    assert in_words(7 * 3600) == "about 7 hours left"
