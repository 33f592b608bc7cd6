from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from leukobench.cells.cell import read_cell
from leukobench.cells.fingerprints import OUTSIDE, texture
from leukobench.cohort.audit import Audit, audit
from leukobench.cohort.audit_report import lines
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import labelled, read_manifest, shipped_manifest_path
from leukobench.cohort.near_duplicates import MIN_SIMILARITY, near_duplicates
from leukobench.cohort.partition import Partition
from leukobench.cohort.splitting import SplitOptions, split_by_image, split_by_subject, split_officially
from leukobench.cohort.synthetic import generate_cohort
from leukobench.cohort.ties import read_ties
from leukobench.core.errors import InputError


@pytest.fixture(scope="module")
def shipped() -> pd.DataFrame:
    return read_manifest(shipped_manifest_path())


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Path, pd.DataFrame]:
    """Eight subjects' cells, and among them copies: equal bytes, equal pixels as PNG, JPEG, turned and smaller."""
    images = tmp_path / "images"
    generate_cohort(images, subjects=8, cells_per_subject=2, seed=5)
    fold = images / "training_data" / "fold_0" / "all"
    original = fold / "UID_1_1_1_all.bmp"
    pixels = cv2.imread(str(original))
    shutil.copy(original, fold / "UID_2_90_1_all.bmp")
    cv2.imwrite(str(fold / "UID_3_91_1_all.png"), pixels)
    smaller = cv2.resize(np.rot90(pixels), None, fx=0.8, fy=0.8, interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(fold / "UID_4_92_1_all.bmp"), smaller)
    return images, index_folder(images, near=False)


PEOPLE = ["1=15=16=17=20=21", "43=44", "51=55=75=78", "H2=H4=H5=H6=H7", "H3=H10", "H14=H24"]  # of C-NMC 2019


def on_both_sides(manifest: pd.DataFrame, **parts: str) -> Partition:
    """A partition that trains on everything but the images named."""
    part = manifest["path"].map(lambda path: parts.get(Path(path).stem, "train"))
    return Partition(manifest.assign(part=part), "by hand", "")


def test_the_shipped_manifest_has_its_known_duplicates_and_groups(shipped: pd.DataFrame) -> None:
    found = audit(shipped, ties=read_ties())
    assert found.identical.pairs == 106
    assert found.identical.within == {"train": 104, "final": 2}
    assert found.identical.crossing == {"phase": 0, "fold": 94, "subject": 99, "label": 0}
    assert len(found.identical.sets) == 106
    assert found.groups.joined == PEOPLE
    assert (found.parts.loc["train", "subjects"], found.parts.loc["train", "groups"]) == (73, 59)
    assert found.parts.loc["train"].tolist()[:4] == [10_661, 7_272, 3_389, 0]
    assert (found.groups.apart, found.groups.together) == ([], [])
    # 55 is in the preliminary test, its other IDs are in training
    assert found.groups.across == {"phase": ["51=55=75=78"], "fold": PEOPLE, "label": []}
    by_identical_images = audit(shipped)
    assert by_identical_images.groups.joined == ["20=21", "51=75=78", "H2=H4=H5=H6", "H3=H10"]
    assert by_identical_images.parts.loc["train", "groups"] == 66
    assert by_identical_images.groups.groups == found.groups.by_identical_images
    assert (found.with_one_cell, found.with_both_labels) == ([], [])
    assert found.cells.sum() == len(labelled(shipped))


def test_groups_that_contradict_the_images_are_named(shipped: pd.DataFrame) -> None:
    groups = shipped["subject_group"].replace({"51=55=75=78": "51", "3": "2=3", "2": "2=3"})
    groups = groups.mask(shipped["subject"] == "78", "78")
    found = audit(shipped.assign(subject_group=groups), ties=read_ties()).groups
    assert (found.apart, found.together) == (["51=55=75=78"], ["2=3"])


def test_subjects_are_compared_without_case(shipped: pd.DataFrame) -> None:
    found = audit(shipped.assign(subject=shipped["subject"].str.lower()), ties=read_ties())
    assert found.groups.joined == PEOPLE


def test_subjects_with_one_cell_or_both_labels_are_named(cohort: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    manifest = manifest.drop(manifest.index[manifest["subject"] == "2"][1:])
    manifest.loc[manifest.index[manifest["subject"] == "H3"][0], "label"] = "all"
    found = audit(manifest)
    assert (found.with_one_cell, found.with_both_labels) == (["2"], ["H3"])
    of_h3 = found.subjects.set_index("subject").loc["H3"]
    assert (of_h3["all"], of_h3["hem"]) == (1, 3)
    assert found.groups.across["label"] == ["H3"]


def test_a_subject_level_split_does_not_leak_and_an_image_level_split_does(shipped: pd.DataFrame) -> None:
    by_subject = audit(
        shipped, partition=split_by_subject(shipped, 0.2, SplitOptions(validation_size=0.1, seed=1))
    ).leaks
    assert not by_subject.any
    assert by_subject.identical == {"train/validation": 0, "train/test": 0, "validation/test": 0}
    partition = split_by_image(shipped, 0.2, SplitOptions(seed=1))
    by_image = audit(shipped, partition=partition).leaks
    assert by_image.any
    parts = shipped["path"].map(partition.rows.set_index("path")["part"])
    expected = parts.groupby(shipped["sha256"]).nunique().eq(2).sum()  # no picture stands there three times
    assert by_image.identical == {"train/test": expected}
    assert expected > 0
    assert "43=44" in by_image.groups["train/test"]
    assert "LEAKY" in lines(audit(shipped, partition=partition))[-1]


def test_a_split_by_subject_id_leaks_the_subjects_that_are_tied(shipped: pd.DataFrame) -> None:
    by_id = split_officially(shipped.assign(subject_group=shipped["subject"]))
    part = np.where(by_id.rows["subject"] == "21", "test", "train")
    leaks = audit(shipped, partition=dataclasses.replace(by_id, rows=by_id.rows.assign(part=part))).leaks
    assert leaks.groups == {"train/test": ["1=15=16=17=20=21"]}
    assert leaks.identical["train/test"] > 0


def test_a_group_that_only_the_manifest_knows_leaks_too(cohort: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    manifest["subject_group"] = manifest["subject_group"].replace({"1": "1=2", "2": "1=2"})
    rows = manifest.assign(part=np.where(manifest["subject"] == "2", "test", "train"))
    partition = Partition(rows, "by hand", "")
    assert audit(manifest, partition=partition).leaks.groups == {"train/test": ["1=2"]}


def test_same_pixels_in_another_encoding_are_found_once(planted: tuple[Path, pd.DataFrame]) -> None:
    images, manifest = planted
    found = audit(manifest, images=images, jobs=2)
    assert found.identical.pairs == 1
    assert found.pixels.copies.pairs == 2  # the PNG with each of the two BMP files of the same bytes
    assert [[Path(path).name for path in same] for same in found.pixels.copies.sets] == [
        ["UID_1_1_1_all.bmp", "UID_2_90_1_all.bmp", "UID_3_91_1_all.png"]
    ]
    assert found.pixels.copies.crossing["subject"] == 2
    assert found.groups.joined == ["1=2=3"]
    assert [*zip(found.ties["kind"], found.ties["subject"], found.ties["other_subject"], strict=True)] == [
        ("identical", "1", "2"),
        ("same pixels", "1", "3"),
    ]
    assert found.groups.apart == ["1=2=3"]  # the manifest knows equal bytes only: 1=2
    assert audit(manifest).groups.apart == []


def test_same_pixels_leak(planted: tuple[Path, pd.DataFrame]) -> None:
    images, manifest = planted
    partition = on_both_sides(manifest, UID_3_91_1_all="test")
    leaks = audit(manifest, images=images, partition=partition).leaks
    assert (leaks.identical, leaks.same_pixels) == ({"train/test": 0}, {"train/test": 2})
    assert leaks.groups == {"train/test": ["1=2=3"]}
    assert leaks.any


def test_a_rotated_and_smaller_copy_is_a_near_duplicate(planted: tuple[Path, pd.DataFrame]) -> None:
    images, manifest = planted
    partition = on_both_sides(manifest, UID_4_92_1_all="test", UID_4_1_1_all="test", UID_4_2_1_all="test")
    found = audit(manifest, images=images, partition=partition, near=True)
    near = found.pixels.near_duplicates
    assert near.compared == 17  # 16 generated cells and the turned one; copies once
    assert [[Path(path).name for path in pair] for pair in near.pairs[["path", "other"]].to_numpy()] == [
        ["UID_1_1_1_all.bmp", "UID_4_92_1_all.bmp"]
    ]
    assert near.between_groups[0] == 1
    assert near.between_labels == (0, 9 * 8)
    assert near.between_ties() == {("1=2=3", "4"): 1}
    assert found.leaks.near_duplicates == {"train/test": 1}
    assert found.leaks.groups == {"train/test": ["1=2=3=4"]}
    text = "\n".join(lines(found))
    assert "0 of 72 pairs of different labels (false positives)" in text
    assert "1=2=3 ~ 4 (1 pair)" in text


def test_files_that_cannot_be_decoded_are_named_and_missing_ones_counted(planted: tuple[Path, pd.DataFrame]) -> None:
    images, manifest = planted
    truncated, missing = (images / manifest["path"][number] for number in (3, 5))
    truncated.write_bytes(truncated.read_bytes()[:999])
    missing.unlink()
    found = audit(manifest, images=images).pixels
    assert list(found.failed) == [manifest["path"][3]]
    assert found.missing == [manifest["path"][5]]
    assert found.decoded == len(manifest) - 2


def test_identical_bytes_count_even_if_no_image_can_be_decoded(planted: tuple[Path, pd.DataFrame]) -> None:
    images, manifest = planted
    for path in manifest["path"]:
        (images / path).write_bytes(b"")
    found = audit(manifest, images=images)
    assert (found.pixels.decoded, found.pixels.copies.pairs, found.identical.pairs) == (0, 0, 1)
    with pytest.raises(InputError, match="no cell can be compared"):
        audit(manifest, images=images, near=True)


def test_all_findings_are_plain_json(planted: tuple[Path, pd.DataFrame]) -> None:
    images, manifest = planted
    found = audit(manifest, images=images, partition=on_both_sides(manifest, UID_3_91_1_all="test"), near=True)
    content = json.loads(json.dumps(found.as_json()))
    assert content["identical"]["pairs"] == 1
    assert len(content["subjects"]) == 8
    assert content["pixels"]["same_pixels"]["pairs"] == 2
    assert content["pixels"]["near_duplicates"]["pairs"][0]["similarity"] >= MIN_SIMILARITY
    assert content["leaks"]["any"]


def test_unusable_arguments_are_refused(cohort: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    with pytest.raises(InputError, match="give their folder"):
        audit(manifest, near=True)
    with pytest.raises(InputError, match="names 39 of 40 images that are not in the manifest"):
        audit(manifest[:1], partition=Partition(manifest.assign(part="train"), "by hand", ""))


def test_a_cohort_without_labels_and_subjects_is_audited(shipped: pd.DataFrame) -> None:
    found: Audit = audit(shipped[shipped["phase"] == "final"])
    assert (found.identical.pairs, found.groups.groups, len(found.subjects)) == (2, 0, 0)
    assert any("subject groups: 0 subject IDs in 0 groups" in line for line in lines(found))


def test_pairs_are_found_within_and_across_the_blocks_that_are_compared_at_once() -> None:
    rng = np.random.default_rng(0)
    noise = np.stack([cv2.GaussianBlur(picture, (0, 0), 3) for picture in rng.normal(size=(1_100, 64, 64))])
    disk = np.hypot(*np.mgrid[-31.5:32, -31.5:32]) < 25
    pictures = np.where(disk, np.rint(100 * noise / np.abs(noise).max()), OUTSIDE).astype(np.int8)
    pictures[40] = pictures[3][:, ::-1]
    pictures[1_050] = np.rot90(pictures[7])
    pictures[1_060] = pictures[1_040]
    group, label = ["1"] * 1_000 + ["2"] * 50 + [""] * 50, ["all"] * 20 + ["hem"] * 1_080
    found = near_duplicates(pictures, [str(number) for number in range(1_100)], group, label)
    assert sorted(found.pairs[["path", "other"]].to_numpy().tolist()) == [
        ["1040", "1060"],
        ["3", "40"],
        ["7", "1050"],
    ]
    assert (found.between_groups, found.between_labels) == ((0, 1_000 * 50), (2, 20 * 1_080))


def test_a_flat_cell_has_no_texture(tmp_path: Path) -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[10:30, 10:30] = 90
    cv2.imwrite(str(tmp_path / "flat.png"), image)
    assert texture(read_cell(tmp_path / "flat.png")) is None


def test_real_cells_of_different_labels_are_never_near_duplicates(cnmc: Path, shipped: pd.DataFrame) -> None:
    here = shipped[shipped["path"].isin(file.relative_to(cnmc).as_posix() for file in cnmc.rglob("*.bmp"))]
    some = here[here["subject"].isin(["43", "44", "1", "H2", "H7", "H10", "H24"])]
    found = audit(some, images=cnmc, near=True, jobs=2).pixels
    assert found.failed == {}
    assert found.near_duplicates.between_labels[0] == 0
    # one cell filed under two subjects, in two photographs: no file is identical, whole fields of them are alike
    assert found.near_duplicates.between_ties() == {}  # every such pair is inside a group of the shipped manifest
    near = found.near_duplicates.pairs
    shipped_ties = read_ties()
    known = shipped_ties[(shipped_ties["subject"] == "43") & (shipped_ties["other_subject"] == "44")]
    assert {*zip(known["path"], known["other"], strict=True)} <= {*zip(near["path"], near["other"], strict=True)}
    assert len(known) == 8
