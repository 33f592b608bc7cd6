"""The white cell of a smear and its nucleus, on drawn cells with known masks and on real crops with drawn ones."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.segmentation import measure
from leukobench.cells.cell import find_cell
from leukobench.cells.white_cell import segment_white_cell
from leukobench.core.errors import InputError


def overlap(found: np.ndarray, drawn: np.ndarray) -> float:
    return float((found & drawn).sum() / (found | drawn).sum())


def disk(row: int, column: int, radius: int) -> np.ndarray:
    return np.hypot(*np.ogrid[-row : 300 - row, -column : 300 - column]) <= radius


def drawn(red_cells: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A cell of radius 70 px with a nucleus of radius 42 px off its centre, beside red cells of radius 35 px."""
    cell, nucleus = disk(150, 150, 70), disk(140, 160, 42)
    image = np.full((300, 300, 3), (250, 228, 202), np.float32)
    for row, column in red_cells:
        image[disk(row, column, 35)] = (205, 145, 150)
    image[cell] = (200, 180, 190)
    image[nucleus] = (95, 55, 140)
    image = cv2.GaussianBlur(image, (0, 0), 1) + np.random.default_rng(0).normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), cell, nucleus


@pytest.mark.parametrize("red_cells", [[], [(40, 40), (260, 250)], [(150, 254), (46, 150), (260, 250)]])
def test_cell_and_nucleus_are_found_without_the_red_cells_that_touch(red_cells: list[tuple[int, int]]) -> None:
    image, cell, nucleus = drawn(red_cells)
    found, inner, _ = segment_white_cell(image)
    assert overlap(found > 0, cell) >= 0.93
    assert overlap(inner > 0, nucleus) >= 0.93
    assert not (inner[found == 0] > 0).any()


def test_the_background_says_whether_the_cell_or_its_nucleus_is_measured() -> None:
    image, cell, nucleus = drawn([])
    assert find_cell(image, background="smear-cell").mask.sum() == pytest.approx(cell.sum(), rel=0.07)
    assert find_cell(image, background="smear-nucleus").mask.sum() == pytest.approx(nucleus.sum(), rel=0.07)


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("side", [1, 2, 50])
def test_nothing_is_found_where_nothing_is_stained(value: int, side: int) -> None:
    with pytest.raises(InputError, match="holds no cell"):
        segment_white_cell(np.full((side, side, 3), value, np.uint8))


def test_real_cells_agree_with_hand_drawn_masks() -> None:
    folder = os.environ.get("LEUKOBENCH_SMEAR")
    if not folder:
        pytest.skip("LEUKOBENCH_SMEAR is unset: name a folder of smear crops with masks")
    cells, nuclei = [], []
    for path in sorted(Path(folder).glob("*_mask.png"))[::5]:
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        image = cv2.imread(str(path.with_name(path.name.replace("_mask", ""))))[..., ::-1].copy()
        cell, nucleus, _ = segment_white_cell(image)
        cells.append(overlap(cell > 0, mask > 0))
        nuclei.append(overlap(nucleus > 0, mask == 255))
    assert np.median(cells) >= 0.85
    assert np.median(nuclei) >= 0.9


def test_held_out_crops_reach_the_medians_in_both_data_sets_and_few_fail() -> None:
    folder = os.environ.get("LEUKOBENCH_SMEAR")
    if not folder:
        pytest.skip("LEUKOBENCH_SMEAR is unset: name a folder of smear crops with masks")
    found = measure(Path(folder))
    medians = found.groupby("dataset")[["cell_iou", "nucleus_iou"]].median()
    assert (medians["cell_iou"] >= 0.85).all()
    assert (medians["nucleus_iou"] >= 0.92).all()
    assert (found["cell_iou"] < 0.5).sum() <= 2  # of 100
