from __future__ import annotations

import pandas as pd
import pytest

from leukobench.cohort.identity import (
    copies,
    divided,
    pairs_between,
    pairs_within,
    shared_between,
    subject_groups,
    tie_subjects,
)


@pytest.fixture
def cohort_of_six() -> pd.DataFrame:
    """Image a three times (folds 0, 0, 1; subjects 1, 2, unknown), b twice (another label), c once."""
    return pd.DataFrame(
        {
            "path": ["1.bmp", "2.bmp", "3.bmp", "4.bmp", "5.bmp", "6.bmp"],
            "label": ["all", "all", "", "all", "hem", "hem"],
            "subject": ["1", "2", "", "10", "10", "3"],
            "phase": ["train", "train", "final", "train", "train", "train"],
            "fold": ["0", "1", "", "2", "2", "2"],
            "sha256": ["a", "a", "a", "b", "b", "c"],
        }
    )


def ties(*joined: str) -> pd.DataFrame:
    """Ties such as 1=2 as a table."""
    return pd.DataFrame([tie.split("=") for tie in joined], columns=["subject", "other_subject"])


def test_three_copies_are_three_pairs_and_an_unknown_value_crosses_nothing(cohort_of_six: pd.DataFrame) -> None:
    found = copies(cohort_of_six, cohort_of_six["sha256"])
    assert found.pairs == 3 + 1
    assert found.within == {"train": 2}
    assert found.crossing == {"phase": 2, "fold": 1, "subject": 1, "label": 1}
    assert found.sets == [["1.bmp", "2.bmp", "3.bmp"], ["4.bmp", "5.bmp"]]


def test_pairs_of_a_finer_identity_are_not_counted_again(cohort_of_six: pd.DataFrame) -> None:
    pixels = pd.Series(["a", "a", "a", "b", "b", "a"])
    found = copies(cohort_of_six, pixels, counted_already=cohort_of_six["sha256"])
    assert found.pairs == 3  # the sixth file with each of the three
    assert found.sets == [["1.bmp", "2.bmp", "3.bmp", "6.bmp"]]
    assert found.crossing["subject"] == 2
    assert copies(cohort_of_six, cohort_of_six["sha256"], cohort_of_six["sha256"]).pairs == 0


def test_pairs_of_a_million_copies_are_counted_without_being_listed() -> None:
    million = pd.Series(["same"]).repeat(1_000_000)
    assert pairs_within(million) == 1_000_000 * 999_999 // 2


def test_pairs_between_parts() -> None:
    identity = pd.Series(["a", "a", "a", "b", "b", "c"])
    part = pd.Series(["train", "train", "test", "train", "validation", "test"])
    assert pairs_between(identity, part, ("train", "validation", "test")) == {
        ("train", "validation"): 1,
        ("train", "test"): 2,
        ("validation", "test"): 0,
    }


def test_shared_groups_and_divided_units_are_in_natural_order() -> None:
    group = pd.Series(["H10", "H10", "H2", "H2", "9", ""])
    part = pd.Series(["train", "test", "train", "test", "train", "test"])
    assert shared_between(group, part, ("train", "test")) == {("train", "test"): ["H2", "H10"]}
    assert divided(group, part) == ["H2", "H10"]
    assert divided(group, pd.Series(["0", "", "0", "0", "1", "2"])) == []


def test_subjects_are_joined_by_any_of_several_ties() -> None:
    subject, sha256 = pd.Series(["1", "2", "3", "", "4"]), pd.Series(["a", "a", "b", "c", "c"])
    first, names = tie_subjects(subject, sha256, pd.Series(["x", "y", "y", "z", "z"]))
    assert first.tolist() == ["1", "1", "1", "", "4"]
    assert names == {"1": "1=2=3", "4": "4"}
    assert tie_subjects(subject, sha256, ties=ties("3=4"))[1] == {"1": "1=2", "3": "3=4"}


def test_subjects_are_joined_through_one_without_an_image() -> None:
    subject = pd.Series(["H10", "H2", "5", ""])
    assert subject_groups(subject, ties("H2=7", "7=H10")).tolist() == ["H2=H10", "H2=H10", "5", ""]


def test_a_cohort_without_subjects_has_no_group() -> None:
    assert subject_groups(pd.Series(["", ""]), ties()).tolist() == ["", ""]


def test_a_hundred_thousand_images_of_one_group_do_not_repeat_its_long_name_in_memory() -> None:
    subject = pd.Series([f"S{number % 1000}" for number in range(100_000)])
    groups = subject_groups(subject, ties(*(f"S0=S{number}" for number in range(1, 1000))))
    assert len({id(name) for name in groups}) == 1
