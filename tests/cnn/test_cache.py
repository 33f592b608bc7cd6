from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from leukobench.cnn.cache import cached, new_array
from leukobench.cnn.data import load_images
from leukobench.cohort.manifest import read_manifest


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system writes zeros instead")
def test_the_space_of_an_array_is_on_the_disk_before_it_is_written_to(tmp_path: Path) -> None:
    array = new_array(tmp_path / "a.npy", np.uint8, (1000, 1000))
    status = (tmp_path / "a.npy").stat()
    assert status.st_size == 1_000_000 + 128  # header of NumPy's format
    assert status.st_blocks * 512 >= status.st_size  # a file with holes has fewer
    array[:] = 7
    array.flush()
    assert (np.load(tmp_path / "a.npy") == 7).all()


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left on device"):
        new_array(tmp_path / "a.npy", np.uint8, (1000, 1000))


def write_pixels(folder: Path) -> None:
    np.save(folder / "pixels.npy", np.arange(100, dtype=np.uint8))


def test_a_damaged_folder_is_made_again_and_a_whole_one_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "key"
    file = cached(folder, write_pixels) / "pixels.npy"
    whole, made = file.read_bytes(), file.stat().st_ino
    assert cached(folder, write_pixels) == folder
    assert file.stat().st_ino == made
    for damaged in (whole[:-50] + bytes(50), whole[:60], b""):  # zeros after a power cut, a part, nothing
        file.write_bytes(damaged)
        cached(folder, write_pixels)
        assert file.read_bytes() == whole
    file.unlink()
    cached(folder, write_pixels)
    (folder / "checksums.json").write_text("{}")
    cached(folder, write_pixels)
    assert file.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_zeroed_pixels_are_not_trained_on(cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEUKOBENCH_CACHE", str(tmp_path))
    manifest = read_manifest(cohort / "manifest.csv")
    before = np.array(load_images(cohort / "images", manifest, frame=300, side=32).pixels)
    (file,) = tmp_path.rglob("pixels.npy")
    np.save(file, np.zeros_like(before))
    assert np.array_equal(load_images(cohort / "images", manifest, frame=300, side=32).pixels, before)
    assert before.any()


def test_an_image_that_is_not_the_one_of_the_manifest_is_not_read(cohort: Path, tmp_path: Path) -> None:
    """It is tried again each time, so that a restored image is used."""
    images, manifest = tmp_path / "images", read_manifest(cohort / "manifest.csv")
    shutil.copytree(cohort / "images", images)
    kept, changed = manifest["path"][3], manifest["path"][8]
    shutil.copy(images / kept, images / changed)
    read = load_images(images, manifest, frame=300, side=40)
    assert read.failed == {changed: "is not the image of the manifest (another SHA-256); restore it, or index it again"}
    shutil.copy(cohort / "images" / changed, images / changed)
    assert load_images(images, manifest, frame=300, side=40).failed == {}
