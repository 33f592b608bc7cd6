from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import moments_central, moments_hu, moments_normalized, perimeter_crofton, regionprops

from leukobench.cells.cell import Cell, find_cell
from leukobench.cohort.synthetic import CLASS_APPEARANCE, MEAN_STAIN, draw_cell
from leukobench.features.geometry import (
    crofton_perimeter,
    feret_diameters,
    hu_moments,
    radial_profile,
    size_and_hull,
    symmetry,
)
from tests.features.shapes import ellipse, lobed, prepared, rectangle, shape_cell


def shape_of(mask: np.ndarray) -> dict[str, float]:
    cell = prepared(shape_cell(mask))
    values = size_and_hull(cell) | radial_profile(cell) | hu_moments(cell)
    for about in ("major", "minor", "rotation"):
        values |= symmetry(cell, about)
    return {name.removeprefix("geometry_"): value for name, value in values.items()}


@pytest.fixture(scope="module")
def drawn() -> Cell:
    image, _ = draw_cell(CLASS_APPEARANCE["all"], MEAN_STAIN, np.random.default_rng(4))
    return find_cell(image)


def test_a_disk_has_the_shape_of_a_disk() -> None:
    shape = shape_of(ellipse(100, 100))
    expected = {
        "area": np.pi * 100**2,
        "radius": 100,
        "perimeter": 2 * np.pi * 100,
        "longer_side": 201,
        "feret_min": 201,
        "feret_max": 201,
        "compactness": 1 / (4 * np.pi),
        "circularity": 1,
        "rectangularity": np.pi / 4,
        "box_rectangularity": np.pi / 4,
        "solidity": 1,
        "convexity": 1,
        "box_ratio": 1,
        "symmetry_major": 1,
        "symmetry_minor": 1,
        "symmetry_rotation": 1,
    }
    for name, value in expected.items():
        assert shape[name] == pytest.approx(value, rel=0.02), name
    for name in ("eccentricity", "elongation", "box_elongation", "concavity", "radial_deviation", "roughness"):
        assert shape[name] == pytest.approx(0, abs=0.015), name
    for harmonic in range(1, 9):
        assert shape[f"fourier_{harmonic}"] == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2])
def test_an_ellipse_has_its_eccentricity_at_any_angle(angle: float) -> None:
    shape = shape_of(ellipse(150, 90, angle))
    assert shape["eccentricity"] == pytest.approx(np.sqrt(1 - (90 / 150) ** 2), abs=2e-3)
    assert shape["elongation"] == pytest.approx(1 - 90 / 150, abs=0.01)
    assert shape["feret_min"] == pytest.approx(180, abs=2)
    assert shape["feret_max"] == pytest.approx(300, abs=2)
    assert shape["perimeter"] == pytest.approx(4 * 150 * 1.2763499431699064, rel=0.01)  # E(m = 1 - (90 / 150)^2)
    assert shape["area"] == pytest.approx(np.pi * 150 * 90, rel=1e-3)
    for about in ("major", "minor", "rotation"):
        assert shape[f"symmetry_{about}"] == pytest.approx(1, abs=0.02)


def test_a_rectangle_fills_its_box_and_is_convex() -> None:
    shape = shape_of(rectangle(120, 60))
    assert shape["area"] == 7200
    assert shape["rectangularity"] == pytest.approx(1)
    assert shape["box_rectangularity"] == 1
    assert shape["longer_side"] == 120
    assert shape["box_ratio"] == 2
    assert shape["box_elongation"] == 0.5
    assert shape["solidity"] == pytest.approx(1)
    assert shape["elongation"] == pytest.approx(1 - 60 / np.hypot(120, 60))
    assert shape["concavity"] == pytest.approx(0, abs=1e-6)
    # the second moments of a rectangle are side^2 / 12, of pixel squares exactly
    assert shape["eccentricity"] == pytest.approx(np.sqrt(1 - (60 / 120) ** 2))


def test_a_line_is_as_long_as_it_is_drawn() -> None:
    shape = shape_of(rectangle(200, 1))
    assert shape["feret_max"] == pytest.approx(np.hypot(200, 1))
    assert shape["feret_min"] == pytest.approx(1)
    assert shape["eccentricity"] == pytest.approx(np.sqrt(1 - (1 / 200) ** 2))


def test_a_notch_is_as_deep_as_it_was_cut() -> None:
    mask = rectangle(120, 120)
    mask[5 : 5 + 40, 60:70] = False
    shape = shape_of(mask)
    assert shape["concavity"] * shape["radius"] == pytest.approx(40, abs=1)
    assert shape["solidity"] == pytest.approx((120 * 120 - 400) / 120**2, rel=1e-6)


def test_symmetry_tells_the_axes_and_the_half_turn_apart() -> None:
    y, x = np.mgrid[:200, :101]
    isosceles = shape_of(np.pad(np.abs(x - 50) <= 50 * y / 199, 5))  # a tall triangle: its axis is the major one
    assert isosceles["symmetry_major"] == pytest.approx(1, abs=0.01)
    # turned about its centroid, a triangle covers two thirds of itself: a hexagon
    assert isosceles["symmetry_rotation"] == pytest.approx(2 / 3, abs=0.01)
    assert isosceles["symmetry_minor"] == pytest.approx(2 / 3, abs=0.01)
    parallelogram = np.zeros((90, 300), bool)
    for row in range(80):
        parallelogram[5 + row, 5 + row : 5 + row + 200] = True
    slanted = shape_of(parallelogram)
    assert slanted["symmetry_rotation"] == pytest.approx(1, abs=0.01)
    assert slanted["symmetry_major"] < 0.95


@pytest.mark.parametrize(("lobes", "height"), [(2, 0.1), (5, 0.05), (8, 0.02)])
def test_lobes_show_in_their_own_harmonic(lobes: int, height: float) -> None:
    shape = shape_of(lobed(120, lobes, height))
    assert shape[f"fourier_{lobes}"] == pytest.approx(height, rel=0.03)
    assert shape["radial_deviation"] == pytest.approx(height / np.sqrt(2), rel=0.05)
    others = [shape[f"fourier_{harmonic}"] for harmonic in range(1, 9) if harmonic != lobes]
    assert max(others) < 0.006
    assert shape["roughness"] < 0.006


def test_what_is_finer_than_eight_lobes_is_roughness() -> None:
    shape = shape_of(lobed(120, 15, 0.04))
    assert shape["roughness"] == pytest.approx(0.04 / np.sqrt(2), rel=0.05)
    assert max(shape[f"fourier_{harmonic}"] for harmonic in range(1, 9)) < 0.004


@pytest.mark.parametrize("mask", [ellipse(90, 60, 0.3), rectangle(40, 20), lobed(80, 5, 0.2)])
def test_crofton_s_perimeter_equals_scikit_image(mask: np.ndarray) -> None:
    assert crofton_perimeter(mask.view(np.uint8)) == pytest.approx(perimeter_crofton(mask, directions=4))


def test_shape_of_a_drawn_cell_equals_scikit_image(drawn: Cell) -> None:
    shape = shape_of(drawn.mask)
    (region,) = regionprops(drawn.mask.astype(np.uint8))
    assert shape["area"] == region.area
    assert shape["eccentricity"] == pytest.approx(region.eccentricity, abs=1e-4)
    assert shape["solidity"] == pytest.approx(region.solidity, abs=0.01)  # theirs counts the hull's pixels
    assert shape["feret_max"] == pytest.approx(region.feret_diameter_max, rel=0.01)
    assert shape["radius"] == pytest.approx(region.equivalent_diameter_area / 2)
    assert shape["box_rectangularity"] == pytest.approx(region.extent)
    hu = moments_hu(moments_normalized(moments_central(drawn.mask.astype(float))))
    assert [shape[f"hu_{n}"] for n in range(1, 8)] == pytest.approx(hu, rel=1e-6, abs=1e-12)


def test_the_first_moment_invariant_of_a_disk_is_that_of_a_disk() -> None:
    shape = shape_of(ellipse(150, 150))
    assert shape["hu_1"] == pytest.approx(1 / (2 * np.pi), rel=1e-3)
    assert [shape[f"hu_{n}"] for n in range(2, 8)] == pytest.approx([0] * 6, abs=1e-8)


def test_feret_diameters_of_a_triangle() -> None:
    corners = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]])
    assert feret_diameters(corners) == pytest.approx((12 / 5, 5))
    assert feret_diameters(corners[::-1].copy()) == pytest.approx((12 / 5, 5))


def test_doubling_the_size_doubles_lengths_and_quadruples_areas() -> None:
    one, two = (shape_of(ellipse(60 * scale, 45 * scale, 0.5)) for scale in (1, 2))
    assert two["area"] == pytest.approx(4 * one["area"], rel=0.01)
    lengths = ("perimeter", "radius", "longer_side", "feret_min", "feret_max")
    for name in lengths:
        assert two[name] == pytest.approx(2 * one[name], rel=0.01), name
    for name in set(one) - {"area", *lengths}:
        assert two[name] == pytest.approx(one[name], rel=0.03, abs=0.01), name


def test_area_follows_the_ground_truth_of_drawn_cells() -> None:
    for number in range(5):
        image, truth = draw_cell(CLASS_APPEARANCE["hem"], MEAN_STAIN, np.random.default_rng(number))
        shape = size_and_hull(prepared(find_cell(image)))
        assert shape["geometry_area"] == truth["area"]
        assert shape["geometry_eccentricity"] == pytest.approx(truth["eccentricity"], abs=0.15)
