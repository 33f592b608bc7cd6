from __future__ import annotations

import cv2
import numpy as np
import pytest

from leukobench.cells.cell import Cell
from leukobench.features.catalog import compute, settings_of
from leukobench.features.settings import STAINS
from leukobench.features.stain import (
    LAB_REFERENCE,
    LIGHT,
    METHODS,
    RGB_REFERENCE,
    STAIN_REFERENCE,
    macenko,
    normalised,
    reinhard,
    stain_vectors,
    standardised,
)
from tests.features.shapes import ellipse, shape_cell


def two_stains(stains: np.ndarray, seed: int = 0, number: int = 4000) -> np.ndarray:
    """Pixels of two stains in every mixture, a few of each alone. [shape=(number, 3)]"""
    random = np.random.default_rng(seed)
    share = np.clip(random.uniform(-0.05, 1.05, number), 0, 1)
    strength = random.uniform(0.6, 1.4, number)
    density = strength[:, None] * (share[:, None] * stains[0] + (1 - share[:, None]) * stains[1])
    return LIGHT * 10**-density - 1


def test_the_methods_are_those_of_the_settings() -> None:
    assert ("none", *METHODS) == STAINS


def test_standardised_channels_have_the_reference_s_mean_and_deviation() -> None:
    rgb = np.random.default_rng(1).uniform(20, 90, (3000, 3)) * [1, 0.5, 1.2]
    moved = standardised(rgb)
    assert [moved.mean(axis=0), moved.std(axis=0)] == [pytest.approx(row) for row in RGB_REFERENCE]


def test_reinhard_gives_the_reference_s_lab() -> None:
    rgb = np.random.default_rng(1).uniform(40, 60, (3000, 3)) + np.array([30, 0, 30])
    lab = cv2.cvtColor((reinhard(rgb)[None] / 255).astype(np.float32), cv2.COLOR_RGB2Lab)[0]
    assert lab.mean(axis=0) == pytest.approx(LAB_REFERENCE[0], abs=0.1)
    assert lab.std(axis=0) == pytest.approx(LAB_REFERENCE[1], abs=0.2)


def test_macenko_finds_two_known_stains_and_gives_them_the_reference_s_colours() -> None:
    known = np.array([[0.65, 0.70, 0.29], [0.27, 0.90, 0.34]])
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    rgb = two_stains(known)
    found = stain_vectors(rgb)
    assert found == pytest.approx(known, abs=0.02)
    after = stain_vectors(macenko(rgb))
    reference = STAIN_REFERENCE / np.linalg.norm(STAIN_REFERENCE, axis=1, keepdims=True)
    assert after == pytest.approx(reference, abs=0.02)


def test_two_slides_that_differ_in_stain_and_light_alone_look_alike_after_macenko() -> None:
    one = np.array([[0.65, 0.70, 0.29], [0.27, 0.90, 0.34]])
    other = np.array([[0.60, 0.65, 0.46], [0.35, 0.85, 0.39]])
    first, second = (macenko(two_stains(stains)) for stains in (one, 0.8 * other))
    assert np.abs(first - second).mean() < 3 < np.abs(two_stains(one) - two_stains(0.8 * other)).mean()


@pytest.mark.parametrize("method", METHODS)
def test_a_gain_of_each_channel_is_taken_out(method: str) -> None:
    """What Reinhard and Macenko undo only nearly, and standardising exactly, is a change of stain or light."""
    rgb = two_stains(STAIN_REFERENCE)
    before, after = METHODS[method](rgb), METHODS[method](rgb * 0.8)
    assert np.abs(before - after).mean() < 0.5 * np.abs(rgb - rgb * 0.8).mean()


@pytest.mark.parametrize("method", METHODS)
def test_black_stays_black_and_one_colour_does_not_fail(method: str) -> None:
    cell = normalised(shape_cell(ellipse(20, 15, side=61), (90, 40, 120)), method)
    assert (cell.rgb[~cell.mask] == 0).all()
    values = compute(shape_cell(ellipse(20, 15, side=61)), "full", settings_of("full", stain=method))
    assert np.isfinite(list(values.values())).all()
    dot = Cell(np.full((1, 1, 3), 7, np.uint8), np.ones((1, 1), bool), (0, 0), (1, 1))
    assert normalised(dot, method).rgb.shape == (1, 1, 3)
