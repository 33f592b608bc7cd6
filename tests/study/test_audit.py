from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pandas as pd
import pytest

from study.audit import audit
from study.audit_report import lines
from study.errors import StudyError
from study.indexing import scan_folder
from study.manifest import read_manifest, shipped_manifest_path
from study.partition import Choice, split_by_image, split_by_subject


@pytest.fixture(scope="module")
def shipped() -> pd.DataFrame:
    return read_manifest(shipped_manifest_path())


def test_the_known_twins_of_the_dataset_are_found(shipped: pd.DataFrame) -> None:
    found = audit(shipped)
    assert found.identical.pairs == 106
    assert found.identical.within == {"train": 104, "final": 2}
    assert found.identical.crossing == {"phase": 0, "fold": 94, "subject": 99, "label": 0}
    assert found.groups.joined == ["20=21", "51=75=78", "H2=H4=H5=H6", "H3=H10"]
    assert found.parts.loc["train", ["subjects", "groups"]].tolist() == [73, 66]
    assert found.parts.loc["prelim", ["subjects", "groups"]].tolist() == [28, 28]
    assert found.groups.apart == found.groups.together == []
    text = "\n".join(lines(found))
    assert "106 pairs (104 in train, 2 in final)" in text
    assert found.as_json()["identical"]["pairs"] == 106


def test_groups_that_the_manifest_has_forgotten_are_named(shipped: pd.DataFrame) -> None:
    forgotten = shipped.assign(subject_group=shipped["subject"])
    assert audit(forgotten).groups.apart == ["20=21", "51=75=78", "H2=H4=H5=H6", "H3=H10"]


def test_a_split_by_subject_does_not_leak_and_one_by_image_does(shipped: pd.DataFrame) -> None:
    clean = audit(shipped, partition=split_by_subject(shipped, 0.2, Choice(validation_size=0.1, seed=1))).leaks
    assert not clean.any
    assert set(clean.identical.values()) == {0}
    leaky = audit(shipped, partition=split_by_image(shipped, 0.2, Choice(seed=1))).leaks
    assert leaky.any
    # of 104 pairs, two times a fifth times four fifths are expected on both sides: 33
    assert 15 < leaky.identical["train/test"] < 55
    assert "H2=H4=H5=H6" in leaky.groups["train/test"]


def test_the_same_pixels_in_another_file_are_found(cohort: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(cohort / "images", images)
    source = sorted(images.rglob("UID_1_1_1_all.bmp"))[0]
    cv2.imwrite(str(source.parent / "UID_2_9_9_all.png"), cv2.imread(str(source)))
    (source.parent / "UID_3_9_9_all.bmp").write_bytes(b"BM")
    found = audit(scan_folder(images), images=images)
    assert found.identical.pairs == 0
    assert found.pixels.copies.pairs == 1
    assert [Path(path).name for path in found.pixels.copies.sets[0]] == ["UID_1_1_1_all.bmp", "UID_2_9_9_all.png"]
    assert found.groups.apart == ["1=2"]
    assert [Path(path).name for path in found.pixels.failed] == ["UID_3_9_9_all.bmp"]


def test_a_cell_that_was_turned_and_recompressed_is_a_near_duplicate(cohort: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(cohort / "images", images)
    source = sorted(images.rglob("UID_1_1_1_all.bmp"))[0]
    turned = cv2.rotate(cv2.imread(str(source)), cv2.ROTATE_90_CLOCKWISE)
    cv2.imwrite(str(source.parent / "UID_2_9_9_all.jpg"), turned, [cv2.IMWRITE_JPEG_QUALITY, 90])
    alike = audit(scan_folder(images), images=images, near=True).pixels.alike
    assert alike.between_groups[0] == 1
    assert alike.between_labels[0] == 0
    assert alike.between_ties() == {("1", "2"): 1}
    with pytest.raises(StudyError, match="give their folder"):
        audit(scan_folder(images), near=True)


def test_a_partition_of_other_images_is_refused(shipped: pd.DataFrame, cohort: Path) -> None:
    with pytest.raises(StudyError, match=r"names \d+ of 40 images that are not in the manifest"):
        audit(shipped, partition=split_by_subject(read_manifest(cohort / "manifest.csv"), 0.4))
