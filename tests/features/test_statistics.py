from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from skimage.filters.rank import median
from skimage.measure import moments_central

from leukobench.cells.cell import Cell, find_cell
from leukobench.cohort.synthetic import CLASS_APPEARANCE, MEAN_STAIN, draw_cell
from leukobench.features.statistics import (
    gradient_distribution,
    intensity_distribution,
    intensity_projections,
    median_filtered,
)
from tests.features.shapes import ellipse, grey_cell, prepared, rectangle, shape_cell


@pytest.fixture(scope="module")
def drawn() -> Cell:
    image, _ = draw_cell(CLASS_APPEARANCE["all"], MEAN_STAIN, np.random.default_rng(4))
    return find_cell(image)


def test_intensity_equals_scipy(drawn: Cell) -> None:
    cell = prepared(drawn, channel="green")
    values = drawn.rgb[drawn.mask][:, 1].astype(float)
    found = intensity_distribution(cell)
    assert found["statistics_mean"] == pytest.approx(values.mean())
    assert found["statistics_variance"] == pytest.approx(values.var())
    assert found["statistics_skewness"] == pytest.approx(stats.skew(values))
    assert found["statistics_kurtosis"] == pytest.approx(stats.kurtosis(values))
    assert found["statistics_entropy"] == pytest.approx(stats.entropy(np.unique(values, return_counts=True)[1], base=2))


def test_projection_of_a_rectangle_is_uniform() -> None:
    values = intensity_projections(prepared(shape_cell(rectangle(120, 60), (100, 100, 100))))
    assert values["statistics_mean_x"] == pytest.approx(119 / 2)
    assert values["statistics_mean_y"] == pytest.approx(59 / 2)
    assert values["statistics_variance_x"] == pytest.approx((120**2 - 1) / 12)
    assert values["statistics_variance_y"] == pytest.approx((60**2 - 1) / 12)
    assert values["statistics_skewness_x"] == pytest.approx(0, abs=1e-9)
    assert values["statistics_skewness_y"] == pytest.approx(0, abs=1e-9)


def test_a_triangle_has_the_skewness_of_a_triangle() -> None:
    y, x = np.mgrid[:1000, :1000]
    values = intensity_projections(prepared(grey_cell(np.full((1000, 1000), 50), mask=y <= x)))
    for axis, sign in (("x", -1), ("y", 1)):
        assert values[f"statistics_variance_{axis}"] == pytest.approx(1000**2 / 18, rel=5e-3)
        assert values[f"statistics_skewness_{axis}"] == pytest.approx(sign * 2 * np.sqrt(2) / 5, rel=5e-3)


def test_projections_of_a_drawn_cell_equal_scikit_image(drawn: Cell) -> None:
    cell = prepared(drawn)
    values = intensity_projections(cell)
    central = moments_central(cell.intensity.astype(float), order=3)
    variance = central[0, 2] / central[0, 0]
    assert values["statistics_variance_x"] == pytest.approx(variance)
    assert values["statistics_variance_y"] == pytest.approx(central[2, 0] / central[0, 0])
    assert values["statistics_skewness_x"] == pytest.approx(central[0, 3] / central[0, 0] / variance**1.5)


@pytest.mark.parametrize("seed", range(3))
def test_the_median_filter_equals_scikit_image(seed: int) -> None:
    """On noise in masks that are ragged, touch the edges and have holes."""
    random = np.random.default_rng(seed)
    mask = random.random((57, 43)) < (0.2, 0.6, 0.95)[seed]
    mask[0, 0] = True
    grey = random.integers(0, 256, mask.shape).astype(np.uint8)
    cell = prepared(grey_cell(grey, mask))
    theirs = median(cell.intensity, np.ones((16, 16), np.uint8), mask=mask.astype(np.uint8))[mask].mean()
    assert median_filtered(cell)["statistics_median_filter_mean"] == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(
    ("height", "width", "density"), [(1, 1, 1), (1, 40, 1), (40, 1, 1), (50, 37, 0.03), (33, 70, 1)]
)
@pytest.mark.parametrize("values", [[0, 255], [7], list(range(256)), [90, 91, 120]])
def test_the_median_filter_equals_a_plain_loop(height: int, width: int, density: float, values: list[int]) -> None:
    """On cells narrower than the window, sparse ones, and those whose median jumps over the whole range."""
    random = np.random.default_rng(height)
    mask = random.random((height, width)) < density
    mask[0, 0] = True
    grey = random.choice(values, mask.shape).astype(np.uint8)
    medians = []
    for row, column in np.argwhere(mask):
        window = (slice(max(0, row - 8), row + 8), slice(max(0, column - 8), column + 8))
        inside = np.sort(grey[window][mask[window]])
        medians.append(inside[len(inside) // 2])
    cell = prepared(grey_cell(grey, mask))
    assert median_filtered(cell)["statistics_median_filter_mean"] == np.mean(medians)


def test_the_median_filter_of_drawn_and_of_constant_cells(drawn: Cell) -> None:
    cell = prepared(drawn)
    theirs = median(cell.intensity, np.ones((16, 16), np.uint8), mask=cell.mask)[drawn.mask].mean()
    assert median_filtered(cell)["statistics_median_filter_mean"] == pytest.approx(theirs, rel=1e-12)
    even = prepared(shape_cell(ellipse(30, 20), (100, 100, 100)))
    assert median_filtered(even)["statistics_median_filter_mean"] == 100


def test_a_ramp_is_as_steep_as_it_is() -> None:
    y, x = np.mgrid[:60, :60]
    mask = ellipse(25, 20, side=61)[:60, :60]
    steep = gradient_distribution(prepared(grey_cell(10 + 2 * x + y, mask)))
    assert steep["statistics_gradient_mean"] == pytest.approx(np.sqrt(5))
    assert steep["statistics_gradient_variance"] == pytest.approx(0, abs=1e-9)
    assert steep["statistics_gradient_skewness"] == steep["statistics_gradient_kurtosis"] == 0


def test_gradient_of_noise_equals_numpy() -> None:
    grey = np.random.default_rng(0).integers(1, 256, (40, 50))
    down, right = np.gradient(grey.astype(float))
    magnitude = np.hypot(down, right)[1:-1, 1:-1].ravel()
    found = gradient_distribution(prepared(grey_cell(grey)))
    assert found["statistics_gradient_mean"] == pytest.approx(magnitude.mean())
    assert found["statistics_gradient_variance"] == pytest.approx(magnitude.var())
    assert found["statistics_gradient_skewness"] == pytest.approx(stats.skew(magnitude))
    assert found["statistics_gradient_kurtosis"] == pytest.approx(stats.kurtosis(magnitude))
