from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from leukobench.cells.fingerprints import OUTSIDE, SIDE
from leukobench.cohort.registration import Registrations, register

MIDDLE = (SIDE - 1) / 2
RIGHT, DOWN = np.meshgrid(np.arange(SIDE) - MIDDLE, np.arange(SIDE) - MIDDLE)


def pattern(right: np.ndarray, down: np.ndarray, seed: int = 0) -> np.ndarray:
    """A smooth function of the plane between -1 and 1: the mean of twelve waves of 9 px or longer."""
    rng = np.random.default_rng(seed)
    angle, length, phase = rng.uniform(0, 2 * np.pi, 12), rng.uniform(9, 25, 12), rng.uniform(0, 2 * np.pi, 12)
    waves = zip(np.cos(angle), np.sin(angle), length, phase, strict=True)
    return sum(np.sin(2 * np.pi * (x * right + y * down) / of + start) for x, y, of, start in waves) / 12


def moved(log_scale: float, angle: float, right: float, down: float, *, amplitude: float = 120, radius: float = 22):
    """The texture of `pattern` on a disk, both moved by a similarity transform. No pixel is interpolated."""
    scale = np.exp(-log_scale)
    x, y = RIGHT - right, DOWN - down
    u, v = scale * (np.cos(angle) * x + np.sin(angle) * y), scale * (np.cos(angle) * y - np.sin(angle) * x)
    return np.where(np.hypot(u, v) < radius, np.rint(amplitude * pattern(u, v)), OUTSIDE).astype(np.int8)


def registered(first: np.ndarray, second: np.ndarray, angle: float = 0, *, mirrored: bool = False) -> Registrations:
    one = np.array([0])
    return register(np.stack([first, second]), one, one + 1, np.array([angle]), np.array([mirrored]))


def assert_parameters(found: Registrations, log_scale: float, angle: float, right: float, down: float) -> None:
    assert found.similarity[0] > 0.99
    assert found.log_scale[0] == pytest.approx(log_scale, abs=0.005)
    assert found.angle[0] == pytest.approx(angle, abs=0.005)
    assert (found.right[0], found.down[0]) == pytest.approx((right, down), abs=0.1)


@pytest.mark.parametrize(
    ("log_scale", "angle", "right", "down"),
    [
        (0, 0, 0, 0),
        (0.1, 0, 0, 0),
        (-0.1, 0, 0, 0),
        (0, 0.1, 0, 0),
        (0, 0, 2.5, -1.5),
        (0.08, 2.0, 1.5, 2),
        (-0.08, -2.0, -2, 1.2),
    ],
)
@pytest.mark.parametrize("error", [-0.1, 0, 0.1])  # the search starts from an angle that is off by at most 6 degrees
def test_a_known_transform_is_found(log_scale: float, angle: float, right: float, down: float, error: float) -> None:
    found = registered(moved(0, 0, 0, 0), moved(log_scale, angle, right, down), angle + error)
    assert_parameters(found, log_scale, angle, right, down)


def test_the_transform_of_the_swapped_pair_is_the_inverse() -> None:
    found = registered(moved(0.08, 0.7, 0, 0), moved(0, 0, 0, 0), -0.6)
    assert_parameters(found, -0.08, -0.7, 0, 0)


def test_a_mirrored_texture_is_mirrored_back_first() -> None:
    first, second = moved(0, 0, 0, 0), moved(0.05, 1.0, 1, -1)[:, ::-1]
    found = registered(first, second, 0.95, mirrored=True)
    assert_parameters(found, 0.05, 1.0, 1, -1)
    assert found.mirrored.tolist() == [True]
    assert registered(first, second, 0.95, mirrored=False).similarity[0] < 0.9


@pytest.mark.parametrize("gain", [0.3, 1, -1])
def test_similarity_is_the_correlation_after_registration(gain: float) -> None:
    """Brightness and contrast do not count; a negative is not similar."""
    first = moved(0, 0, 0, 0, amplitude=100)
    second = moved(0.05, 0.4, 1, 2, amplitude=100)
    changed = np.where(second == OUTSIDE, OUTSIDE, np.rint(gain * second.astype(float) + 20)).astype(np.int8)
    found = registered(first, changed, 0.35)
    if gain < 0:
        assert found.similarity[0] < 0.9
        return
    assert_parameters(found, 0.05, 0.4, 1, 2)
    # the same by SciPy, at the parameters that were found
    scale, angle = np.exp(found.log_scale[0]), found.angle[0]
    x = scale * (np.cos(angle) * RIGHT - np.sin(angle) * DOWN) + found.right[0] + MIDDLE
    y = scale * (np.sin(angle) * RIGHT + np.cos(angle) * DOWN) + found.down[0] + MIDDLE
    outside = map_coordinates((changed == OUTSIDE).astype(float), [y, x], order=1, cval=1)
    shared = (first != OUTSIDE) & (outside == 0)
    values = map_coordinates(changed.astype(float), [y, x], order=1)
    expected = np.corrcoef(first[shared].astype(float), values[shared])[0, 1]
    assert found.similarity[0] == pytest.approx(expected, abs=1e-6)


def test_cells_that_do_not_overlap_have_a_similarity_of_minus_one() -> None:
    whole = moved(0, 0, 0, 0)
    left, right = (np.where(side, whole, OUTSIDE) for side in (RIGHT < -1, RIGHT > 1))
    assert registered(left.astype(np.int8), right.astype(np.int8)).similarity.tolist() == [-1]


def test_less_than_three_fifths_of_the_smaller_cell_is_too_little_overlap() -> None:
    whole = moved(0, 0, 0, 0)
    for shared, similar in ((0.75, True), (0.65, False)):
        end = np.quantile(RIGHT[whole != OUTSIDE], shared)
        halves = [np.where(side <= end, whole, OUTSIDE).astype(np.int8) for side in (RIGHT, -RIGHT)]
        # both show `shared` of the disk, from either side: they share 2 - 1/shared of themselves
        assert (registered(*halves).similarity[0] > 0.99) == similar


def test_other_textures_are_not_similar() -> None:
    disk = np.hypot(RIGHT, DOWN) < 22
    textures = np.stack(
        [np.where(disk, np.rint(120 * pattern(RIGHT, DOWN, seed)), OUTSIDE).astype(np.int8) for seed in range(8)]
    )
    first, second = np.triu_indices(8, 1)
    found = register(textures, first, second, np.zeros(28), np.zeros(28, bool))
    assert found.similarity.max() < 0.9


def test_the_number_of_threads_does_not_change_the_result() -> None:
    rng = np.random.default_rng(0)
    textures = np.stack([moved(*rng.normal(0, (0.05, 1, 1, 1))) for _ in range(20)])
    first, second = np.triu_indices(20, 1)  # more pairs than a thread registers at once
    angle, mirrored = rng.uniform(0, 2 * np.pi, len(first)), rng.random(len(first)) < 0.5
    one, two = (vars(register(textures, first, second, angle, mirrored, jobs=jobs)) for jobs in (1, 2))
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name])


def test_no_pair_is_no_registration() -> None:
    none = np.array([], int)
    found = register(np.empty((0, SIDE, SIDE), np.int8), none, none, none.astype(float), none.astype(bool))
    assert len(found.similarity) == 0
