from __future__ import annotations

from pathlib import Path

import pytest

from leukobench.cohort.layout import canonical_path, find_images, layout_of, phase_and_fold
from leukobench.cohort.manifest import read_manifest, shipped_manifest_path
from leukobench.core.errors import InputError

TRAINING = "training_data/fold_1/hem/UID_H1_1_1_hem.bmp"
PRELIM = "validation_data/C-NMC_test_prelim_phase_data/7.bmp"
FINAL = "testing_data/C-NMC_test_final_phase_data/7.bmp"


@pytest.mark.parametrize(
    ("path", "canonical", "layout"),
    [
        (TRAINING, TRAINING, "Kaggle"),
        (f"/home/me/C-NMC_Leukemia/{TRAINING}", TRAINING, "Kaggle"),
        (f"C-NMC_Leukemia/{PRELIM}", PRELIM, "Kaggle"),
        (FINAL, FINAL, "Kaggle"),
        ("C-NMC_training_data/fold_1/hem/UID_H1_1_1_hem.bmp", TRAINING, "Cancer Imaging Archive"),
        ("C-NMC_training_data/fold_1/fold_1/hem/UID_H1_1_1_hem.bmp", TRAINING, "Cancer Imaging Archive"),
        ("C-NMC_training_data/C-NMC_training_data/fold_1/hem/UID_H1_1_1_hem.bmp", TRAINING, "Cancer Imaging Archive"),
        ("C-NMC_test_prelim_phase_data/7.bmp", PRELIM, "Cancer Imaging Archive"),
        ("C-NMC_test_prelim_phase_data/C-NMC_test_prelim_phase_data/7.bmp", PRELIM, "Cancer Imaging Archive"),
        ("downloads/C-NMC_test_final_phase_data/7.bmp", FINAL, "Cancer Imaging Archive"),
        ("final_project/fold_1/hem/UID_H1_1_1_hem.bmp", TRAINING, ""),
        ("fold_1/HEM/UID_H1_1_1_hem.bmp", TRAINING, ""),
        ("hem/UID_H1_1_1_hem.bmp", "", ""),
        ("C-NMC_test_final_phase_data/more/7.bmp", "", ""),
        ("7.bmp", "", ""),
    ],
)
def test_a_file_is_recognised_by_its_last_folders(path: str, canonical: str, layout: str) -> None:
    assert canonical_path(path) == canonical
    if canonical:
        assert layout_of(path) == layout


def test_the_shipped_manifest_is_in_canonical_form_with_phase_and_fold() -> None:
    manifest = read_manifest(shipped_manifest_path())
    assert (manifest["path"].map(canonical_path) == manifest["path"]).all()
    told = manifest["path"].map(phase_and_fold)
    assert told.tolist() == list(zip(manifest["phase"], manifest["fold"], strict=True))


def touch(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


@pytest.mark.parametrize("named", ["", "data", "data/training_data", "data/training_data/fold_1"])
def test_the_folder_may_be_one_above_the_dataset_or_one_of_its_parts(tmp_path: Path, named: str) -> None:
    touch(tmp_path, f"data/{TRAINING}")
    found = find_images(tmp_path / named, [TRAINING, FINAL])
    assert found.files.keys() == {TRAINING}
    assert found.files[TRAINING].samefile(tmp_path / "data" / TRAINING)
    assert (found.layout, found.extra) == ("Kaggle", {})


def test_a_second_copy_of_the_dataset_is_extra(tmp_path: Path) -> None:
    touch(tmp_path, TRAINING, "C-NMC_training_data/fold_1/hem/UID_H1_1_1_hem.bmp")
    found = find_images(tmp_path, [TRAINING])
    assert found.files == {TRAINING: tmp_path / TRAINING}
    assert found.extra == {"C-NMC_training_data/fold_1/hem/UID_H1_1_1_hem.bmp": f"a second copy of {TRAINING}"}


def test_another_manifest_is_matched_by_its_own_paths_only(tmp_path: Path) -> None:
    touch(tmp_path, "all/p1_a.png", "hem/p2_a.png", ".hidden/x.png", "all/._p1_a.png", "notes.txt")
    found = find_images(tmp_path, ["all/p1_a.png"])
    assert found.files == {"all/p1_a.png": tmp_path / "all" / "p1_a.png"}
    assert (list(found.extra), found.layout) == (["hem/p2_a.png"], "as in the manifest")


def test_two_cohorts_in_one_folder_are_not_mixed_up(tmp_path: Path) -> None:
    touch(tmp_path, f"a/{TRAINING}")
    found = find_images(tmp_path, [f"a/{TRAINING}", f"b/{TRAINING}"])
    assert list(found.files) == [f"a/{TRAINING}"]


def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    touch(tmp_path, f"disk/{TRAINING}")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "training_data").symlink_to(tmp_path / "disk" / "training_data")
    (tmp_path / "disk" / "training_data" / "loop").symlink_to(tmp_path / "dataset")
    found = find_images(tmp_path / "dataset", [TRAINING])
    assert (list(found.files), found.extra) == ([TRAINING], {})


def test_a_folder_of_other_images_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "holiday.jpg")
    with pytest.raises(InputError, match="contains 1 image but none of the 1 of the manifest; name the folder"):
        find_images(tmp_path, [TRAINING])
