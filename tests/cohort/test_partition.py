from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from leukobench.cli import main
from leukobench.cohort.audit import audit
from leukobench.cohort.identity import subject_groups
from leukobench.cohort.manifest import manifest_checksum, read_manifest
from leukobench.cohort.partition import Folds, Repeats, read_partition, read_split, summary, write_split
from leukobench.cohort.splitting import (
    SplitOptions,
    split,
    split_by_image,
    split_by_subject,
    split_in_folds,
    split_officially,
)
from leukobench.cohort.ties import accepted, read_ties
from leukobench.core.errors import InputError
from leukobench.core.files import sha256_of
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def shipped() -> pd.DataFrame:
    return read_manifest(REPOSITORY / "data_manifest.csv")


@pytest.mark.parametrize("seed", range(10))
def test_no_subject_group_and_no_image_is_in_two_parts(shipped: pd.DataFrame, seed: int) -> None:
    training_phase = shipped[shipped["phase"] == "train"]
    partition = split_by_subject(training_phase, 0.2, SplitOptions(validation_size=0.1, seed=seed))
    assert partition.shared_groups == []
    parts = partition.rows.set_index("path")["part"]
    pictures = training_phase.assign(part=training_phase["path"].map(parts)).groupby("sha256")["part"]
    assert (pictures.nunique() == 1).all()


def test_the_test_size_of_an_image_level_split_is_exact(shipped: pd.DataFrame) -> None:
    sizes = split_by_image(shipped, 0.15, SplitOptions(seed=121)).rows.groupby("label")["part"].value_counts()
    assert sizes["all"]["test"] == round(0.15 * (7_272 + 1_219))
    assert sizes["hem"]["test"] == round(0.15 * (3_389 + 648))


def test_unlabelled_images_are_left_out(shipped: pd.DataFrame) -> None:
    assert len(split_by_subject(shipped, 0.2).rows) == 10_661 + 1_867


def test_the_order_of_the_manifest_does_not_matter(shipped: pd.DataFrame) -> None:
    shuffled = shipped.sample(frac=1, random_state=0)
    drawn = [split_by_subject(rows, 0.2, SplitOptions(seed=5)) for rows in (shipped, shuffled)]
    one, other = (partition.rows.set_index("path")["part"] for partition in drawn)
    assert (one == other.reindex(one.index)).all()


def test_another_seed_is_another_split(shipped: pd.DataFrame) -> None:
    one, other = (split_by_subject(shipped, 0.2, SplitOptions(seed=seed)).rows["part"] for seed in (1, 2))
    assert (one != other).any()


def test_a_published_split_does_not_change(shipped: pd.DataFrame) -> None:
    # a contract, not a truth: whoever names the arguments of a split must get the same one from every later version;
    # version 0.4.0 changed it on purpose, to balance subjects
    ties = read_ties()
    identical = accepted(ties[ties["kind"] == "identical"])
    before = shipped.assign(subject_group=subject_groups(shipped["subject"], identical))
    for manifest, expected in ((before, "cf22f8cffc4e35e7"), (shipped, "d11d2c5b5450dc42")):
        partition = split_by_subject(manifest, 0.2, SplitOptions(validation_size=0.1, seed=1))
        text = "".join(partition.rows["path"] + partition.rows["part"])
        assert hashlib.sha256(text.encode()).hexdigest()[:16] == expected


def test_official_split_tests_on_the_preliminary_phase(shipped: pd.DataFrame) -> None:
    partition = split_officially(shipped)
    sizes = partition.rows.groupby(["part", "label"]).size()
    assert sizes.to_dict() == {
        ("test", "all"): 1_219,
        ("test", "hem"): 648,
        ("train", "all"): 7_272 - 1_074,  # 51, 75 and 78, who are 55, and so in the preliminary test
        ("train", "hem"): 3_389,
    }
    assert audit(shipped, ties=read_ties(), partition=partition).leaks.groups == {"train/test": []}
    assert "left out      1074 images of 1 subject group that is also in the test part: 51=55=75=78" in summary(
        partition, shipped
    )


def test_an_image_level_split_is_marked_as_leaky_in_every_row_of_its_file(cohort: Path, tmp_path: Path) -> None:
    partition = split_by_image(read_manifest(cohort / "manifest.csv"), 0.25)
    write_split(partition, tmp_path / "image.csv")
    assert (pd.read_csv(tmp_path / "image.csv")["method"].str.startswith("image-LEAKY")).all()
    written = read_partition(tmp_path / "image.csv")
    assert written.leaky
    assert len(written.shared_groups) > 0
    assert not read_partition(cohort / "split.csv").leaky
    assert len(written.part("test")) == 10


def test_a_partition_edited_by_hand_so_that_it_shares_subjects_is_leaky(cohort: Path) -> None:
    partition = read_partition(cohort / "split.csv")
    rows = partition.rows.copy()
    rows.loc[rows.index[rows["part"] == "test"][0], "part"] = "train"
    assert dataclasses.replace(partition, rows=rows).leaky


def test_a_partition_names_its_manifest_and_its_checksum_is_that_of_its_file(cohort: Path) -> None:
    partition = read_partition(cohort / "split.csv")
    assert partition.manifest == sha256_of(cohort / "manifest.csv")[:16]
    assert partition.checksums == {"partition": sha256_of(cohort / "split.csv")}


def test_one_subject_of_a_class_cannot_be_split(cohort: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    single = manifest[(manifest["label"] == "hem") | (manifest["subject"] == "1")]
    with pytest.raises(
        InputError, match="test part would contain no all image: the cohort has 1 subject group of that class"
    ):
        split_by_subject(single, 0.4)


@pytest.mark.parametrize("fold", ["0", "1", "2"])
def test_subjects_of_the_official_test_fold_are_left_out_of_training(shipped: pd.DataFrame, fold: str) -> None:
    training_phase = shipped[shipped["phase"] == "train"]
    partition = split_officially(shipped, fold, SplitOptions(validation_size=0.1))
    assert set(partition.part("test")["path"]) == set(training_phase["path"][training_phase["fold"] == fold])
    assert partition.shared_groups == []
    left_out = training_phase[~training_phase["path"].isin(partition.rows["path"])]
    groups = set(left_out["subject_group"])
    assert groups == set(partition.part("test")["subject_group"]) & groups
    assert all("=" in group for group in groups)
    assert len(left_out) > 0
    assert any(line.startswith(f"left out    {len(left_out):6} images of") for line in summary(partition, shipped))
    prelim = (shipped["phase"] == "prelim").sum()
    assert f"not used    {prelim:6} labelled images" in summary(partition, shipped)


def test_official_split_says_what_the_manifest_lacks(cohort: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    with pytest.raises(InputError, match="no images of the preliminary phase"):
        split_officially(manifest)
    with pytest.raises(InputError, match="only images of fold 0"):
        split_officially(manifest[manifest["fold"] == "0"], "0")


@pytest.mark.parametrize("seed", [0, 1])
def test_every_image_is_tested_in_one_fold_and_no_subject_group_is_in_two_parts(
    shipped: pd.DataFrame, seed: int
) -> None:
    partitions = split_in_folds(shipped, 5, SplitOptions(validation_size=0.1, seed=seed))
    partitions = list(partitions.partitions.values())
    tested = pd.concat([partition.part("test") for partition in partitions])
    assert sorted(tested["path"]) == sorted(shipped["path"][shipped["label"] != ""])
    for partition in partitions:
        assert partition.shared_groups == []
        assert len(partition.rows) == 10_661 + 1_867
    for label, rows in tested.groupby("label"):
        sizes = pd.Series([(partition.part("test")["label"] == label).sum() for partition in partitions])
        assert sizes.max() - sizes.min() <= rows["subject_group"].value_counts().max()


def test_more_folds_than_subject_groups_are_refused(cohort: Path) -> None:
    with pytest.raises(InputError, match="6 folds need 6 subject groups of each class; the cohort has 5 of all"):
        split_in_folds(read_manifest(cohort / "manifest.csv"), 6)


def test_a_cross_validation_is_a_folder_of_partitions(cohort: Path, tmp_path: Path) -> None:
    made = split_in_folds(read_manifest(cohort / "manifest.csv"), 3)
    write_split(made, tmp_path / "folds")
    assert sorted(file.name for file in (tmp_path / "folds").iterdir()) == ["fold_0.csv", "fold_1.csv", "fold_2.csv"]
    read = read_split(tmp_path / "folds")
    assert isinstance(read, Folds)
    assert [number for number, _ in read.by_fold()] == [0, 1, 2]
    assert [number for number, _ in read_split(tmp_path / "folds" / "fold_0.csv").by_fold()] == [None]
    files = {name: sha256_of(tmp_path / "folds" / f"{name}.csv") for name in ("fold_0", "fold_1", "fold_2")}
    assert read.checksums == made.checksums == files
    shutil.copy(tmp_path / "folds" / "fold_0.csv", tmp_path / "folds" / "fold_3.csv")
    with pytest.raises(InputError, match="is tested in two folds"):
        read_split(tmp_path / "folds")
    shutil.copy(cohort / "split.csv", tmp_path / "folds" / "fold_3.csv")
    with pytest.raises(InputError, match="were not made together"):
        read_split(tmp_path / "folds")
    (tmp_path / "one").mkdir()
    shutil.copy(tmp_path / "folds" / "fold_0.csv", tmp_path / "one")
    with pytest.raises(InputError, match="contains one fold only, which is no cross-validation"):
        read_split(tmp_path / "one")
    with pytest.raises(InputError, match=r"contains no fold_0\.csv"):
        read_split(tmp_path)


def test_repeats_are_cross_validations_with_the_seeds_that_follow(cohort: Path, tmp_path: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    made = split(manifest, "kfold", folds=3, repeats=2, seed=4, validation_size=0.2)
    assert isinstance(made, Repeats)
    for repeat, folds in made.repeats.items():
        of_seed = split_in_folds(manifest, 3, SplitOptions(validation_size=0.2, seed=4 + repeat))
        assert folds.checksums == of_seed.checksums
    write_split(made, tmp_path / "repeats")
    files = sorted((tmp_path / "repeats").rglob("*.csv"))
    written = {file.relative_to(tmp_path / "repeats").with_suffix("").as_posix(): sha256_of(file) for file in files}
    assert written == made.checksums
    assert len(written) == 6
    assert read_split(tmp_path / "repeats" / "repeat_1").checksums == made.repeats[1].checksums
    with pytest.raises(InputError, match=r"contains 2 repeats of a cross-validation; name one of them, .*repeat_0$"):
        read_split(tmp_path / "repeats")
    with pytest.raises(InputError, match="already exists"):
        write_split(made, tmp_path / "repeats")


def test_one_repeat_is_a_plain_cross_validation(cohort: Path) -> None:
    made = split(read_manifest(cohort / "manifest.csv"), "kfold", folds=3, repeats=1)
    assert isinstance(made, Folds)


@pytest.mark.parametrize(
    ("method", "repeats", "reason"),
    [("kfold", 0, "repeats=0; expected at least 1"), ("subject", 2, "'subject' is not repeated; choose kfold")],
)
def test_unusable_repeats_are_refused(cohort: Path, method: str, repeats: int, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        split(read_manifest(cohort / "manifest.csv"), method, repeats=repeats)


def test_the_command_writes_each_repeat_and_a_training_takes_one(cohort: Path, tmp_path: Path) -> None:
    arguments = [
        "split",
        str(cohort / "manifest.csv"),
        "--method",
        "kfold",
        "--folds",
        "3",
        "-o",
        str(tmp_path / "folds"),
    ]
    result = CliRunner().invoke(main, [*arguments, "--repeats", "2"])
    assert result.exit_code == 0, result.output
    assert [line for line in result.output.splitlines() if line.startswith("repeat")] == [
        f"repeat {repeat} fold {fold}" for repeat in range(2) for fold in range(3)
    ]
    training = [
        "train-svm",
        str(cohort / "features.csv"),
        "--split",
        str(tmp_path / "folds"),
        "-o",
        str(tmp_path / "run"),
    ]
    refused = CliRunner().invoke(main, training)
    assert refused.exit_code == 1
    assert "contains 2 repeats of a cross-validation; name one of them" in refused.output


def test_balanced_parts_have_as_many_blasts_as_normal_cells(shipped: pd.DataFrame) -> None:
    plain = split_by_subject(shipped, 0.2, SplitOptions(validation_size=0.1, seed=1))
    partition = split_by_subject(shipped, 0.2, SplitOptions(validation_size=0.1, seed=1, balance=True))
    counts = partition.rows.groupby(["part", "label"]).size().unstack()
    assert (counts["all"] == counts["hem"]).all()
    rarer = plain.rows.groupby(["part", "label"]).size().unstack().min(axis=1)
    assert (counts["all"] == rarer).all()
    of_plain = plain.rows.set_index("path")["part"].loc[partition.rows["path"]]
    assert (partition.rows.set_index("path")["part"] == of_plain).all()
    assert partition.method.endswith("seed=1 balance")


def test_no_subject_has_more_images_than_per_subject(shipped: pd.DataFrame) -> None:
    partition = split_by_subject(shipped, 0.2, SplitOptions(seed=1, per_subject=20))
    taken = partition.rows["subject"].value_counts()
    whole = shipped["subject"].value_counts().drop("")
    assert (taken == whole.clip(upper=20).loc[taken.index]).all()
    assert len(taken) == len(whole)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.assign(part="holdout"), "part 'holdout'"),
        (lambda table: table.assign(label="blast"), "label 'blast'"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "is duplicated"),
        (lambda table: table.drop(columns="part"), "lacks the column part"),
        (lambda table: table.iloc[:0], "contains no row"),
        (lambda table: table.assign(method=["a", *["b"] * (len(table) - 1)]), "its rows differ in method"),
    ],
)
def test_a_malformed_partition_is_refused(cohort: Path, tmp_path: Path, change, reason: str) -> None:
    change(pd.read_csv(cohort / "split.csv", dtype=str)).to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(InputError, match=reason):
        read_partition(tmp_path / "bad.csv")


def test_only_the_images_of_the_named_phases_are_divided(shipped: pd.DataFrame) -> None:
    phase = shipped.set_index("path")["phase"]
    for phases in (("train",), ("prelim",), ("train", "prelim")):
        folds = split(shipped, "kfold", phases=phases, seed=1)
        expected = {path for path, of in phase.items() if of in phases}
        for _, partition in folds.by_fold():
            assert set(partition.rows["path"]) == expected
            assert partition.shared_groups == []
        assert folds.manifest == manifest_checksum(shipped)[:16]
        assert folds.method.endswith(f" phases={','.join(phases)}")


def test_without_phases_the_method_does_not_mention_them(shipped: pd.DataFrame) -> None:
    assert split(shipped, "subject", seed=1).method == "subject test=0.2 validation=0.1 seed=1"


def test_the_order_of_the_phases_does_not_matter(shipped: pd.DataFrame) -> None:
    one, other = (split(shipped, phases=phases) for phases in (["train", "prelim"], ["prelim", "train", "prelim"]))
    assert one.checksums == other.checksums


@pytest.mark.parametrize(
    ("phases", "says"),
    [(["fourth"], "no phase 'fourth'; choose from train"), (["final"], "no labelled image of the phase final")],
)
def test_phases_that_cannot_be_divided_are_named(shipped: pd.DataFrame, phases: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        split(shipped, phases=phases)
