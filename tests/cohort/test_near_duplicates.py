from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import leukobench as lb
from leukobench.cells.fingerprints import read_fingerprints
from leukobench.cohort.near_duplicates import MIN_SIMILARITY, similar_pairs
from leukobench.core.errors import InputError

CELL = "training_data/fold_0/all/UID_1_1_1_all.bmp"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """Images of twelve subjects, five generated cells each, and their ground truth."""
    folder = tmp_path_factory.mktemp("generated") / "images"
    return folder, lb.generate_cohort(folder, subjects=12, cells_per_subject=5, seed=5)


def turned(image: np.ndarray, angle: float = 0, scale: float = 1, right: float = 0) -> np.ndarray:
    """Rotate (degrees), scale and shift an image; the cell's edge is not mixed with the background."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)
    matrix[0, 2] += right
    pixels = cv2.warpAffine(image.astype(np.float32), matrix, (width, height))
    weight = cv2.warpAffine(image.any(axis=2).astype(np.float32), matrix, (width, height))[..., None]
    return np.where(weight > 0.5, np.clip(np.rint(pixels / np.maximum(weight, 0.5)), 1, 255), 0).astype(np.uint8)


def cut(image: np.ndarray, share: float) -> np.ndarray:
    """Cut a share of the cell's width away, by a vertical cut at its right end."""
    columns = np.flatnonzero(image.any(axis=(0, 2)))
    image = image.copy()
    image[:, columns[-1] - round(share * len(columns)) + 1 :] = 0
    return image


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "rotated by 7 degrees": lambda image: turned(image, 7),
    "rotated by 45 degrees and mirrored": lambda image: turned(image, 45)[:, ::-1],
    "scaled to 0.8": lambda image: turned(image, scale=0.8),
    "scaled to 1.25": lambda image: turned(image, scale=1.25),
    "shifted by 30 px": lambda image: turned(image, right=30),
    "cut by a tenth": lambda image: cut(image, 0.1),
    "darker, with less contrast": lambda image: np.where(image > 0, image // 2 + 5, 0).astype(np.uint8),
}


def found_pairs(files: list[Path], jobs: int = 1) -> list[set[str]]:
    return [{a, b} for a, b in lb.find_near_duplicates(files, jobs=jobs)[["path", "other"]].to_numpy()]


@pytest.mark.parametrize("kind", COPIES)
def test_a_changed_copy_is_found(generated: tuple[Path, pd.DataFrame], tmp_path: Path, kind: str) -> None:
    images, truth = generated
    originals = [images / path for path in truth["path"][::5]]
    copies = [tmp_path / f"{number}.png" for number in range(len(originals))]
    for original, copy in zip(originals, copies, strict=True):
        cv2.imwrite(str(copy), np.ascontiguousarray(COPIES[kind](cv2.imread(str(original)))))
    expected = [{str(original), str(copy)} for original, copy in zip(originals, copies, strict=True)]
    found = found_pairs([*originals, *copies])
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))  # each copy, and nothing else


@pytest.mark.parametrize("quality", [50, 95])
def test_a_jpeg_copy_is_found(generated: tuple[Path, pd.DataFrame], tmp_path: Path, quality: int) -> None:
    images, truth = generated
    originals = [images / path for path in truth["path"][::5]]
    copies = [tmp_path / f"{number}.jpg" for number in range(len(originals))]
    for original, copy in zip(originals, copies, strict=True):
        cv2.imwrite(str(copy), cv2.imread(str(original)), [cv2.IMWRITE_JPEG_QUALITY, quality])
    expected = [{str(original), str(copy)} for original, copy in zip(originals, copies, strict=True)]
    assert sorted(map(sorted, found_pairs([*originals, *copies]))) == sorted(map(sorted, expected))


def test_a_mirrored_copy_is_found_as_mirrored(generated: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    images, _ = generated
    files = {"original": images / CELL}
    for name, flip in (("mirrored", 1), ("upside down", 0), ("rotated by 180 degrees", -1)):
        files[name] = tmp_path / f"{name}.png"
        cv2.imwrite(str(files[name]), cv2.flip(cv2.imread(str(images / CELL)), flip))
    textures = np.stack(list(read_fingerprints(files, near=True).textures.values()))
    found = similar_pairs(textures)
    mirrored = {
        (first, second): flip
        for first, second, flip in zip(found.first, found.second, found.registration.mirrored, strict=True)
    }
    # a pair is a mirror image unless both or none of the two are
    assert mirrored == {(0, 1): True, (0, 2): True, (0, 3): False, (1, 2): False, (1, 3): True, (2, 3): True}


def test_cells_that_differ_are_not_found(generated: tuple[Path, pd.DataFrame]) -> None:
    images, truth = generated
    found = lb.find_near_duplicates(images)
    assert len(truth) == 60
    assert found.empty
    assert found.attrs["failures"] == {}


def test_the_result_does_not_depend_on_the_number_of_processes(
    generated: tuple[Path, pd.DataFrame],
) -> None:
    images, truth = generated
    textures = read_fingerprints({path: images / path for path in truth["path"]}, near=True).textures
    rows = np.stack(list(textures.values()))
    rows = np.concatenate([rows, rows[::-1, ::-1]])
    one, two = (similar_pairs(rows, 0.5, jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(one.first, two.first)
    np.testing.assert_array_equal(one.second, two.second)
    np.testing.assert_array_equal(one.registration.similarity, two.registration.similarity)
    assert (one.first < one.second).all()
    assert (np.diff(one.registration.similarity) <= 0).all()
    strict = one.registration.similarity >= MIN_SIMILARITY
    np.testing.assert_array_equal(similar_pairs(rows, jobs=2).first, one.first[strict])


def test_unreadable_and_empty_images_are_left_out(generated: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    images, _ = generated
    damaged, black = tmp_path / "damaged.bmp", tmp_path / "black.png"
    damaged.write_bytes((images / CELL).read_bytes()[:5_000])
    cv2.imwrite(str(black), np.zeros((50, 50, 3), np.uint8))
    found = lb.find_near_duplicates([damaged, black, images / CELL])
    assert found.empty
    assert list(found.attrs["failures"]) == [str(damaged), str(black)]
    with pytest.raises(InputError, match="no cell can be compared"):
        lb.find_near_duplicates([damaged, black])
