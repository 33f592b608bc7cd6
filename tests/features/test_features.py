from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy
from skimage.feature import graycomatrix, graycoprops

from features.catalog import CATALOG, compute, features_of
from features.color import color_features, grey_levels
from features.geometry import geometric_features
from features.statistics import projection_moments, statistical_features
from features.texture import LEVELS, co_occurrence_matrices, texture_features
from study.cell import Cell, find_cell
from study.errors import StudyError
from study.synthetic import CLASS_APPEARANCE, MEAN_STAIN, draw_cell


def shape_cell(mask: np.ndarray, color: tuple[int, int, int] = (90, 40, 120)) -> Cell:
    return find_cell(np.where(mask[..., None], np.array(color, np.uint8), np.uint8(0)))


def ellipse(semi_x: float, semi_y: float, angle: float = 0.0, side: int = 401) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (along / semi_x) ** 2 + (across / semi_y) ** 2 <= 1


def rectangle(width: int, height: int) -> np.ndarray:
    return np.pad(np.ones((height, width), bool), 5)


@pytest.fixture(scope="module")
def drawn() -> Cell:
    image, _ = draw_cell(CLASS_APPEARANCE["all"], MEAN_STAIN, np.random.default_rng(4))
    return find_cell(image)


def test_a_disk_has_the_shape_of_a_disk() -> None:
    shape = geometric_features(shape_cell(ellipse(100, 100)))
    assert shape["geometry_area"] == pytest.approx(np.pi * 100**2, rel=1e-3)
    assert shape["geometry_radius"] == pytest.approx(100, rel=1e-3)
    assert shape["geometry_perimeter"] == pytest.approx(2 * np.pi * 100, rel=0.01)
    assert shape["geometry_compactness"] == pytest.approx(1 / (4 * np.pi), rel=0.02)
    assert shape["geometry_eccentricity"] == pytest.approx(0, abs=0.01)
    assert shape["geometry_elongation"] == pytest.approx(0, abs=0.01)
    assert shape["geometry_rectangularity"] == pytest.approx(np.pi / 4, rel=0.01)
    assert shape["geometry_solidity"] == pytest.approx(1, abs=0.01)
    assert shape["geometry_convexity"] == pytest.approx(1, abs=0.02)
    assert shape["geometry_concavity"] == pytest.approx(0, abs=0.01)
    assert shape["geometry_symmetry"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.2])
def test_an_ellipse_has_its_eccentricity_at_any_angle(angle: float) -> None:
    shape = geometric_features(shape_cell(ellipse(150, 90, angle)))
    assert shape["geometry_eccentricity"] == pytest.approx(np.sqrt(1 - (90 / 150) ** 2), abs=2e-3)
    assert shape["geometry_elongation"] == pytest.approx(1 - 90 / 150, abs=0.01)
    assert shape["geometry_symmetry"] == pytest.approx(1, abs=0.02)


def test_a_rectangle_fills_its_box_and_is_convex() -> None:
    shape = geometric_features(shape_cell(rectangle(120, 60)))
    assert shape["geometry_area"] == 7200
    assert shape["geometry_rectangularity"] == pytest.approx(1)
    assert shape["geometry_solidity"] == pytest.approx(1)
    assert shape["geometry_elongation"] == pytest.approx(1 - 60 / np.hypot(120, 60))
    assert shape["geometry_concavity"] == pytest.approx(0, abs=1e-6)
    # the second moments of a rectangle are side^2 / 12, of pixel squares exactly
    assert shape["geometry_eccentricity"] == pytest.approx(np.sqrt(1 - (60 / 120) ** 2))


def test_a_notch_is_as_deep_as_it_was_cut() -> None:
    mask = rectangle(120, 120)
    mask[5 : 5 + 40, 60:70] = False
    shape = geometric_features(shape_cell(mask))
    assert shape["geometry_concavity"] * shape["geometry_radius"] == pytest.approx(40, abs=1)
    assert shape["geometry_solidity"] == pytest.approx((120 * 120 - 400) / 120**2, rel=1e-6)


def test_a_tall_isosceles_triangle_is_symmetric_and_a_right_triangle_is_not() -> None:
    y, x = np.mgrid[:200, :101]
    isosceles = np.pad(np.abs(x - 50) <= 50 * y / 199, 5)
    right = np.pad(x <= 100 * y / 199, 5)
    assert geometric_features(shape_cell(isosceles))["geometry_symmetry"] == pytest.approx(1, abs=0.01)
    assert geometric_features(shape_cell(right))["geometry_symmetry"] < 0.9


def test_doubling_the_size_doubles_lengths_and_quadruples_areas() -> None:
    one, two = (geometric_features(shape_cell(ellipse(60 * scale, 45 * scale, 0.5))) for scale in (1, 2))
    assert two["geometry_area"] == pytest.approx(4 * one["geometry_area"], rel=0.01)
    for name in ("perimeter", "radius"):
        assert two[f"geometry_{name}"] == pytest.approx(2 * one[f"geometry_{name}"], rel=0.01), name
    for name in ("eccentricity", "rectangularity", "symmetry", "compactness", "convexity", "elongation"):
        assert two[f"geometry_{name}"] == pytest.approx(one[f"geometry_{name}"], rel=0.03), name


def test_moving_the_cell_changes_nothing(drawn: Cell) -> None:
    canvas = np.zeros((500, 500, 3), np.uint8)
    height, width = drawn.mask.shape
    canvas[17 : 17 + height, 101 : 101 + width] = drawn.rgb
    assert compute(find_cell(canvas)) == compute(drawn)


def test_turning_the_cell_by_90_degrees_only_swaps_x_and_y(drawn: Cell) -> None:
    turned = compute(find_cell(np.rot90(drawn.rgb)))
    swap = {"variance_x": "variance_y", "variance_y": "variance_x"}
    directional = ("mean_x", "mean_y", "skewness_x", "skewness_y")
    # an even median window lies off centre by half a pixel, so that a turn moves it
    loose = {"statistics_median_filter_mean": 2e-3, "geometry_symmetry": 0.01}
    for name, value in compute(drawn).items():
        if not name.endswith(directional):
            partner = next((name.replace(old, new) for old, new in swap.items() if name.endswith(old)), name)
            assert turned[partner] == pytest.approx(value, rel=loose.get(name, 1e-5)), name


def test_colour_is_the_mean_of_each_channel_inside_the_cell() -> None:
    color = color_features(shape_cell(ellipse(50, 40), (90, 40, 122)))
    assert color == pytest.approx(
        {"color_mean_red": 90, "color_mean_green": 40, "color_mean_blue": 122, "color_mean": 84}
    )


@pytest.mark.parametrize("distance", [1, 3])
def test_co_occurrence_in_a_full_mask_equals_scikit_image(distance: int) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 30)).astype(np.uint8)
    ours = co_occurrence_matrices(grey, np.ones(grey.shape, bool), distance=distance)
    # scikit-image turns its angles the other way: 135 degrees there is 45 degrees here
    theirs = graycomatrix(
        grey // (256 // LEVELS), [distance], [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4], LEVELS, True, True
    )
    if distance > 1:  # its diagonal steps are rounded from polar coordinates, ours are whole
        assert ours[0] == pytest.approx(theirs[:, :, 0, 0])
        assert ours[2] == pytest.approx(theirs[:, :, 0, 2])
    else:
        ours_in_their_order = ours[[0, 1, 2, 3]]
        assert sorted(m.tolist() for m in ours_in_their_order) == sorted(theirs[:, :, 0, a].tolist() for a in range(4))


def test_texture_of_a_filled_rectangle_equals_scikit_image() -> None:
    noise = np.random.default_rng(1).integers(1, 256, (50, 60, 1)).astype(np.uint8).repeat(3, axis=2)
    cell = find_cell(noise)
    quantised = grey_levels(cell.rgb) // (256 // LEVELS)
    matrices = graycomatrix(quantised, [1], [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4], LEVELS, True, True)
    texture = texture_features(cell)
    for ours, theirs in (
        ("contrast", "contrast"),
        ("homogeneity", "homogeneity"),
        ("energy", "ASM"),
        ("correlation", "correlation"),
    ):
        assert texture[f"texture_{ours}"] == pytest.approx(graycoprops(matrices, theirs).mean()), ours
    entropies = [entropy(matrices[:, :, 0, direction].ravel(), base=2) for direction in range(4)]
    assert texture["texture_entropy"] == pytest.approx(np.mean(entropies))


def test_no_pair_touches_the_background() -> None:
    mask = ellipse(30, 20)
    grey = np.where(mask, 200, 0).astype(np.uint8)
    for matrix in co_occurrence_matrices(grey, mask):
        assert matrix[200 // (256 // LEVELS), 200 // (256 // LEVELS)] == pytest.approx(1)


def test_a_checkerboard_has_two_levels_side_by_side_and_one_along_diagonals() -> None:
    grey = (np.indices((20, 20)).sum(axis=0) % 2 * 4).astype(np.uint8)  # levels 0 and 1
    across, diagonal, down, other = co_occurrence_matrices(grey, np.ones(grey.shape, bool))
    for matrix in (across, down):
        assert matrix[0, 1] == pytest.approx(0.5)
        assert matrix[0, 0] == 0
    for matrix in (diagonal, other):
        assert matrix[0, 0] + matrix[1, 1] == pytest.approx(1)


def test_a_constant_cell_follows_the_written_rule() -> None:
    texture = texture_features(shape_cell(ellipse(30, 20)))
    assert texture == {
        "texture_entropy": 0.0,
        "texture_energy": 1.0,
        "texture_homogeneity": 1.0,
        "texture_correlation": 1.0,
        "texture_contrast": 0.0,
    }


def test_projection_of_a_rectangle_is_uniform() -> None:
    values = statistical_features(shape_cell(rectangle(120, 60), (100, 100, 100)))
    assert values["statistics_mean_x"] == pytest.approx(119 / 2)
    assert values["statistics_variance_x"] == pytest.approx((120**2 - 1) / 12)
    assert values["statistics_variance_y"] == pytest.approx((60**2 - 1) / 12)
    assert values["statistics_skewness_x"] == pytest.approx(0, abs=1e-9)
    assert values["statistics_median_filter_mean"] == pytest.approx(100)


def test_a_triangle_has_the_skewness_of_a_triangle() -> None:
    _, variance, skewness = projection_moments(np.arange(1000.0))
    assert variance == pytest.approx(1000**2 / 18, rel=1e-2)
    assert skewness == pytest.approx(-2 * np.sqrt(2) / 5, rel=1e-2)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 2)])
def test_the_smallest_cells_give_finite_numbers(size: tuple[int, int]) -> None:
    values = compute(shape_cell(np.ones(size, bool)))
    assert np.isfinite(list(values.values())).all()
    assert values["geometry_area"] == size[0] * size[1]


def test_the_catalogue_lists_what_is_computed(drawn: Cell) -> None:
    assert list(compute(drawn)) == [feature.name for feature in features_of("patel")]
    assert len({feature.name for feature in CATALOG}) == len(CATALOG)
    with pytest.raises(StudyError, match="no feature set 'haralick'; there is patel"):
        features_of("haralick")


def test_area_follows_the_ground_truth_of_drawn_cells() -> None:
    for number in range(5):
        image, truth = draw_cell(CLASS_APPEARANCE["hem"], MEAN_STAIN, np.random.default_rng(number))
        shape = geometric_features(find_cell(image))
        assert shape["geometry_area"] == truth["area"]
        assert shape["geometry_eccentricity"] == pytest.approx(truth["eccentricity"], abs=0.15)
