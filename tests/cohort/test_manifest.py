from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from leukobench.cli import main
from leukobench.cohort.identity import natural_order, subject_groups
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import COLUMNS, read_manifest, shipped_manifest_path, write_manifest
from leukobench.cohort.ties import accepted, find_ties, read_ties
from leukobench.core.errors import InputError, UnfinishedError
from leukobench.core.files import sha256_of
from tests.conftest import interrupted_after


def image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((4, 4, 3), value, np.uint8))


def test_every_generated_image_is_indexed_with_label_subject_and_checksum(cohort: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    assert len(manifest) == 40
    assert manifest["path"].is_monotonic_increasing
    assert manifest["label"].value_counts().to_dict() == {"all": 20, "hem": 20}
    assert set(manifest["subject"]) == {f"{prefix}{n}" for prefix in ("", "H") for n in range(1, 6)}
    row = manifest.iloc[7]
    file = cohort / "images" / row["path"]
    assert (row["sha256"], row["size_bytes"]) == (sha256_of(file), file.stat().st_size)
    assert row["label"] == file.parent.name
    assert f"fold_{row['fold']}" == file.parent.parent.name


def test_writing_and_reading_changes_nothing(cohort: Path, tmp_path: Path) -> None:
    write_manifest(read_manifest(cohort / "manifest.csv"), tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (cohort / "manifest.csv").read_bytes()


def test_preliminary_test_takes_labels_and_subjects_from_its_csv_and_final_test_has_none(tmp_path: Path) -> None:
    prelim = tmp_path / "validation_data" / "C-NMC_test_prelim_phase_data"
    image(prelim / "1.bmp", 10)
    image(prelim / "2.bmp", 20)
    image(tmp_path / "testing_data" / "C-NMC_test_final_phase_data" / "1.bmp", 30)
    (prelim.parent / "C-NMC_test_prelim_phase_data_labels.csv").write_text(
        "Patient_ID,new_names,labels\nUID_57_29_1_all.bmp,1.bmp,1\nUID_h30_6_2_hem.bmp,2.bmp,0\n"
    )
    manifest = index_folder(tmp_path).set_index("path")
    assert manifest.loc["validation_data/C-NMC_test_prelim_phase_data/1.bmp", "label"] == "all"
    second = manifest.loc["validation_data/C-NMC_test_prelim_phase_data/2.bmp"]
    assert (second["label"], second["subject"], second["phase"]) == ("hem", "H30", "prelim")
    final = manifest.loc["testing_data/C-NMC_test_final_phase_data/1.bmp"]
    assert (final["label"], final["subject"], final["subject_group"], final["phase"]) == ("", "", "", "final")


def test_another_folder_takes_the_subject_from_a_pattern(tmp_path: Path) -> None:
    image(tmp_path / "all" / "patient7_a.png", 10)
    image(tmp_path / "hem" / "patientx2_b.png", 20)
    manifest = index_folder(tmp_path, subject_regex=r"patient(\w+)_")
    assert manifest["subject"].tolist() == ["7", "X2"]
    with pytest.raises(InputError, match=r"2 of 2 images have no subject.*subject_regex"):
        index_folder(tmp_path)


def test_folders_are_ignored_by_path_or_by_name_at_any_depth(tmp_path: Path) -> None:
    for number, folder in enumerate(("all", "all/masks", "hem", "hem/masks", "hem/old")):
        image(tmp_path / folder / f"p{number}.png", 10 * number + 10)
    found = index_folder(tmp_path, subject_regex=r"p(\d)", ignored=["masks", "hem/old/"])
    assert found["path"].tolist() == ["all/p0.png", "hem/p2.png"]
    with pytest.raises(InputError, match="has no folder 'old/hem' to ignore"):
        index_folder(tmp_path, subject_regex=r"p(\d)", ignored=["masks", "old/hem"])


def test_classes_may_have_other_names_and_subjects_may_come_from_a_table(tmp_path: Path) -> None:
    image(tmp_path / "images" / "Blasts" / "a.png", 10)
    image(tmp_path / "images" / "normal" / "b.png", 20)
    image(tmp_path / "images" / "normal" / "c.tif", 30)
    (tmp_path / "subjects.csv").write_text("path,subject\na.png,p1\nnormal/b.png,P2\nc.tif,p1\n")
    manifest = index_folder(
        tmp_path / "images", positive="blasts", negative="Normal", subjects=tmp_path / "subjects.csv"
    )
    assert manifest["label"].tolist() == ["all", "hem", "hem"]
    assert manifest["subject"].tolist() == ["P1", "P2", "P1"]
    (tmp_path / "subjects.csv").write_text("path,subject\na.png,p1\na.png,p2\n")
    with pytest.raises(InputError, match=r"subjects\.csv: assigns two subjects to 'a\.png'"):
        index_folder(tmp_path / "images", subjects=tmp_path / "subjects.csv")
    with pytest.raises(InputError, match="is no regular expression"):
        index_folder(tmp_path / "images", subject_regex="(")
    (tmp_path / "images").rename(tmp_path / "ALL")
    with pytest.raises(InputError, match="3 of 3 images have no label"):
        index_folder(tmp_path / "ALL", subject_regex="(.)")


@pytest.mark.parametrize("top", ["", "C-NMC_Leukemia/training_data", "C-NMC_training_data", "fold_1/fold_1"])
def test_the_official_layouts_are_recognised_complete_or_in_part(tmp_path: Path, top: str) -> None:
    folder = tmp_path / top / "fold_1" / "hem"
    image(folder / "UID_H7_1_2_hem.bmp", 10)
    for scanned in (tmp_path, folder.parent, folder):
        row = index_folder(scanned).iloc[0]
        assert (row["label"], row["subject"], row["phase"], row["fold"]) == ("hem", "H7", "train", "1")


def test_a_numbered_file_without_its_labels_table_is_known_by_its_checksum(cnmc: Path, tmp_path: Path) -> None:
    file = sorted(cnmc.rglob("*_all.bmp"))[0]
    folder = tmp_path / "C-NMC_test_prelim_phase_data"
    folder.mkdir()
    shutil.copy(file, folder / "1.bmp")
    row = index_folder(tmp_path).iloc[0]
    assert (row["label"], row["original_name"]) == ("all", file.name)
    image(folder / "2.bmp", 10)
    with pytest.raises(InputError, match=r"1 of 2 images have no label \(first: .*2\.bmp\)"):
        index_folder(tmp_path)


def test_a_part_of_the_official_images_keeps_the_ties_of_the_whole(cnmc: Path, tmp_path: Path) -> None:
    for subject in ("51", "78", "[hH]3", "1"):
        file = sorted(cnmc.rglob(f"UID_{subject}_*.bmp"))[0]
        shutil.copy(file, tmp_path / file.name)
    groups = index_folder(tmp_path).set_index("subject")["subject_group"].to_dict()
    assert groups == {"51": "51=78", "78": "51=78", "H3": "H3", "1": "1"}
    # 16 and 1 are tied through 20, which this folder lacks
    shutil.copy(sorted(cnmc.rglob("UID_16_*.bmp"))[0], tmp_path)
    groups = index_folder(tmp_path, out=tmp_path / "manifest.csv", near=False).set_index("subject")["subject_group"]
    assert (groups["1"], groups["16"], groups["51"]) == ("1=16", "1=16", "51=78")
    ties = read_ties(tmp_path / "manifest.ties.csv")
    assert set(ties["subject"]) | set(ties["other_subject"]) == {
        "1",
        "15",
        "16",
        "17",
        "20",
        "21",
        "51",
        "55",
        "75",
        "78",
    }


@pytest.mark.parametrize("near", [False, True])
def test_an_interrupted_index_continues_where_it_was(cohort: Path, tmp_path: Path, near: bool) -> None:
    images, out = tmp_path / "images", tmp_path / "manifest.csv"
    shutil.copytree(cohort / "images", images)
    complete = index_folder(images)
    lines = []
    checksums = [f"{number:064x}" for number in range(10)]
    for path, checksum in zip(complete["path"][:10], checksums, strict=True):
        status = (images / path).stat()
        fingerprint = f",black,{checksum},," if near else ""
        lines.append(f"{path},{status.st_size}-{status.st_mtime_ns},{checksum}{fingerprint}")
    kept = tmp_path / "manifest.csv.partial"
    kept.write_text("\n".join(lines) + "\ntorn,12")
    os.utime(images / complete["path"][0], (1, 1))  # changed since: hashed again
    with pytest.raises(UnfinishedError, match=r"manifest\.csv\.partial: contains the unfinished results"):
        index_folder(images, out=out, near=near)
    resumed = index_folder(images, out=out, near=near, resume=True)
    assert resumed["sha256"].tolist() == [complete["sha256"][0], *checksums[1:], *complete["sha256"][10:]]
    assert not kept.exists()
    assert read_manifest(out).equals(resumed)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has neither named pipes nor /dev/zero")
def test_an_entry_that_is_no_readable_file_costs_its_own_row_and_is_listed(cohort: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(cohort / "images", images)
    whole, folder = index_folder(images), next(images.rglob("*.bmp")).parent
    os.mkfifo(folder / "UID_1_90_1_all.bmp")
    (folder / "UID_1_91_1_all.bmp").symlink_to("/dev/zero")
    (folder / "UID_1_92_1_all.bmp").mkdir()
    (folder / "UID_1_93_1_all.bmp").symlink_to("nowhere")
    with interrupted_after(20):
        result = CliRunner().invoke(main, ["manifest", str(images), "-o", str(tmp_path / "manifest.csv")])
        found = index_folder(images)
    assert result.exit_code == 0, result.output
    assert (
        f"left out: 4 images (first: {folder / 'UID_1_90_1_all.bmp'}: cannot be read (Not a regular file))"
        in result.output
    )
    assert found.equals(whole)
    assert read_manifest(tmp_path / "manifest.csv").equals(whole)
    reasons = [text.rpartition("(")[2] for text in found.attrs["unreadable"].values()]
    assert reasons == ["Not a regular file)", "Not a regular file)", "Is a directory)", "No such file or directory)"]


def test_a_manifest_is_not_overwritten(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("mine")
    with pytest.raises(InputError, match="already exists"):
        index_folder(cohort / "images", out=tmp_path / "manifest.csv")
    assert (tmp_path / "manifest.csv").read_text() == "mine"


def test_subjects_that_share_an_identical_image_are_one_group(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("UID_H10_1_1_hem.bmp", "UID_H3_1_1_hem.bmp", "UID_H4_1_1_hem.bmp", "UID_5_1_1_all.bmp")
    ):
        image(tmp_path / name, 10 + number)
    shutil.copy(tmp_path / "UID_H10_1_1_hem.bmp", tmp_path / "UID_H3_1_2_hem.bmp")
    manifest = index_folder(tmp_path).set_index("path")
    assert manifest["subject_group"].to_dict() == {
        "UID_5_1_1_all.bmp": "5",
        "UID_H10_1_1_hem.bmp": "H3=H10",
        "UID_H3_1_1_hem.bmp": "H3=H10",
        "UID_H3_1_2_hem.bmp": "H3=H10",
        "UID_H4_1_1_hem.bmp": "H4",
    }


def test_groups_are_joined_through_a_chain_of_identical_images() -> None:
    subject, sha256 = pd.Series(["51", "75", "75", "78", "9", ""]), pd.Series(["a", "a", "b", "b", "c", "c"])
    rows = pd.DataFrame({"path": list("123456"), "subject": subject, "sha256": sha256})
    assert subject_groups(subject, accepted(find_ties(rows))).tolist() == ["51=75=78"] * 4 + ["9", ""]
    assert sorted(["H10", "H2", "9", "10"], key=natural_order) == ["9", "10", "H2", "H10"]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("label", "ALL", "label other than"),
        ("path", "/etc/passwd", "not a relative path"),
        ("path", "a/../../b.bmp", "leads out of the image folder"),
        ("sha256", "123", "no SHA-256"),
        ("subject_group", "", "subject without its group"),
        ("subject", "20=21", "subject with ="),
    ],
)
def test_a_malformed_row_is_named(cohort: Path, tmp_path: Path, column: str, value: str, reason: str) -> None:
    table = pd.read_csv(cohort / "manifest.csv", dtype=str, keep_default_na=False)
    table.loc[3, column] = value
    table.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(InputError, match=reason) as raised:
        read_manifest(tmp_path / "bad.csv")
    assert table.loc[3, "path"] in str(raised.value)
    assert "bad.csv" in str(raised.value)


def test_a_missing_column_is_named(cohort: Path, tmp_path: Path) -> None:
    pd.read_csv(cohort / "manifest.csv").drop(columns="sha256").to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(InputError, match=r"bad\.csv: lacks the column sha256"):
        read_manifest(tmp_path / "bad.csv")


def test_the_shipped_manifest_lists_the_whole_dataset_with_its_known_duplicates() -> None:
    manifest = read_manifest(shipped_manifest_path())
    assert tuple(manifest.columns) == COLUMNS
    assert len(manifest) == 15_114
    assert manifest["phase"].value_counts().to_dict() == {"train": 10_661, "final": 2_586, "prelim": 1_867}
    counts = manifest[manifest["phase"] != "final"].groupby(["phase", "label"]).size()
    assert counts.tolist() == [1_219, 648, 7_272, 3_389]
    twins = manifest["sha256"].value_counts()
    assert (twins == 2).sum() == 106
    assert twins.max() == 2
    training = manifest[manifest["phase"] == "train"]
    assert training["subject"].nunique() == 73
    groups = subject_groups(manifest["subject"], accepted(read_ties()))
    assert manifest["subject_group"].tolist() == groups.tolist()
    assert training["subject_group"].nunique() == 59
