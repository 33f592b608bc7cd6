from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from leukobench.cells.cell import BACKGROUNDS, LOSSY_TOLERANCE, Cell, find_cell, read_cell
from leukobench.cells.decoding import read_image
from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.cohort.synthetic import CLASS_APPEARANCE, MEAN_STAIN, RED_CELL_STAIN, draw_cell, draw_smear
from leukobench.core.errors import InputError


def disk_image(centre: tuple[int, int] = (60, 80), radius: int = 20, size: tuple[int, int] = (150, 200)) -> np.ndarray:
    image = np.zeros((*size, 3), np.uint8)
    cv2.circle(image, centre[::-1], radius, (90, 40, 120), -1)
    return image


def whole_mask(cell: Cell) -> np.ndarray:
    """The cell's mask in the whole image."""
    (top, left), (height, width) = cell.offset, cell.mask.shape
    mask = np.zeros(cell.image_shape, bool)
    mask[top : top + height, left : left + width] = cell.mask
    return mask


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return (one & other).sum() / (one | other).sum()


def drawn_cell(seed: int, stain: np.ndarray = MEAN_STAIN) -> tuple[np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    return draw_cell(CLASS_APPEARANCE[(POSITIVE, NEGATIVE)[seed % 2]], stain, rng)[0], rng


def test_a_disk_is_cropped_to_its_box_and_its_place_is_kept() -> None:
    cell = find_cell(disk_image())
    assert cell.offset == (40, 60)
    assert cell.rgb.shape == (41, 41, 3)
    assert cell.image_shape == (150, 200)
    assert cell.pieces == 1
    assert (cell.rgb[cell.mask] == (90, 40, 120)).all()
    assert not cell.rgb[~cell.mask].any()


def test_a_cell_is_the_same_in_every_order_of_memory() -> None:
    """The pixels of a bitmap file lie from the bottom up, blue before red."""
    random = np.random.default_rng(0)
    image = np.zeros((60, 50, 3), np.uint8)
    image[7:31, 11:40] = random.integers(0, 3, (24, 29, 3))
    image[50, 45] = 1
    turned = (np.s_[::-1, :, ::-1], np.s_[:, :, ::-1], np.s_[::-1, ::-1], np.s_[:, ::-1, ::-1], np.s_[::-1, ::-1, ::-1])
    for background, tolerance in (("black", 0), ("black", 1), ("white", 254)):
        expected = find_cell(image, background=background, tolerance=tolerance)
        for order in turned:
            found = find_cell(image[order].copy()[order], background=background, tolerance=tolerance)
            assert np.array_equal(found.rgb, expected.rgb) and np.array_equal(found.mask, expected.mask)
            assert (found.offset, found.image_shape, found.pieces) == (expected.offset, (60, 50), expected.pieces)
    foreground = (image > 1).any(axis=2)
    rows, columns = np.nonzero(foreground[:45])
    cell = find_cell(image, tolerance=1)
    assert cell.offset == (rows.min(), columns.min())
    assert cell.mask.shape == (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1)


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
    with pytest.raises(InputError) as raised:
        read_cell(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_pieces_are_counted_as_labelling_counts_them() -> None:
    rng = np.random.default_rng(0)
    for share in (0.05, 0.3, 0.5, 0.9):
        image = np.where(rng.random((40, 50, 1)) < share, np.uint8(9), np.uint8(0)).repeat(3, axis=2)
        labels = cv2.connectedComponents(image[..., 0], connectivity=8)[0] - 1
        assert find_cell(image).pieces == labels


def test_black_in_the_cell_is_no_cell_and_white_in_it_is() -> None:
    ring = disk_image()
    cv2.circle(ring, (80, 60), 5, (0, 0, 0), -1)
    cell = find_cell(ring)
    assert not cell.mask[20, 20]
    on_white = np.where(ring.any(axis=2, keepdims=True), ring, np.uint8(255))
    filled = find_cell(on_white, background="white")
    assert filled.offset == cell.offset
    assert filled.mask[20, 20]
    assert (whole_mask(filled) == disk_image().any(axis=2)).all()
    assert filled.rgb[20, 20].tolist() == [255, 255, 255]
    assert not filled.rgb[~filled.mask].any()


def test_a_cell_is_the_same_on_black_and_on_white() -> None:
    image, _ = drawn_cell(4)
    black = find_cell(image)
    white = find_cell(np.where(image.any(axis=2, keepdims=True), image, np.uint8(255)), background="white")
    assert (black.offset, black.pieces) == (white.offset, white.pieces)
    assert (black.mask == white.mask).all()
    assert (black.rgb == white.rgb).all()


def test_nearly_black_is_cell_unless_it_is_tolerated() -> None:
    image = disk_image()
    image[100:110, 100:110] = 5
    assert find_cell(image).pieces == 2
    assert find_cell(image, tolerance=5).pieces == 1
    assert find_cell(image, tolerance=4).pieces == 2


@pytest.mark.parametrize("background", ["black", "white"])
@pytest.mark.parametrize(("suffix", "quality"), [(".jpg", 50), (".jpg", 75), (".jpg", 95), (".webp", 80)])
def test_a_lossy_file_keeps_its_cell(tmp_path: Path, background: str, suffix: str, quality: int) -> None:
    image, _ = drawn_cell(2)
    mask = image.any(axis=2)
    if background == "white":
        image[~mask] = 255
    Image.fromarray(image).save(tmp_path / f"cell{suffix}", quality=quality)
    found = read_cell(tmp_path / f"cell{suffix}", background)
    assert overlap(whole_mask(found), mask) > 0.98
    assert found.image_shape == mask.shape


def test_only_a_lossy_file_is_tolerated_anything(tmp_path: Path) -> None:
    image = disk_image()
    image[100:110, 100:110] = LOSSY_TOLERANCE
    for name, options in {"a.png": {}, "a.bmp": {}, "a.tif": {}, "a.webp": {"lossless": True}}.items():
        Image.fromarray(image).save(tmp_path / name, **options)
        assert read_cell(tmp_path / name).pieces == 2


def test_transparent_pixels_are_background_of_any_colour(tmp_path: Path) -> None:
    image = disk_image()
    alpha = image.any(axis=2).astype(np.uint8) * 255
    image[alpha == 0] = (12, 200, 90)
    Image.fromarray(np.dstack([image, alpha])).save(tmp_path / "a.png")
    for background in ("black", "white"):
        assert (whole_mask(read_cell(tmp_path / "a.png", background)) == disk_image().any(axis=2)).all()


STAINS = {
    "median of C-NMC": MEAN_STAIN,
    "pale": np.array([140.0, 105.0, 170.0]),
    "blue": np.array([80.0, 70.0, 140.0]),
    "magenta": np.array([130.0, 50.0, 120.0]),
    "dark": np.array([50.0, 25.0, 70.0]),
}


@pytest.mark.parametrize("stain", STAINS)
@pytest.mark.parametrize("red_cells", [0, 14, 40])
def test_the_nucleated_cell_is_found_in_a_smear(stain: str, red_cells: int) -> None:
    for seed in range(4):
        image, rng = drawn_cell(seed, STAINS[stain])
        smear, mask = draw_smear(image, rng, red_cells=red_cells)
        found = find_cell(smear, background="smear")
        assert overlap(whole_mask(found), mask) >= 0.95
        assert (found.rgb[found.mask] == smear[whole_mask(found)]).all()
        assert not found.rgb[~found.mask].any()


@pytest.mark.parametrize("stain", ["median of C-NMC", "pale"])
def test_a_red_cell_that_touches_is_left_out(stain: str) -> None:
    image, rng = drawn_cell(5, STAINS[stain])
    smear, mask = draw_smear(image, rng)
    row, column = np.argwhere(mask)[np.argmax(np.argwhere(mask)[:, 1])]
    disk = cv2.circle(np.zeros(mask.shape, np.uint8), (int(column) + 45, int(row)), 55, 1, -1).view(bool) & ~mask
    smear[disk] = np.clip(RED_CELL_STAIN + rng.normal(0, 2, (disk.sum(), 3)), 0, 255)
    assert overlap(whole_mask(find_cell(smear, background="smear")), mask) >= 0.95


def test_of_two_nucleated_cells_the_central_one_is_taken() -> None:
    image, rng = drawn_cell(3)
    smear, mask = draw_smear(image, rng, red_cells=0)
    crop = np.concatenate([smear, smear[:, 100:]], axis=1)  # the second stands 350 px to the right of the first
    found = whole_mask(find_cell(crop[:, :620], background="smear"))
    assert overlap(found[:, :450], mask) >= 0.95
    assert not found[:, 450:].any()


def test_a_smear_crop_is_read_from_any_format_and_size(tmp_path: Path) -> None:
    image, rng = drawn_cell(1)
    smear, mask = draw_smear(image, rng)
    for name, options in {"a.png": {}, "a.jpg": {"quality": 75}, "a.webp": {"quality": 80}}.items():
        Image.fromarray(smear).save(tmp_path / name, **options)
        assert overlap(whole_mask(read_cell(tmp_path / name, "smear")), mask) >= 0.95
    for side in (90, 900):
        small = cv2.resize(smear, (side, side), interpolation=cv2.INTER_AREA if side < 450 else cv2.INTER_CUBIC)
        outline = cv2.resize(mask.view(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST).view(bool)
        assert overlap(whole_mask(find_cell(small, background="smear")), outline) >= 0.93


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("side", [1, 2, 50])
def test_nothing_is_found_where_nothing_is_stained(value: int, side: int) -> None:
    with pytest.raises(InputError, match="holds no cell"):
        find_cell(np.full((side, side, 3), value, np.uint8), background="smear")


def test_an_empty_field_of_a_smear_holds_no_cell() -> None:
    smear, _ = draw_smear(np.zeros((450, 450, 3), np.uint8), np.random.default_rng(0), red_cells=0)
    with pytest.raises(InputError, match="holds no cell"):
        find_cell(smear, background="smear")


def test_an_image_that_is_not_cut_out_is_refused(tmp_path: Path) -> None:
    image, rng = drawn_cell(1)
    smear, _ = draw_smear(image, rng)
    Image.fromarray(smear).save(tmp_path / "smear.png")
    Image.fromarray(image).save(tmp_path / "black.bmp")
    for name, background in (("smear.png", "black"), ("smear.png", "white"), ("black.bmp", "white")):
        with pytest.raises(InputError, match=f"is not cut out on {background}"):
            read_cell(tmp_path / name, background)


def test_another_background_is_refused_by_name() -> None:
    with pytest.raises(
        InputError, match="no background 'blue'; there is black, white, smear-cell, smear-nucleus, smear"
    ):
        find_cell(disk_image(), background="blue")
    assert BACKGROUNDS == ("black", "white", "smear-cell", "smear-nucleus", "smear")


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


def test_real_cells_are_found_in_a_drawn_smear(cnmc: Path) -> None:
    overlaps = []
    for number, path in enumerate(sorted(cnmc.rglob("*.bmp"))[::200]):
        smear, mask = draw_smear(read_image(path).rgb, np.random.default_rng(number))
        overlaps.append(overlap(whole_mask(find_cell(smear, background="smear")), mask))
    assert np.median(overlaps) > 0.95


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.ones((4, 4, 3)), np.ones((4, 4, 4), np.uint8), np.ones((0, 4, 3), np.uint8)],
)
def test_an_array_that_is_no_8_bit_rgb_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"image: has shape \(.*\) of .*; expected \(height, width, 3\) of uint8"):
        find_cell(image)
