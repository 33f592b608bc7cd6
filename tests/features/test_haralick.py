from __future__ import annotations

import mahotas
import numpy as np
import pytest
from scipy.stats import entropy
from skimage.feature import graycomatrix, graycoprops

from leukobench.cells.cell import Cell, find_cell
from leukobench.cohort.synthetic import CLASS_APPEARANCE, MEAN_STAIN, draw_cell
from leukobench.features.haralick import MEASURES, haralick_measures
from leukobench.features.texture import co_occurrence, co_occurrence_matrices
from tests.features.shapes import ellipse, grey_cell, prepared, shape_cell

# the digital phantom of the Image Biomarker Standardisation Initiative, four slices; 0: outside the region
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ]
)
# its published values for co-occurrence features by slice and direction, averaged (IBSI reference manual, 3.6)
PHANTOM_VALUES = {
    "joint_maximum": 0.519,
    "joint_average": 2.14,
    "joint_variance": 2.69,
    "joint_entropy": 2.05,
    "difference_average": 1.42,
    "difference_variance": 2.90,
    "difference_entropy": 1.40,
    "sum_average": 4.28,
    "sum_variance": 5.47,
    "sum_entropy": 1.60,
    "angular_second_moment": 0.368,
    "contrast": 5.28,
    "dissimilarity": 1.42,
    "inverse_difference": 0.678,
    "normalised_inverse_difference": 0.851,
    "inverse_difference_moment": 0.619,
    "normalised_inverse_difference_moment": 0.899,
    "inverse_variance": 0.0567,
    "correlation": -0.0121,
    "autocorrelation": 5.09,
    "cluster_tendency": 5.47,
    "cluster_shade": 7.00,
    "cluster_prominence": 79.1,
    "information_correlation_1": -0.155,
    "information_correlation_2": 0.487,
}
ANGLES = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]


@pytest.fixture(scope="module")
def drawn() -> Cell:
    image, _ = draw_cell(CLASS_APPEARANCE["all"], MEAN_STAIN, np.random.default_rng(4))
    return find_cell(image)


def test_the_phantom_has_its_published_values() -> None:
    by_slice = [co_occurrence_matrices(np.where(piece > 0, piece - 1, 6).astype(np.uint16), 6)[0] for piece in PHANTOM]
    mean = np.mean([haralick_measures(matrix) for matrices in by_slice for matrix in matrices], axis=0)
    assert list(MEASURES) == list(PHANTOM_VALUES)
    for name, value in zip(MEASURES, mean, strict=True):
        assert f"{value:.3g}" == f"{PHANTOM_VALUES[name]:.3g}", name


@pytest.mark.parametrize(("distance", "levels"), [(1, 64), (3, 16), (2, 256)])
def test_co_occurrence_in_a_full_mask_equals_scikit_image(distance: int, levels: int) -> None:
    grey = np.random.default_rng(0).integers(0, levels, (40, 30))
    ours = co_occurrence_matrices(grey.astype(np.uint16), levels, (distance,))[0]
    theirs = graycomatrix(grey.astype(np.uint8), [distance], ANGLES, levels, symmetric=True)[:, :, 0]
    assert (ours[0] == theirs[:, :, 0]).all()
    assert (ours[2] == theirs[:, :, 2]).all()
    if distance == 1:  # farther off, its diagonal steps are rounded from polar coordinates; ours are whole
        # scikit-image turns its angles the other way: 45 degrees there is 135 degrees here
        assert (ours[1] == theirs[:, :, 3]).all() or (ours[1] == theirs[:, :, 1]).all()


def test_co_occurrence_inside_a_mask_equals_mahotas(drawn: Cell) -> None:
    """Mahotas can leave out pairs that touch level 0."""
    cell = prepared(drawn)
    levels = np.where(drawn.mask, cell.levels + 1, 0)
    ours = co_occurrence_matrices(cell.levels, 64, (2,))[0]
    for direction, matrix in enumerate(ours):
        theirs = mahotas.features.texture.cooccurence(levels.astype(np.int64), direction, distance=2, symmetric=True)
        inside = np.zeros((64, 64))
        inside[: len(theirs) - 1, : len(theirs) - 1] = theirs[1:, 1:]
        assert (matrix == inside).all(), direction


def test_haralick_s_features_of_a_drawn_cell_equal_mahotas(drawn: Cell) -> None:
    cell = prepared(drawn)
    levels = np.where(drawn.mask, cell.levels + 1, 0).astype(np.int64)
    theirs = mahotas.features.haralick(levels, ignore_zeros=True, return_mean=True)
    ours = co_occurrence(cell)
    in_their_order = (
        "angular_second_moment",
        "contrast",
        "correlation",
        "joint_variance",
        "inverse_difference_moment",
        None,  # sum average: their sums start at another level
        "sum_variance",
        "sum_entropy",
        "joint_entropy",
        None,  # "difference variance": theirs is the variance of the probabilities, Haralick's is of the differences
        "difference_entropy",
        "information_correlation_1",
        "information_correlation_2",
    )
    for name, value in zip(in_their_order, theirs, strict=True):
        if name:
            assert ours[f"texture_{name}_d1"] == pytest.approx(value, rel=1e-6), name


def test_texture_of_a_filled_rectangle_equals_scikit_image() -> None:
    cell = prepared(grey_cell(np.random.default_rng(1).integers(1, 256, (50, 60))))
    matrices = graycomatrix(cell.levels.astype(np.uint8), [1], ANGLES, 64, True, True)
    ours = co_occurrence(cell)
    for name, theirs in (
        ("contrast", "contrast"),
        ("inverse_difference_moment", "homogeneity"),
        ("angular_second_moment", "ASM"),
        ("correlation", "correlation"),
        ("dissimilarity", "dissimilarity"),
    ):
        by_direction = graycoprops(matrices, theirs)
        assert ours[f"texture_{name}_d1"] == pytest.approx(by_direction.mean()), name
        assert ours[f"texture_{name}_d1_range"] == pytest.approx(np.ptp(by_direction)), name
    entropies = [entropy(matrices[:, :, 0, direction].ravel(), base=2) for direction in range(4)]
    assert ours["texture_joint_entropy_d1"] == pytest.approx(np.mean(entropies))


def test_no_pair_touches_the_background() -> None:
    cell = prepared(grey_cell(np.full((401, 401), 200), ellipse(30, 20)))
    for matrix in co_occurrence_matrices(cell.levels, 64, (1, 5)).reshape(-1, 64, 64):
        assert matrix[50, 50] == matrix.sum() > 0


def test_a_checkerboard_has_two_levels_side_by_side_and_one_along_diagonals() -> None:
    board = np.indices((20, 20)).sum(axis=0) % 2
    across, diagonal, down, other = co_occurrence_matrices(board.astype(np.uint16), 2)[0]
    for matrix in (across, down):
        assert (matrix == [[0, 380], [380, 0]]).all()
        measured = dict(zip(MEASURES, haralick_measures(matrix), strict=True))
        assert measured["contrast"] == measured["dissimilarity"] == 1
        assert measured["correlation"] == pytest.approx(-1)
        assert measured["joint_entropy"] == pytest.approx(1)
        assert measured["information_correlation_1"] == pytest.approx(-1)
        assert measured["information_correlation_2"] == pytest.approx(np.sqrt(1 - np.exp(-2)))
    for matrix in (diagonal, other):
        assert matrix[0, 1] == matrix[1, 0] == 0
        assert dict(zip(MEASURES, haralick_measures(matrix), strict=True))["correlation"] == pytest.approx(1)


def test_a_constant_cell_follows_the_written_rule() -> None:
    texture = co_occurrence(prepared(shape_cell(ellipse(30, 20), (40, 40, 40))))
    level = 40 * 64 // 256 + 1
    expected = dict.fromkeys(MEASURES, 0.0) | {
        "joint_maximum": 1,
        "joint_average": level,
        "sum_average": 2 * level,
        "angular_second_moment": 1,
        "inverse_difference": 1,
        "normalised_inverse_difference": 1,
        "inverse_difference_moment": 1,
        "normalised_inverse_difference_moment": 1,
        "correlation": 1,
        "autocorrelation": level**2,
    }
    for name, value in expected.items():
        assert texture[f"texture_{name}_d1"] == pytest.approx(value, abs=1e-9), name
        assert texture[f"texture_{name}_d1_range"] == pytest.approx(0, abs=1e-9), name


def test_a_cell_of_one_pixel_has_no_pair_and_no_texture() -> None:
    assert set(co_occurrence(prepared(shape_cell(np.ones((1, 1), bool)))).values()) == {0.0}


def test_levels_are_equal_steps_of_0_to_255_or_of_the_cell_s_own_range() -> None:
    ramp = grey_cell(np.arange(100, 200)[None].repeat(3, axis=0))
    fixed = prepared(ramp, levels=8).levels[0]
    assert (fixed == np.arange(100, 200) // 32).all()
    own = prepared(ramp, levels=8, quantisation="cell").levels[0]
    assert own.min() == 0
    assert own.max() == 7
    # IBSI, fixed bin number: floor(N (x - min) / (max - min)), the largest value in the last bin
    assert (own == np.minimum(8 * np.arange(100) // 99, 7)).all()


def test_quantisation_by_cell_undoes_a_change_of_brightness(drawn: Cell) -> None:
    half = Cell(drawn.rgb // 4 * 2, drawn.mask, drawn.offset, drawn.image_shape)
    full = Cell(drawn.rgb // 4 * 4, drawn.mask, drawn.offset, drawn.image_shape)
    ours = [co_occurrence(prepared(cell, levels=16, quantisation="cell", channel="red")) for cell in (half, full)]
    assert ours[0] == pytest.approx(ours[1])
