from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from study.errors import StudyError
from study.manifest import read_manifest
from study.partition import is_leaky, read_partition, shared_groups, split, write_partition
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def shipped() -> pd.DataFrame:
    return read_manifest(REPOSITORY / "data_manifest.csv")


@pytest.mark.parametrize("seed", range(10))
def test_no_subject_group_and_no_picture_stands_on_two_sides(shipped: pd.DataFrame, seed: int) -> None:
    training_phase = shipped[shipped["phase"] == "train"]
    partition = split(training_phase, test_size=0.2, validation_size=0.1, seed=seed)
    assert shared_groups(partition) == []
    parts = partition.set_index("path")["part"]
    pictures = training_phase.assign(part=training_phase["path"].map(parts)).groupby("sha256")["part"]
    assert (pictures.nunique() == 1).all()


@pytest.mark.parametrize("seed", range(10))
def test_each_class_is_met_to_within_half_of_its_largest_group(shipped: pd.DataFrame, seed: int) -> None:
    partition = split(shipped, test_size=0.2, validation_size=0.1, seed=seed)
    for _, rows in partition.groupby("label"):
        slack = rows["subject_group"].value_counts().max() / 2
        sizes = rows["part"].value_counts()
        assert sizes["test"] == pytest.approx(0.2 * len(rows), abs=slack)
        assert sizes["validation"] == pytest.approx(0.1 * len(rows), abs=slack)


def test_a_split_by_image_is_exact(shipped: pd.DataFrame) -> None:
    sizes = split(shipped, "image", test_size=0.15, seed=121).groupby("label")["part"].value_counts()
    assert sizes["all"]["test"] == round(0.15 * (7_272 + 1_219))
    assert sizes["hem"]["test"] == round(0.15 * (3_389 + 648))


def test_unlabelled_images_are_left_out(shipped: pd.DataFrame) -> None:
    assert len(split(shipped, seed=1)) == 10_661 + 1_867


def test_the_order_of_the_manifest_does_not_matter(shipped: pd.DataFrame) -> None:
    shuffled = shipped.sample(frac=1, random_state=0)
    one, other = (split(rows, seed=5).set_index("path")["part"] for rows in (shipped, shuffled))
    assert (one == other.reindex(one.index)).all()


def test_another_seed_is_another_split(shipped: pd.DataFrame) -> None:
    one, other = (split(shipped, seed=seed)["part"] for seed in (1, 2))
    assert (one != other).any()


def test_official_split_tests_on_the_preliminary_phase(shipped: pd.DataFrame) -> None:
    partition = split(shipped, "official")
    sizes = partition.groupby(["part", "label"]).size()
    assert sizes.to_dict() == {
        ("test", "all"): 1_219,
        ("test", "hem"): 648,
        ("train", "all"): 7_272,
        ("train", "hem"): 3_389,
    }


def test_a_split_by_image_says_that_it_leaks_in_every_row_of_its_file(cohort: Path, tmp_path: Path) -> None:
    partition = split(read_manifest(cohort / "manifest.csv"), "image", test_size=0.25, seed=0)
    write_partition(partition, cohort / "manifest.csv", tmp_path / "image.csv")
    written = read_partition(tmp_path / "image.csv")
    assert all(is_leaky(method) for method in written["method"])
    assert len(shared_groups(written)) > 0
    assert not any(is_leaky(method) for method in read_partition(cohort / "split.csv")["method"])
    assert (written["part"] == "test").sum() == 10


def test_one_subject_of_a_class_cannot_be_split(cohort: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    single = manifest[(manifest["label"] == "hem") | (manifest["subject"] == "1")]
    with pytest.raises(
        StudyError, match="test part would hold no all image: the cohort has 1 subject group of that class"
    ):
        split(single, test_size=0.4)


def test_official_split_refuses_a_person_in_both_phases(cohort: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    manifest.loc[0, "phase"] = "prelim"
    with pytest.raises(StudyError, match="share the subject groups 1;"):
        split(manifest, "official")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.assign(part="holdout"), "part 'holdout'"),
        (lambda table: table.assign(label="blast"), "label 'blast'"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "stands twice"),
        (lambda table: table.drop(columns="part"), "lacks the column part"),
        (lambda table: table.iloc[:0], "holds no row"),
    ],
)
def test_a_malformed_partition_is_refused(cohort: Path, tmp_path: Path, change, reason: str) -> None:
    change(pd.read_csv(cohort / "split.csv", dtype=str)).to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(StudyError, match=reason):
        read_partition(tmp_path / "bad.csv")
