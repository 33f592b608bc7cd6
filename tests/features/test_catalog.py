from __future__ import annotations

import numpy as np
import pytest

from leukobench.cells.cell import Cell, find_cell
from leukobench.cohort.synthetic import CLASS_APPEARANCE, MEAN_STAIN, draw_cell
from leukobench.core.errors import InputError
from leukobench.features.catalog import DEFAULT_SET, NATIVE, SETS, compute, features_of, settings_of
from leukobench.features.prepared import scaled
from leukobench.features.settings import CHANNELS, MeasurementSettings
from tests.features.shapes import ellipse, shape_cell

CLINTON = {  # what each column of theirs is called here; concavity, which they left at zero, is not among them
    "radius": "geometry_longer_side",
    "area": "geometry_area",
    "rectangularity": "geometry_box_rectangularity",
    "compactness": "geometry_compactness",
    "convexity": "geometry_convexity",
    "elongation": "geometry_box_elongation",
    "eccentricity": "geometry_box_ratio",
    "solidity": "geometry_solidity",
    "entropy": "texture_local_entropy",
    "contrast": "texture_contrast_d1",
    "homogeneity": "texture_inverse_difference_moment_d1",
    "energy": "texture_energy_d1",  # as scikit-image has it: the square root of the angular second moment
    "correlation": "texture_correlation_d1",
    "variance x": "statistics_variance_x",
    "variance y": "statistics_variance_y",
    "skewness x": "statistics_skewness_x",
    "skewness y": "statistics_skewness_y",
    "median": "statistics_median_filter_mean",
    "mean colour": "color_mean_red",
}


@pytest.fixture(scope="module")
def drawn() -> Cell:
    image, _ = draw_cell(CLASS_APPEARANCE["all"], MEAN_STAIN, np.random.default_rng(4))
    return find_cell(image)


@pytest.mark.parametrize("feature_set", SETS)
def test_the_catalogue_lists_what_is_computed(drawn: Cell, feature_set: str) -> None:
    features = features_of(feature_set)
    values = compute(drawn, feature_set)
    assert list(values) == [feature.name for feature in features]
    assert len(set(values)) == len(values)
    assert np.isfinite(list(values.values())).all()
    for feature in features:
        assert feature.family in ("color", "geometry", "texture", "statistics")
        assert feature.formula
        assert feature.unit
        assert feature.source
        assert feature_set in feature.sets


def test_the_sets_hold_what_the_papers_list() -> None:
    assert {feature.name for feature in features_of("clinton19")} == set(CLINTON.values())
    assert len(features_of("clinton19")) == 19
    assert settings_of("clinton19") == MeasurementSettings(channel="red", levels=4, distances=(1,), size=128)
    patel = {feature.name for feature in features_of("patel")}
    assert len(patel) == 27
    assert sum(name.startswith("geometry_") for name in patel) == 11
    everything = {feature.name for feature in features_of("full")}
    assert patel < everything
    assert {feature.name for feature in features_of("clinton19")} - everything == {"texture_energy_d1"}
    assert len(everything) == 347
    assert [feature.name for feature in features_of("leukobench")] == [feature.name for feature in features_of("full")]
    assert settings_of("leukobench") == MeasurementSettings(channel="blue", distances=(1, 2, 4))
    assert DEFAULT_SET == "leukobench"


def test_distances_make_columns_of_their_own() -> None:
    names = [feature.name for feature in features_of("patel", MeasurementSettings(distances=(2, 7)))]
    assert "texture_contrast_d2" in names
    assert "texture_contrast_d7" in names
    assert "texture_contrast_d1" not in names


def test_moving_the_cell_changes_nothing(drawn: Cell) -> None:
    canvas = np.zeros((500, 500, 3), np.uint8)
    height, width = drawn.mask.shape
    canvas[17 : 17 + height, 101 : 101 + width] = drawn.rgb
    assert compute(find_cell(canvas), "full") == compute(drawn, "full")


def test_turning_the_cell_by_90_degrees_changes_only_what_is_directional(drawn: Cell) -> None:
    before, after = compute(drawn, "full"), compute(find_cell(np.rot90(drawn.rgb)), "full")
    swapped = {"statistics_variance_x": "statistics_variance_y", "statistics_variance_y": "statistics_variance_x"}
    directional = ("_mean_x", "_mean_y", "_skewness_x", "_skewness_y", "_box_ratio", "_box_elongation")
    # an even median window lies off centre by half a pixel; mirrored pixels are rounded
    loose = {"statistics_median_filter_mean": 2e-3, "geometry_symmetry_major": 5e-3, "geometry_symmetry_minor": 5e-3}
    for name, value in before.items():
        if not name.endswith(directional):
            turned = after[swapped.get(name, name)]
            assert turned == pytest.approx(value, rel=loose.get(name, 1e-4), abs=1e-6), name
    assert after["geometry_box_ratio"] == pytest.approx(1 / before["geometry_box_ratio"])


def test_twice_the_size_has_twice_the_lengths_and_four_times_the_areas(drawn: Cell) -> None:
    one, two = (compute(drawn, "full", settings_of("full", size=size)) for size in (225, 450))
    powers = {"px": 2, "px^2": 4}
    for feature in features_of("full"):
        name = feature.name
        if feature.unit in powers:
            assert two[name] == pytest.approx(powers[feature.unit] * one[name], rel=0.02), name
        elif feature.family == "geometry":
            assert two[name] == pytest.approx(one[name], rel=0.05, abs=0.01), name
        elif name in ("color_mean", "color_mean_red", "statistics_mean"):
            assert two[name] == pytest.approx(one[name], rel=0.02, abs=0.5), name


@pytest.mark.parametrize("feature_set", SETS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 2), (3, 40)])
def test_the_smallest_cells_give_finite_numbers(feature_set: str, size: tuple[int, int]) -> None:
    cell = shape_cell(np.ones(size, bool), (255, 255, 255))
    values = compute(cell, feature_set, settings_of(feature_set, size=NATIVE))
    assert np.isfinite(list(values.values())).all()
    assert values["geometry_area"] == size[0] * size[1]


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("color", [(1, 0, 0), (255, 255, 255), (0, 0, 1), (90, 40, 120)])
def test_cells_of_one_colour_give_finite_numbers(channel: str, color: tuple[int, int, int]) -> None:
    values = compute(shape_cell(ellipse(12, 9, side=41), color), "full", settings_of("full", channel=channel))
    assert np.isfinite(list(values.values())).all()
    assert values["statistics_variance"] == values["statistics_skewness"] == values["statistics_entropy"] == 0


def test_a_scaled_disk_is_a_smaller_disk_of_the_same_colour() -> None:
    image = np.where(ellipse(100, 100, side=450)[..., None], np.array([90, 40, 120], np.uint8), np.uint8(0))
    small = scaled(find_cell(image), 150)
    assert small.image_shape == (150, 150)
    assert small.mask.sum() == pytest.approx(np.pi * (100 / 3) ** 2, rel=0.01)
    assert (small.rgb[small.mask] == (90, 40, 120)).all()  # no black of the background is mixed in
    values = compute(find_cell(image), "patel", settings_of("patel", size=150))
    assert values["geometry_radius"] == pytest.approx(100 / 3, rel=0.01)
    assert values["color_mean_blue"] == 120
    larger = scaled(find_cell(image), 900)
    assert larger.mask.sum() == pytest.approx(np.pi * 200**2, rel=0.01)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match="no feature set 'haralick'; there is clinton19, patel, full, leukobench"):
        features_of("haralick")
    with pytest.raises(InputError, match="nothing is left of a cell of 1 pixels at 16 px; choose a larger size"):
        dot = np.zeros((450, 450, 3), np.uint8)
        dot[200, 200] = 255
        compute(find_cell(dot), "clinton19", settings_of("clinton19", size=16))
    for change, complaint in (
        ({"channel": "ultraviolet"}, "no channel 'ultraviolet'; there is grey, red"),
        ({"levels": 1}, "1 grey levels; expected 2 to 256"),
        ({"quantisation": "log"}, "no quantisation 'log'; there is fixed, cell"),
        ({"distances": ()}, "expected one or more, each once"),
        ({"distances": (0,)}, "expected 1 to 64 px"),
        ({"size": 3}, "a size of 3 px; expected 16 to 10000"),
    ):
        with pytest.raises(InputError, match=complaint):
            settings_of("patel", **change)
