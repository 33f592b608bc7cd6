"""`segment`: masks, places and the sheet of drawn smears whose cells are known ellipses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import leukobench as lb
from leukobench.cells.cell import find_cell, read_cell
from leukobench.cli import main
from tests.formats import assert_described

Ellipse = tuple[tuple[int, int], tuple[int, int], int]  # centre (x, y), semi-axes, degrees
CELL, NUCLEUS, RED = (200, 180, 190), (95, 55, 140), (205, 145, 150)  # RGB
ONE: list[tuple[Ellipse, Ellipse]] = [(((150, 150), (75, 60), 30), ((158, 145), (45, 36), 30))]
TWO: list[tuple[Ellipse, Ellipse]] = [
    (((420, 180), (60, 52), 0), ((415, 184), (38, 32), 20)),
    (((180, 420), (70, 60), 60), ((185, 415), (44, 36), 0)),
]
TOUCHING = [(150, 254), (46, 150), (260, 250)]  # red cells of radius 35 px, by row and column


def ellipse(shape: tuple[int, int], place: Ellipse) -> np.ndarray:
    return cv2.ellipse(np.zeros(shape, np.uint8), *place, 0, 360, (1,), cv2.FILLED) > 0


def smear(cells: list[tuple[Ellipse, Ellipse]], red_cells: list[tuple[int, int]], side: int = 300) -> np.ndarray:
    """Draw red cells, and white cells over them: an ellipse of cytoplasm and one of the nucleus."""
    image = np.full((side, side, 3), (250, 228, 202), np.float32)
    for row, column in red_cells:
        image[ellipse((side, side), ((column, row), (35, 35), 0))] = RED
    for cell, nucleus in cells:
        image[ellipse((side, side), cell)] = CELL
        image[ellipse((side, side), nucleus)] = NUCLEUS
    image = cv2.GaussianBlur(image, (0, 0), 1) + np.random.default_rng(0).normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def write(rgb: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), rgb[..., ::-1])
    return path


def overlap(found: np.ndarray, drawn: np.ndarray) -> float:
    return float((found & drawn).sum() / (found | drawn).sum())


def segment(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["segment", *map(str, arguments)])


def mask_of(folder: Path, name: str) -> np.ndarray:
    mask = cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED)
    assert mask.ndim == 2
    assert set(np.unique(mask)) == {0, 255}
    return mask > 0


@pytest.mark.parametrize("segment_of", ["cell", "nucleus"])
@pytest.mark.parametrize("red_cells", [[], TOUCHING])
def test_masks_have_the_drawn_area_and_place(tmp_path: Path, segment_of: str, red_cells: list[tuple[int, int]]) -> None:
    write(smear(ONE, red_cells), tmp_path / "smears" / "all" / "a.png")
    table = lb.segment_images(tmp_path / "smears", tmp_path / "out", segment=segment_of)
    (row,) = table.to_dict("records")
    cell, nucleus = (ellipse((300, 300), place) for place in ONE[0])
    assert (row["path"], row["mask"], row["cut_out"]) == ("all/a.png", "masks/a.png", "")
    assert overlap(mask_of(tmp_path / "out", row["mask"]), cell if segment_of == "cell" else nucleus) >= 0.93
    assert row["cell_area"] == pytest.approx(cell.sum(), rel=0.06)
    assert row["nucleus_area"] == pytest.approx(nucleus.sum(), rel=0.06)
    assert (row["x"], row["y"]) == pytest.approx((150, 150), abs=2)
    assert [row["left"], row["top"], row["width"], row["height"]] == pytest.approx(cv2.boundingRect(
        cell.astype(np.uint8)), abs=6)  # fmt: skip
    assert not row["touches_border"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "cells.csv", keep_default_na=False), table)


def test_the_mask_is_that_of_the_background_of_the_same_name(tmp_path: Path) -> None:
    image = smear(ONE, TOUCHING)
    lb.segment_images([write(image, tmp_path / "a.png")], tmp_path / "out", segment="nucleus")
    cell = find_cell(image, background="smear-nucleus")
    top, left = cell.offset
    window = mask_of(tmp_path / "out", "masks/a.png")[top:, left:][: cell.mask.shape[0], : cell.mask.shape[1]]
    assert (window == cell.mask).all()


def test_all_cells_are_cut_out_each_with_its_place(tmp_path: Path) -> None:
    red_cells = [(row, column) for row in range(40, 600, 95) for column in range(40, 600, 95)]
    image = smear(TWO, red_cells, 600)
    result = segment(write(image, tmp_path / "field.png"), "--all", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert table["cell"].tolist() == [1, 2]
    assert table["others"].tolist() == [1, 1]
    together = mask_of(tmp_path / "out", "masks/field.png")
    assert together.sum() == table["cell_area"].sum()
    for row, (place, _) in zip(table.to_dict("records"), TWO, strict=True):
        drawn = ellipse((600, 600), place)
        window = np.s_[row["top"] : row["top"] + row["height"], row["left"] : row["left"] + row["width"]]
        cut_out = read_cell(tmp_path / "out" / row["cut_out"])  # as `manifest`, `extract` and `predict` read it
        assert cut_out.mask.shape == (row["height"], row["width"])
        assert overlap(cut_out.mask, drawn[window]) >= 0.9
        assert (cut_out.rgb[cut_out.mask] == image[window][cut_out.mask]).all()
        assert (row["x"], row["y"]) == pytest.approx(place[0], abs=3)
    assert_described(tmp_path / "out", "segment")


def test_doubtful_cells_come_first_and_the_page_loads_nothing(tmp_path: Path) -> None:
    write(smear(ONE, []), tmp_path / "in" / "good.png")
    write(smear(ONE, [])[100:], tmp_path / "in" / "cut.png")  # the cell touches the upper border
    for jobs in (1, 2):
        result = segment(tmp_path / "in", "--jobs", jobs, "-o", tmp_path / f"out{jobs}")
        assert result.exit_code == 0, result.output
    assert "2 cells in 2 images, 1 doubtful" in result.output
    first, second = (
        {
            path.relative_to(tmp_path / f"out{jobs}"): path.read_bytes()
            for path in (tmp_path / f"out{jobs}").rglob("*.*")
        }
        for jobs in (1, 2)
    )
    assert first == second  # whatever the number of processes
    table = pd.read_csv(tmp_path / "out1" / "cells.csv", keep_default_na=False).set_index("path")
    assert table["doubts"].to_dict() == {"cut.png": "touches the border", "good.png": ""}
    page = (tmp_path / "out1" / "overlay.html").read_text()
    assert re.findall(r'alt="cell 1 of (\w+)\.png', page) == ["cut", "good"]
    assert "Content-Security-Policy" in page
    assert "<script" not in page


def test_images_that_fail_are_listed_and_the_others_segmented(tmp_path: Path) -> None:
    good = write(smear(ONE, []), tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(good.read_bytes()[:999])
    write(np.full((50, 50, 3), 240, np.uint8), tmp_path / "in" / "empty.png")
    result = segment(tmp_path / "in", "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert (facts["images"], facts["cells"], sorted(facts["failed"])) == (1, 1, ["b.png", "empty.png"])
    assert len(result.stderr.strip().splitlines()) == 1
    assert "2 of 3 images could not be segmented" in result.stderr
    listed = pd.read_csv(tmp_path / "out" / "cells.csv.failures.csv").set_index("path")["reason"]
    assert listed["empty.png"].startswith("holds no cell")
    assert "empty.png" in (tmp_path / "out" / "overlay.html").read_text()
    assert_described(tmp_path / "out", "segment")


def test_images_of_one_stem_get_masks_of_their_own(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "b.png"):
        write(smear(ONE, []), tmp_path / "in" / name)
    table = lb.segment_images(tmp_path / "in", tmp_path / "out")
    assert table["mask"].tolist() == ["masks/a.bmp.png", "masks/a.png.png", "masks/b.png"]


def test_what_cannot_be_done_is_said_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    empty = write(np.full((50, 50, 3), 240, np.uint8), tmp_path / "in" / "empty.png")
    for arguments, message in (
        ((tmp_path / "none",), "no image"),
        ((empty,), "none of 1 image could be segmented; the first: "),
    ):
        result = segment(*arguments, "-o", tmp_path / "out")
        assert result.exit_code == 1
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "none"]
    with pytest.raises(lb.InputError, match="rename the file"):
        lb.segment_images(["a\rb.png"], tmp_path / "out")
    result = segment(empty, "-o", tmp_path / "in")
    assert result.exit_code == 2
    assert "already exists" in result.stderr
    with pytest.raises(lb.InputError, match="no segment 'both'"):
        lb.segment_images([empty], tmp_path / "out", segment="both")
