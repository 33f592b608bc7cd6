from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from skimage.color import rgb2hsv, rgb2lab

from leukobench.cells.cell import Cell, find_cell
from leukobench.cohort.synthetic import CLASS_APPEARANCE, MEAN_STAIN, draw_cell
from leukobench.features.color import channel_distribution, mean_color
from leukobench.features.distribution import entropy_of, moments_of, percentiles_of
from leukobench.features.settings import CHANNELS
from tests.features.shapes import ellipse, prepared, shape_cell


@pytest.fixture(scope="module")
def drawn() -> Cell:
    image, _ = draw_cell(CLASS_APPEARANCE["all"], MEAN_STAIN, np.random.default_rng(4))
    return find_cell(image)


def test_colour_is_the_mean_of_each_channel_inside_the_cell() -> None:
    color = mean_color(prepared(shape_cell(ellipse(50, 40), (90, 40, 122))))
    assert color == pytest.approx(
        {"color_mean_red": 90, "color_mean_green": 40, "color_mean_blue": 122, "color_mean": 84}
    )


@pytest.mark.parametrize("channel", ["red", "green", "blue"])
def test_a_channel_s_distribution_equals_scipy(drawn: Cell, channel: str) -> None:
    values = drawn.rgb[drawn.mask][:, ("red", "green", "blue").index(channel)].astype(float)
    ours = channel_distribution(prepared(drawn), channel)
    assert ours[f"color_mean_{channel}"] == pytest.approx(values.mean())
    assert ours[f"color_std_{channel}"] == pytest.approx(values.std())
    assert ours[f"color_skewness_{channel}"] == pytest.approx(stats.skew(values))
    assert ours[f"color_kurtosis_{channel}"] == pytest.approx(stats.kurtosis(values))
    for at in (10, 25, 50, 75, 90):
        assert ours[f"color_p{at}_{channel}"] == pytest.approx(np.percentile(values, at))


def test_grey_hsv_and_lab_equal_scikit_image_to_the_rounding_of_8_bits(drawn: Cell) -> None:
    pixels = drawn.rgb[drawn.mask][:, None]
    hsv, lab = rgb2hsv(pixels)[:, 0], rgb2lab(pixels)[:, 0]
    grey = pixels[:, 0] @ [0.299, 0.587, 0.114]
    theirs = {"saturation": hsv[:, 1], "value": hsv[:, 2], "lightness": lab[:, 0], "a": lab[:, 1], "b": lab[:, 2]}
    step = {"grey": 1, "saturation": 1 / 255, "value": 1 / 255, "lightness": 100 / 255, "a": 1, "b": 1}
    for channel, values in {"grey": grey, **theirs}.items():
        ours = channel_distribution(prepared(drawn), channel)
        assert ours[f"color_mean_{channel}"] == pytest.approx(values.mean(), abs=step[channel] / 2), channel
        assert ours[f"color_std_{channel}"] == pytest.approx(values.std(), abs=step[channel] / 4), channel
        for at in (10, 25, 50, 75, 90):
            assert ours[f"color_p{at}_{channel}"] == pytest.approx(np.percentile(values, at), abs=step[channel] * 1.5)


def test_the_histogram_of_every_channel_is_that_of_its_image_inside_the_cell(drawn: Cell) -> None:
    random = np.random.default_rng(0)
    ragged = random.random((37, 53)) < 0.6
    noise = Cell(
        np.where(ragged[..., None], random.integers(0, 256, (37, 53, 3)), 0).astype(np.uint8), ragged, (0, 0), (37, 53)
    )
    for cell in (drawn, noise):
        for channel in CHANNELS:
            inside = prepared(cell).channel(channel)[cell.mask]
            assert (prepared(cell).histogram(channel) == np.bincount(inside, minlength=256)).all(), channel


def test_hue_is_an_angle(drawn: Cell) -> None:
    hue = 360 * rgb2hsv(drawn.rgb[drawn.mask][:, None])[:, 0, 0]
    ours = channel_distribution(prepared(drawn), "hue")
    assert ours["color_mean_hue"] == pytest.approx(np.degrees(stats.circmean(np.radians(hue))), abs=1)
    assert ours["color_p50_hue"] == pytest.approx(np.median(hue), abs=1.5)
    # half of the pixels at 350, half at 10 degrees: the mean is 0, not 180, and 10 from each
    rgb = np.zeros((10, 10, 3), np.uint8)
    rgb[:5], rgb[5:] = (120, 0, 20), (120, 20, 0)
    split = channel_distribution(prepared(Cell(rgb, np.ones((10, 10), bool), (0, 0), (10, 10))), "hue")
    assert min(split["color_mean_hue"], 360 - split["color_mean_hue"]) < 1
    assert split["color_std_hue"] == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    ("color", "expected"),
    [
        ((200, 0, 0), {"hue": 0, "saturation": 1, "value": 200 / 255}),
        ((0, 200, 0), {"hue": 120, "saturation": 1, "value": 200 / 255}),
        ((255, 255, 255), {"saturation": 0, "value": 1, "lightness": 100, "a": 0, "b": 0}),
        ((255, 0, 0), {"lightness": 53.24, "a": 80.09, "b": 67.20}),  # the published Lab of sRGB red under D65
    ],
)
def test_pure_colours_have_their_published_coordinates(color: tuple[int, int, int], expected: dict[str, float]) -> None:
    cell = prepared(shape_cell(ellipse(20, 20), color))
    for channel, value in expected.items():
        described = channel_distribution(cell, channel)
        unit = {"hue": 1.5, "saturation": 0.005, "value": 0.005, "lightness": 0.5}.get(channel, 1)
        assert described[f"color_mean_{channel}"] == pytest.approx(value, abs=unit), channel
        for name in ("std", "skewness", "kurtosis"):  # constant: the written rule
            assert described[f"color_{name}_{channel}"] == 0


def test_moments_and_entropy_of_known_distributions() -> None:
    die = moments_of(np.arange(1.0, 7), np.ones(6))
    assert (die.mean, die.variance, die.skewness) == pytest.approx((3.5, 35 / 12, 0))
    assert die.kurtosis == pytest.approx(-6 / 5 * 37 / 35)  # of a discrete uniform distribution over n = 6
    coin = moments_of(np.array([0.0, 1.0]), np.array([75, 25]))
    assert coin.skewness == pytest.approx((1 - 2 * 0.25) / np.sqrt(0.25 * 0.75))
    assert entropy_of(np.array([5, 5, 5, 5])) == pytest.approx(2)
    assert entropy_of(np.array([7, 0])) == 0
    assert percentiles_of(np.arange(101.0), np.ones(101)) == pytest.approx([10, 25, 50, 75, 90])
    nothing = np.zeros(3)
    assert moments_of(nothing, nothing).mean == entropy_of(nothing) == percentiles_of(nothing, nothing).max() == 0
