from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest

from leukobench.cohort.identity import subject_groups
from leukobench.cohort.manifest import COLUMNS
from leukobench.cohort.partition import Folds, read_split, write_split
from leukobench.cohort.split_levels import REFERENCE, SplitLevel, coinciding_levels, level_folds, level_units
from leukobench.cohort.ties import KINDS, accepted
from leukobench.core.errors import InputError

SEEDS = range(6)
FOLDS = 3


def make_ties() -> pd.DataFrame:
    """Of both classes, the first two IDs are tied by identical images, the second and third by a near-duplicate."""
    rows = [
        {"subject": first, "other_subject": second, "kind": kind, "accepted": "yes"}
        for prefix in ("", "H")
        for first, second, kind in ((f"{prefix}1", f"{prefix}2", KINDS[0]), (f"{prefix}2", f"{prefix}3", KINDS[2]))
    ]
    return pd.DataFrame(rows)


def make_manifest() -> pd.DataFrame:
    """16 subject IDs, 8 of each class, with 6 to 13 images."""
    subjects = [f"{prefix}{number}" for number in range(1, 9) for prefix in ("", "H")]
    subject = [name for number, name in enumerate(subjects) for _ in range(6 + number // 2)]
    rows = pd.DataFrame({"path": [f"{number}.bmp" for number in range(len(subject))], "subject": subject})
    rows["label"] = ["hem" if name.startswith("H") else "all" for name in subject]
    rows["subject_group"] = subject_groups(rows["subject"], accepted(make_ties()))
    return rows.reindex(columns=list(COLUMNS), fill_value="")


MANIFEST = make_manifest()
UNITS = level_units(MANIFEST, make_ties())


def folds_of(seed: int) -> dict[SplitLevel, Folds]:
    return level_folds(MANIFEST, UNITS, FOLDS, seed)


def test_the_levels_keep_together_ever_more_images() -> None:
    assert list(UNITS) == list(SplitLevel)
    assert [unit.nunique() for unit in UNITS.values()] == [len(MANIFEST), 16, 14, 12]
    assert {"1=2", "H1=H2"} <= set(UNITS[SplitLevel.IDENTICAL_IMAGES])
    assert {"1=2=3", "H1=H2=H3"} <= set(UNITS[SplitLevel.SUBJECT_GROUP])
    assert coinciding_levels(UNITS) == {}


def test_without_ties_the_levels_of_ids_coincide() -> None:
    untied = MANIFEST.assign(subject_group=MANIFEST["subject"])
    same = coinciding_levels(level_units(untied, make_ties()[:0]))
    assert same == dict.fromkeys([SplitLevel.SUBJECT_ID, SplitLevel.IDENTICAL_IMAGES], REFERENCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_image_is_tested_once_at_every_level(seed: int) -> None:
    for folds in folds_of(seed).values():
        tested = pd.concat([partition.part("test") for partition in folds.partitions.values()])
        assert sorted(tested["path"]) == sorted(MANIFEST["path"])


@pytest.mark.parametrize("seed", SEEDS)
def test_no_fold_shares_a_unit_of_its_level_between_training_and_test(seed: int) -> None:
    for level, folds in folds_of(seed).items():
        for partition in folds.partitions.values():
            part, unit = partition.rows["part"], UNITS[level][partition.rows.index]
            assert not set(unit[part == "train"]) & set(unit[part == "test"])


@pytest.mark.parametrize("seed", SEEDS)
def test_all_training_parts_have_as_many_images_of_each_class_as_the_smallest_one_could_have(seed: int) -> None:
    made = folds_of(seed)
    partitions = [partition for folds in made.values() for partition in folds.partitions.values()]
    sizes = {tuple(partition.part("train")["label"].value_counts().sort_index()) for partition in partitions}
    tested = pd.concat([partition.part("test")["label"].value_counts() for partition in partitions], axis=1)
    available = MANIFEST["label"].value_counts() - tested.max(axis=1)
    assert sizes == {(available["all"], available["hem"])}


def test_each_level_but_the_reference_shares_what_the_next_stricter_one_keeps_together() -> None:
    for level, stricter in itertools.pairwise(SplitLevel):
        shared = 0
        for seed in SEEDS:
            for partition in folds_of(seed)[level].partitions.values():
                part, unit = partition.rows["part"], UNITS[stricter][partition.rows.index]
                shared += len(set(unit[part == "train"]) & set(unit[part == "test"]))
        assert shared > 0


def test_folds_are_marked_as_leaky_exactly_if_they_share_subjects(tmp_path: Path) -> None:
    marked = set()
    for seed in SEEDS:
        for level, made in folds_of(seed).items():
            path = tmp_path / f"{seed}_{level}"
            write_split(made, path)
            folds = read_split(path)
            assert folds.leaky == bool(folds.shared_groups)
            assert folds.method == f"{level}{'-LEAKY' * folds.leaky} folds={FOLDS} seed={seed}"
            marked.add((level, folds.leaky))
    assert {level for level, leaky in marked if leaky} == set(SplitLevel) - {REFERENCE}
    assert (REFERENCE, True) not in marked


def test_the_folds_do_not_depend_on_the_order_of_the_manifest() -> None:
    turned = MANIFEST[::-1].reset_index(drop=True)
    other = level_folds(turned, level_units(turned, make_ties()), FOLDS, 1)
    for level, folds in folds_of(1).items():
        for number, partition in folds.partitions.items():
            parts = [
                each.rows.set_index("path")["part"].sort_index()
                for each in (partition, other[level].partitions[number])
            ]
            assert parts[0].equals(parts[1])


def test_ties_that_contradict_the_subject_groups_of_the_manifest_are_refused() -> None:
    with pytest.raises(InputError, match="subject IDs 1=2 are tied by identical images, but are in several"):
        level_units(MANIFEST.assign(subject_group=MANIFEST["subject"]), make_ties())


@pytest.mark.parametrize(("folds", "says"), [(1, "at least 2 folds"), (7, "the cohort has 6 of")])
def test_an_impossible_number_of_folds_is_refused(folds: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        level_folds(MANIFEST, UNITS, folds)
