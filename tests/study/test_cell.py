from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from study.cell import find_cell, read_cell
from study.errors import StudyError


def disk_image(centre: tuple[int, int] = (60, 80), radius: int = 20, size: tuple[int, int] = (150, 200)) -> np.ndarray:
    image = np.zeros((*size, 3), np.uint8)
    cv2.circle(image, centre[::-1], radius, (90, 40, 120), -1)
    return image


def test_a_disk_is_cropped_to_its_box_and_its_place_is_kept() -> None:
    cell = find_cell(disk_image())
    assert cell.offset == (40, 60)
    assert cell.rgb.shape == (41, 41, 3)
    assert cell.image_shape == (150, 200)
    assert cell.pieces == 1
    assert (cell.rgb[cell.mask] == (90, 40, 120)).all()
    assert not cell.rgb[~cell.mask].any()


def test_the_largest_piece_is_the_cell_and_the_rest_is_counted_and_blacked_out() -> None:
    image = disk_image()
    image[38:42, 58:62] = 200  # inside the disk's bounding box, outside the disk
    image[140, 190] = 200
    cell = find_cell(image)
    assert cell.pieces == 3
    assert cell.offset == (40, 60)
    assert (cell.rgb[cell.mask] == (90, 40, 120)).all()
    assert not cell.rgb[~cell.mask].any()


def test_a_cell_may_touch_the_border_and_be_one_pixel() -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    image[8, 8] = (0, 0, 1)
    cell = find_cell(image)
    assert (cell.offset, cell.mask.tolist()) == ((8, 8), [[True]])


def test_channels_come_in_the_order_red_green_blue(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.bmp"), disk_image()[..., ::-1])
    assert read_cell(tmp_path / "a.bmp").rgb[20, 20].tolist() == [90, 40, 120]


def broken(folder: Path) -> dict[str, Path]:
    whole = folder / "whole.bmp"
    cv2.imwrite(str(whole), disk_image())
    contents = {
        "truncated": whole.read_bytes()[:5000],
        "header only": whole.read_bytes()[:54],
        "empty": b"",
        "text": b"not an image",
    }
    files = {}
    for name, content in contents.items():
        files[name] = folder / f"{name}.bmp"
        files[name].write_bytes(content)
    files["black"] = folder / "black.bmp"
    cv2.imwrite(str(files["black"]), np.zeros((9, 9, 3), np.uint8))
    files["folder"] = folder / "folder.bmp"
    files["folder"].mkdir()
    files["missing"] = folder / "missing.bmp"
    return files


@pytest.mark.parametrize("kind", ["truncated", "header only", "empty", "text", "black", "folder", "missing"])
def test_a_file_that_holds_no_cell_is_named_in_one_line(tmp_path: Path, kind: str) -> None:
    path = broken(tmp_path)[kind]
    with pytest.raises(StudyError) as raised:
        read_cell(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_real_cells_are_one_piece_on_black_and_blasts_are_larger(cnmc: Path) -> None:
    paths = sorted(cnmc.rglob("*.bmp"))[::40]
    cells = [read_cell(path) for path in paths]
    assert {cell.image_shape for cell in cells} == {(450, 450)}
    assert {cell.pieces for cell in cells} == {1}
    areas = {
        label: np.median(
            [cell.mask.sum() for cell, path in zip(cells, paths, strict=True) if path.parent.name == label]
        )
        for label in ("all", "hem")
    }
    assert areas["all"] > areas["hem"]  # blasts are larger: 36 thousand px against 26 in the whole training set
