from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from leukobench.cells.fingerprints import read_fingerprints
from leukobench.cells.threads import one_opencv_thread


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Two files with the same pixels, one that is black, and one that is damaged."""
    disk = cv2.circle(np.zeros((60, 60, 3), np.uint8), (30, 30), 20, (90, 40, 120), cv2.FILLED)
    disk[20:30, 25:40] += 30
    for name in ("a.png", "b.bmp"):
        Image.fromarray(disk).save(tmp_path / name)
    Image.fromarray(np.zeros_like(disk)).save(tmp_path / "black.png")
    (tmp_path / "damaged.png").write_bytes(b"no image")
    return {path.name: str(path) for path in sorted(tmp_path.iterdir())}


def test_equal_pixels_have_equal_checksums_whatever_the_format(files: dict[str, str]) -> None:
    found = read_fingerprints(files, near=True)
    assert found.pixels["a.png"] == found.pixels["b.bmp"] != found.pixels["black.png"]
    assert list(found.failed) == ["damaged.png"]
    assert list(found.textures) == ["a.png", "b.bmp"]


@pytest.mark.parametrize("threads", [1, 3])
def test_reading_fingerprints_leaves_the_process_as_it_was(files: dict[str, str], threads: int) -> None:
    before, filters = cv2.getNumThreads(), list(warnings.filters)
    try:
        cv2.setNumThreads(threads)
        read_fingerprints(files, near=True, jobs=1)
        assert cv2.getNumThreads() == threads
        assert warnings.filters == filters
    finally:
        cv2.setNumThreads(before)


def test_threads_are_restored_after_an_error() -> None:
    before = cv2.getNumThreads()
    with pytest.raises(ZeroDivisionError), one_opencv_thread():
        assert cv2.getNumThreads() == 1
        raise ZeroDivisionError
    assert cv2.getNumThreads() == before
