from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, gaussian_laplace
from scipy.stats import kurtosis, skew
from skimage.feature import local_binary_pattern
from skimage.filters.rank import entropy
from skimage.morphology import disk

from leukobench.cells.cell import Cell, find_cell
from leukobench.cohort.synthetic import CLASS_APPEARANCE, MEAN_STAIN, draw_cell
from leukobench.features.derivatives import gradient_and_laplacian
from leukobench.features.texture import derivatives, local_binary_patterns, local_entropy
from tests.features.shapes import ellipse, grey_cell, prepared, shape_cell


@pytest.fixture(scope="module")
def drawn() -> Cell:
    image, _ = draw_cell(CLASS_APPEARANCE["all"], MEAN_STAIN, np.random.default_rng(4))
    return find_cell(image)


def test_local_entropy_equals_scikit_image(drawn: Cell) -> None:
    random = np.random.default_rng(2)
    ragged = random.random((37, 53)) < 0.7
    noise = prepared(grey_cell(random.integers(0, 256, ragged.shape), ragged))
    for cell in (prepared(drawn), noise):
        theirs = entropy(cell.intensity, disk(5), mask=cell.mask)[cell.cell.mask].mean()
        assert local_entropy(cell)["texture_local_entropy"] == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (3, 7), (4, 4), (6, 30), (9, 2), (13, 17)])
def test_local_entropy_equals_a_plain_loop(height: int, width: int) -> None:
    """On any number of rows, although several are computed side by side, and on rows without a pixel of the cell."""
    random = np.random.default_rng(height)
    mask = random.random((height, width)) < 0.6
    mask[0, 0] = mask[-1, -1] = True
    mask[1 : height - 2] = False
    cell = prepared(grey_cell(random.integers(0, 4, mask.shape), mask))
    entropies = []
    for y, x in np.argwhere(mask):
        near = np.hypot(*(np.indices(mask.shape) - np.array([y, x])[:, None, None])) <= 5
        _, counts = np.unique(cell.intensity[near & mask], return_counts=True)
        entropies.append(-(counts / counts.sum() * np.log2(counts / counts.sum())).sum())
    assert local_entropy(cell)["texture_local_entropy"] == pytest.approx(np.mean(entropies), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("radius", "neighbours"), [(1, 8), (2, 16)])
def test_binary_patterns_equal_a_plain_loop(radius: int, neighbours: int) -> None:
    """Each pixel by itself; the four pixels around a neighbour are weighted by their areas. The counts are the same."""
    random = np.random.default_rng(radius)
    cell = prepared(grey_cell(random.integers(0, 6, (19, 23)), random.random((19, 23)) < 0.97))
    grey, mask, counts = cell.intensity.astype(float), cell.mask, np.zeros(neighbours + 2)
    angles = 2 * np.pi * np.arange(neighbours) / neighbours
    for y in range(radius, 19 - radius):
        for x in range(radius, 23 - radius):
            if mask[y - radius : y + radius + 1, x - radius : x + radius + 1].all():
                bright = []
                for down, right in np.round(radius * np.stack([-np.sin(angles), np.cos(angles)], axis=1), 5):
                    top, left = int(np.floor(down)), int(np.floor(right))
                    rows = np.array([1 - (down - top), down - top])
                    columns = np.array([1 - (right - left), right - left])
                    corner = np.pad(grey, 1)[y + top + 1 : y + top + 3, x + left + 1 : x + left + 3]
                    bright.append(rows @ corner @ columns - grey[y, x] >= -1e-6)
                one_run = (np.array(bright) != np.roll(bright, 1)).sum() <= 2
                counts[sum(bright) if one_run else neighbours + 1] += 1
    assert counts.sum() > 20
    found = local_binary_patterns(cell)
    assert [found[f"texture_lbp_r{radius}_{k}"] for k in range(neighbours + 2)] == list(counts / counts.sum())


def test_local_entropy_of_halves_and_of_one_value() -> None:
    board = grey_cell(50 + 100 * (np.indices((60, 60)).sum(axis=0) % 2))
    assert local_entropy(prepared(board))["texture_local_entropy"] == pytest.approx(1, abs=0.01)
    constant = prepared(shape_cell(ellipse(30, 20)))
    assert local_entropy(constant)["texture_local_entropy"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("radius", "neighbours"), [(1, 8), (2, 16)])
def test_binary_patterns_equal_scikit_image(drawn: Cell, radius: int, neighbours: int) -> None:
    for cell in (prepared(drawn), prepared(grey_cell(np.random.default_rng(0).integers(0, 256, (60, 70))))):
        block = np.ones((2 * radius + 1,) * 2, np.uint8)
        inside = cv2.erode(cell.mask, block, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
        patterns = local_binary_pattern(cell.intensity, neighbours, radius, "uniform")[inside].astype(int)
        theirs = np.bincount(patterns, minlength=neighbours + 2) / inside.sum()
        ours = local_binary_patterns(cell)
        found = [ours[f"texture_lbp_r{radius}_{pattern}"] for pattern in range(neighbours + 2)]
        # of equal neighbours, scikit-image's interpolation rounds some below the pixel
        assert found == pytest.approx(theirs, abs=5e-4)


def test_binary_patterns_of_a_flat_cell_and_of_lone_bright_pixels() -> None:
    flat = local_binary_patterns(prepared(shape_cell(ellipse(30, 20))))
    assert flat["texture_lbp_r1_8"] == flat["texture_lbp_r2_16"] == 1
    dots = np.full((41, 41), 50)
    dots[4::8, 4::8] = 200
    pattern = local_binary_patterns(prepared(grey_cell(dots)))
    assert pattern["texture_lbp_r1_0"] == 25 / 39**2  # brighter than all round them
    assert sum(share for name, share in pattern.items() if "_r1_" in name) == pytest.approx(1)


@pytest.mark.parametrize("scale", [0, 1, 2, 4])
def test_derivatives_of_a_plane_and_of_a_bowl_are_exact(scale: int) -> None:
    y, x = np.mgrid[:80, :80] - 40.0
    mask = ellipse(38, 36, side=81)[:80, :80].view(np.uint8)
    factor = scale or 1
    slope, flat = gradient_and_laplacian(100 + 0.6 * x + 0.8 * y, mask, scale)
    assert slope.mean == pytest.approx(1.0 * factor)
    assert (slope.variance, slope.skewness, slope.kurtosis) == pytest.approx((0, 0, 0), abs=1e-12)
    assert flat.mean == pytest.approx(0, abs=1e-9)
    _, bowl = gradient_and_laplacian(0.05 * x**2 + 0.02 * y**2, mask, scale)
    assert bowl.mean == pytest.approx(2 * (0.05 + 0.02) * factor**2)
    assert (bowl.variance, bowl.skewness) == pytest.approx((0, 0), abs=1e-12)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_derivatives_of_noise_equal_scipy(scale: int) -> None:
    noise = np.random.default_rng(3).integers(1, 256, (120, 130))
    found = derivatives(prepared(grey_cell(noise)))
    reach = 3 * scale + 1
    inner = (slice(reach, -reach),) * 2
    smooth = gaussian_filter(noise.astype(float), scale, truncate=3)
    down, right = np.gradient(smooth)
    gradient = scale * np.hypot(down, right)[inner].ravel()
    assert found[f"texture_gradient_s{scale}_mean"] == pytest.approx(gradient.mean())
    assert found[f"texture_gradient_s{scale}_std"] == pytest.approx(gradient.std())
    assert found[f"texture_gradient_s{scale}_skewness"] == pytest.approx(skew(gradient))
    assert found[f"texture_gradient_s{scale}_kurtosis"] == pytest.approx(kurtosis(gradient))
    laplacian = scale**2 * gaussian_laplace(noise.astype(float), scale, truncate=5)[inner].ravel()
    # SciPy samples the Gaussian's own second derivative: the finer the scale, the more differences differ from it
    assert found[f"texture_laplacian_s{scale}_std"] == pytest.approx(laplacian.std(), rel=0.35 / scale**2 + 0.02)
    assert found[f"texture_laplacian_s{scale}_mean"] == pytest.approx(laplacian.mean(), abs=1)
    assert found[f"texture_laplacian_s{scale}_skewness"] == pytest.approx(skew(laplacian), abs=0.15)
    assert found[f"texture_laplacian_s{scale}_kurtosis"] == pytest.approx(kurtosis(laplacian), abs=0.2)


def test_the_edge_of_the_cell_is_no_edge_of_its_texture() -> None:
    flat = derivatives(prepared(shape_cell(ellipse(60, 50), (200, 200, 200))))
    assert list(flat.values()) == pytest.approx([0] * len(flat), abs=1e-9)


def test_a_cell_too_small_for_a_scale_has_zeros_there() -> None:
    cell = prepared(grey_cell(np.random.default_rng(0).integers(1, 256, (9, 9))))
    found = derivatives(cell)
    assert found["texture_gradient_s1_mean"] > 0
    assert found["texture_gradient_s2_mean"] == found["texture_laplacian_s4_std"] == 0
