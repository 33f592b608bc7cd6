from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from leukobench.cohort.manifest import read_manifest, shipped_manifest_path
from leukobench.cohort.verification import Verification, verify
from leukobench.core.errors import InputError


@pytest.fixture
def manifest(cohort: Path) -> pd.DataFrame:
    return read_manifest(cohort / "manifest.csv")


@pytest.fixture
def images(cohort: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cohort / "images", tmp_path / "images"))


def faults(found: Verification) -> dict[str, tuple[str, str]]:
    return {path: (fault, detail) for path, fault, detail in found.report().itertuples(index=False)}


def test_a_complete_cohort_has_no_fault(cohort: Path, manifest: pd.DataFrame) -> None:
    found = verify(cohort / "images", manifest)
    assert found.good
    assert found.verdict() == "40 of 40 files as in the manifest"
    assert found.parts["good"].to_dict() == {"train fold 0": 16, "train fold 1": 16, "train fold 2": 8}
    assert found.layout == "Kaggle"


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_fault_is_named(images: Path, manifest: pd.DataFrame, jobs: int) -> None:
    same_size, truncated, missing, folder, dangling, *_ = (images / path for path in manifest["path"])
    content = bytearray(same_size.read_bytes())
    content[-1] ^= 1
    same_size.write_bytes(content)
    truncated.write_bytes(truncated.read_bytes()[:999])
    missing.unlink()
    folder.unlink()
    folder.mkdir()
    dangling.unlink()
    dangling.symlink_to(images / "nowhere.bmp")
    shutil.copy(truncated, images / "training_data" / "fold_0" / "all" / "stranger.bmp")
    found = verify(images, manifest, jobs=jobs)
    told = faults(found)
    names = [file.relative_to(images).as_posix() for file in (same_size, truncated, missing, folder, dangling)]
    assert told.keys() == {*names, "training_data/fold_0/all/stranger.bmp"}
    assert told[names[0]][0] == "changed"
    assert told[names[0]][1].startswith("SHA-256 ")
    assert told[names[1]] == ("changed", f"999 bytes instead of {manifest['size_bytes'][1]:,}")
    assert told[names[2]] == ("missing", "")
    assert told[names[3]] == ("unreadable", "is a folder")
    assert told[names[4]] == ("unreadable", "No such file or directory")
    assert told["training_data/fold_0/all/stranger.bmp"] == ("extra", "")
    assert not found.good
    assert found.verdict() == "35 of 40 files as in the manifest; 1 missing, 2 changed, 2 unreadable, 1 extra"
    assert found.parts.sum()[["missing", "changed", "unreadable", "extra"]].tolist() == [1, 2, 2, 1]


@pytest.mark.parametrize("fold", ["fold_0", "fold_0/fold_0"])
def test_the_layout_of_the_cancer_imaging_archive_is_recognised(
    images: Path, manifest: pd.DataFrame, tmp_path: Path, fold: str
) -> None:
    archive = tmp_path / "archive"
    for number in range(3):
        target = archive / "C-NMC_training_data" / fold.replace("0", str(number))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(images / "training_data" / f"fold_{number}", target)
    found = verify(archive, manifest)
    assert found.good
    assert found.layout == "Cancer Imaging Archive"
    assert "layout: Cancer Imaging Archive" in found.lines()[0]


def test_a_missing_part_is_one_line(images: Path, manifest: pd.DataFrame) -> None:
    shutil.rmtree(images / "training_data" / "fold_2")
    found = verify(images, manifest)
    assert found.absent == ["train fold 2"]
    assert "part train fold 2: not in the folder (8 files)" in found.lines()
    assert "fold_2/" not in "\n".join(found.lines())
    assert found.report()["fault"].tolist() == ["missing"] * 8


def test_of_many_faults_ten_are_printed_and_all_reported(images: Path, manifest: pd.DataFrame) -> None:
    for path in manifest["path"][:15]:
        (images / path).unlink()
    found = verify(images, manifest)
    lines = found.lines()
    assert "missing: 15 files" in lines
    assert sum(line.startswith("  training_data/") for line in lines) == 10
    assert "  and 5 more" in lines
    assert len(found.report()) == 15


def test_a_phase_that_is_not_verified_is_left_out(images: Path, manifest: pd.DataFrame) -> None:
    last = manifest["path"].iloc[-1]
    of_prelim = manifest.assign(phase=manifest["phase"].mask(manifest["path"] == last, "prelim"))
    (images / last).unlink()
    assert verify(images, of_prelim, phases=["train"]).good
    assert faults(verify(images, of_prelim, phases=["prelim"])) == {last: ("missing", "")}
    with pytest.raises(InputError, match="no image of the phase final"):
        verify(images, of_prelim, phases=["final"])


def test_files_of_a_phase_left_out_are_not_extra(tmp_path: Path, manifest: pd.DataFrame, images: Path) -> None:
    unlisted = images / "C-NMC_test_final_phase_data" / "1.bmp"
    unlisted.parent.mkdir()
    unlisted.touch()
    assert verify(images, manifest, phases=["train"]).good
    assert faults(verify(images, manifest)) == {"C-NMC_test_final_phase_data/1.bmp": ("extra", "")}


def test_real_images_are_as_the_shipped_manifest_says(cnmc: Path) -> None:
    found = verify(cnmc, read_manifest(shipped_manifest_path()), phases=["train"], jobs=2)
    assert found.layout == "Kaggle"
    counts = found.parts.sum()
    assert counts["good"] + counts["missing"] == 10_661
    assert counts[["changed", "unreadable", "extra"]].tolist() == [0, 0, 0]
