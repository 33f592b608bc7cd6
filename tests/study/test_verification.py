from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from study.errors import StudyError
from study.layout import canonical_path, phase_and_fold
from study.manifest import read_manifest, shipped_manifest_path
from study.verification import verify

PRELIM = "C-NMC_test_prelim_phase_data"


@pytest.fixture
def images(cohort: Path, tmp_path: Path) -> Path:
    shutil.copytree(cohort / "images", tmp_path / "images")
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("training_data/fold_0/all/a.bmp", "training_data/fold_0/all/a.bmp"),
        ("C-NMC_Leukemia/training_data/fold_0/all/a.bmp", "training_data/fold_0/all/a.bmp"),
        ("C-NMC_training_data/fold_1/fold_1/hem/a.bmp", "training_data/fold_1/hem/a.bmp"),
        (
            "C-NMC_test_prelim_phase_data/C-NMC_test_prelim_phase_data/7.bmp",
            "validation_data/C-NMC_test_prelim_phase_data/7.bmp",
        ),
        ("C-NMC_test_final_phase_data/1.bmp", "testing_data/C-NMC_test_final_phase_data/1.bmp"),
        ("holiday/1.bmp", ""),
    ],
)
def test_a_file_is_known_by_its_last_folders_in_either_layout(path: str, canonical: str) -> None:
    assert canonical_path(path) == canonical


def test_phase_and_fold_are_told_by_the_folders() -> None:
    assert phase_and_fold("x/C-NMC_training_data/fold_2/hem/a.bmp") == ("train", "2")
    assert phase_and_fold("C-NMC_test_final_phase_data/1.bmp") == ("final", "")
    assert phase_and_fold("slides/all/a.png") == ("", "")


def test_a_whole_download_is_good_in_either_layout_and_from_above(cohort: Path, images: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    assert verify(images, manifest, jobs=2).good
    assert verify(images.parent, manifest).good
    (images / "training_data").rename(images / "C-NMC_training_data")
    found = verify(images, manifest)
    assert found.good
    assert found.layout == "Cancer Imaging Archive"
    assert found.verdict() == "40 of 40 files as in the manifest"


def test_each_fault_is_told_apart(cohort: Path, images: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    flipped, shortened, missing, folder = (images / path for path in manifest["path"][:4])
    data = bytearray(flipped.read_bytes())
    data[-1] ^= 1
    flipped.write_bytes(bytes(data))
    shortened.write_bytes(shortened.read_bytes()[:1000])
    missing.unlink()
    folder.unlink()
    folder.mkdir()
    (images / "training_data" / "fold_0" / "all" / "UID_99_1_1_all.bmp").write_bytes(b"BM")
    found = verify(images, manifest)
    faults = found.report().set_index("path")
    assert faults["fault"].value_counts().to_dict() == {"changed": 2, "missing": 1, "unreadable": 1, "extra": 1}
    assert "SHA-256" in faults.loc[manifest["path"][0], "detail"]
    assert faults.loc[manifest["path"][1], "detail"] == "1,000 bytes instead of 608,454"
    assert faults.loc[manifest["path"][2], "fault"] == "missing"
    assert faults.loc[manifest["path"][3], "detail"] == "is a folder"
    assert not found.good
    assert found.verdict() == "36 of 40 files as in the manifest; 1 missing, 2 changed, 1 unreadable, 1 extra"


def test_a_part_that_is_not_there_is_said_in_one_line(cohort: Path, images: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    shutil.rmtree(images / "training_data" / "fold_1")
    found = verify(images, manifest)
    expected = (manifest["fold"] == "1").sum()
    assert found.absent == ["train fold 1"]
    assert f"part train fold 1: not here ({expected} files)" in found.lines()
    with pytest.raises(StudyError, match="no image of the phase final"):
        verify(images, manifest, phases=["final"])


def test_a_folder_of_other_images_is_refused(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "a.bmp").write_bytes(b"BM")
    with pytest.raises(StudyError, match="holds 1 images but none of the 40"):
        verify(tmp_path, read_manifest(cohort / "manifest.csv"))


def test_real_images_are_as_the_shipped_manifest_says(cnmc: Path) -> None:
    found = verify(cnmc, read_manifest(shipped_manifest_path()), phases=["train"], jobs=2)
    assert set(found.faults["fault"]) <= {"missing"}
