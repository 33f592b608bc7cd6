from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pandas as pd
import pytest

from leukobench.cohort.manifest import read_manifest
from leukobench.cohort.partition import (
    Choice,
    is_leaky,
    read_partition,
    read_partitions,
    shared_groups,
    split_by_image,
    split_by_subject,
    split_in_folds,
    split_officially,
    summary,
    write_folds,
    write_partition,
)
from leukobench.core.errors import InputError
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def shipped() -> pd.DataFrame:
    return read_manifest(REPOSITORY / "data_manifest.csv")


@pytest.mark.parametrize("seed", range(10))
def test_no_subject_group_and_no_picture_stands_on_two_sides(shipped: pd.DataFrame, seed: int) -> None:
    training_phase = shipped[shipped["phase"] == "train"]
    partition = split_by_subject(training_phase, 0.2, Choice(validation_size=0.1, seed=seed))
    assert shared_groups(partition) == []
    parts = partition.set_index("path")["part"]
    pictures = training_phase.assign(part=training_phase["path"].map(parts)).groupby("sha256")["part"]
    assert (pictures.nunique() == 1).all()


@pytest.mark.parametrize("seed", range(10))
def test_each_class_is_met_to_within_half_of_its_largest_group(shipped: pd.DataFrame, seed: int) -> None:
    partition = split_by_subject(shipped, 0.2, Choice(validation_size=0.1, seed=seed))
    for _, rows in partition.groupby("label"):
        slack = rows["subject_group"].value_counts().max() / 2
        sizes = rows["part"].value_counts()
        assert sizes["test"] == pytest.approx(0.2 * len(rows), abs=slack)
        assert sizes["validation"] == pytest.approx(0.1 * len(rows), abs=slack)


def test_a_split_by_image_is_exact(shipped: pd.DataFrame) -> None:
    sizes = split_by_image(shipped, 0.15, Choice(seed=121)).groupby("label")["part"].value_counts()
    assert sizes["all"]["test"] == round(0.15 * (7_272 + 1_219))
    assert sizes["hem"]["test"] == round(0.15 * (3_389 + 648))


def test_unlabelled_images_are_left_out(shipped: pd.DataFrame) -> None:
    assert len(split_by_subject(shipped, 0.2)) == 10_661 + 1_867


def test_the_order_of_the_manifest_does_not_matter(shipped: pd.DataFrame) -> None:
    shuffled = shipped.sample(frac=1, random_state=0)
    one, other = (split_by_subject(rows, 0.2, Choice(seed=5)).set_index("path")["part"] for rows in (shipped, shuffled))
    assert (one == other.reindex(one.index)).all()


def test_another_seed_is_another_split(shipped: pd.DataFrame) -> None:
    one, other = (split_by_subject(shipped, 0.2, Choice(seed=seed))["part"] for seed in (1, 2))
    assert (one != other).any()


def test_a_published_split_stays_what_it_was(shipped: pd.DataFrame) -> None:
    # a contract, not a truth: whoever names the arguments of a split must get the same one from every later version
    partition = split_by_subject(shipped, 0.2, Choice(validation_size=0.1, seed=1))
    text = "".join(partition["path"] + partition["part"])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "6fe15224db21e957"


def test_official_split_tests_on_the_preliminary_phase(shipped: pd.DataFrame) -> None:
    partition = split_officially(shipped)
    sizes = partition.groupby(["part", "label"]).size()
    assert sizes.to_dict() == {
        ("test", "all"): 1_219,
        ("test", "hem"): 648,
        ("train", "all"): 7_272,
        ("train", "hem"): 3_389,
    }


def test_a_split_by_image_says_that_it_leaks_in_every_row_of_its_file(cohort: Path, tmp_path: Path) -> None:
    partition = split_by_image(read_manifest(cohort / "manifest.csv"), 0.25)
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
        InputError, match="test part would hold no all image: the cohort has 1 subject group of that class"
    ):
        split_by_subject(single, 0.4)


@pytest.mark.parametrize("fold", ["0", "1", "2"])
def test_an_official_fold_left_out_takes_its_people_out_of_training(shipped: pd.DataFrame, fold: str) -> None:
    training_phase = shipped[shipped["phase"] == "train"]
    partition = split_officially(shipped, fold, Choice(validation_size=0.1))
    assert set(partition["path"][partition["part"] == "test"]) == set(
        training_phase["path"][training_phase["fold"] == fold]
    )
    assert shared_groups(partition) == []
    left_out = training_phase[~training_phase["path"].isin(partition["path"])]
    assert set(left_out["subject_group"]) <= {"20=21", "51=75=78", "H2=H4=H5=H6", "H3=H10"}
    assert len(left_out) > 0
    assert f"not used    {len(shipped[shipped['label'] != '']) - len(partition):6} labelled images" in summary(
        partition, shipped
    )


def test_official_split_says_what_the_manifest_lacks(cohort: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    with pytest.raises(InputError, match="nothing of the preliminary phase"):
        split_officially(manifest)
    with pytest.raises(InputError, match="nothing but fold 0"):
        split_officially(manifest[manifest["fold"] == "0"], "0")


@pytest.mark.parametrize("seed", [0, 1])
def test_every_image_is_tested_in_one_fold_and_no_person_stands_on_two_sides(shipped: pd.DataFrame, seed: int) -> None:
    partitions = split_in_folds(shipped, 5, Choice(validation_size=0.1, seed=seed))
    tested = pd.concat([partition[partition["part"] == "test"] for partition in partitions])
    assert sorted(tested["path"]) == sorted(shipped["path"][shipped["label"] != ""])
    for partition in partitions:
        assert shared_groups(partition) == []
        assert len(partition) == 10_661 + 1_867
    for label, rows in tested.groupby("label"):
        parts = [partition[(partition["part"] == "test") & (partition["label"] == label)] for partition in partitions]
        sizes = pd.Series([len(part) for part in parts])
        assert sizes.max() - sizes.min() <= rows["subject_group"].value_counts().max()


def test_more_folds_than_people_are_refused(cohort: Path) -> None:
    with pytest.raises(InputError, match="6 folds take 6 subject groups of each class; the cohort has 5 of all"):
        split_in_folds(read_manifest(cohort / "manifest.csv"), 6)


def test_a_cross_validation_is_a_folder_of_partitions(cohort: Path, tmp_path: Path) -> None:
    partitions = split_in_folds(read_manifest(cohort / "manifest.csv"), 3)
    write_folds(partitions, cohort / "manifest.csv", tmp_path / "folds")
    assert sorted(file.name for file in (tmp_path / "folds").iterdir()) == ["fold_0.csv", "fold_1.csv", "fold_2.csv"]
    assert list(read_partitions(tmp_path / "folds")) == ["0", "1", "2"]
    assert list(read_partitions(tmp_path / "folds" / "fold_0.csv")) == [""]
    shutil.copy(tmp_path / "folds" / "fold_0.csv", tmp_path / "folds" / "fold_3.csv")
    with pytest.raises(InputError, match="is tested in two folds"):
        read_partitions(tmp_path / "folds")
    shutil.copy(cohort / "split.csv", tmp_path / "folds" / "fold_3.csv")
    with pytest.raises(InputError, match="were not made together"):
        read_partitions(tmp_path / "folds")
    with pytest.raises(InputError, match=r"holds no fold_0\.csv"):
        read_partitions(tmp_path)


def test_balanced_parts_hold_as_many_blasts_as_normal_cells(shipped: pd.DataFrame) -> None:
    plain = split_by_subject(shipped, 0.2, Choice(validation_size=0.1, seed=1))
    partition = split_by_subject(shipped, 0.2, Choice(validation_size=0.1, seed=1, balance=True))
    counts = partition.groupby(["part", "label"]).size().unstack()
    assert (counts["all"] == counts["hem"]).all()
    rarer = plain.groupby(["part", "label"]).size().unstack().min(axis=1)
    assert (counts["all"] == rarer).all()
    assert (partition.set_index("path")["part"] == plain.set_index("path")["part"].loc[partition["path"]]).all()
    assert partition["method"].iloc[0].endswith("seed=1 balance")


def test_no_subject_gives_more_images_than_asked_for(shipped: pd.DataFrame) -> None:
    partition = split_by_subject(shipped, 0.2, Choice(seed=1, per_subject=20))
    taken = partition["subject"].value_counts()
    whole = shipped["subject"].value_counts().drop("")
    assert (taken == whole.clip(upper=20).loc[taken.index]).all()
    assert len(taken) == len(whole)


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
    with pytest.raises(InputError, match=reason):
        read_partition(tmp_path / "bad.csv")
