from __future__ import annotations

import mahotas
import numpy as np
import pytest
from scipy.stats import entropy
from skimage.feature import graycomatrix, graycoprops

from leukobench.cells.cell import Cell, find_cell
from leukobench.cohort.synthetic import CLASS_APPEARANCE, MEAN_STAIN, draw_cell
from leukobench.features.catalog import features_of
from leukobench.features.distribution import entropy_of, moments_of
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
# IBSI reference manual (arXiv 1612.07003 v11), section 3.6, in its order: name, code and two published values of the
# phantom: 2D, averaged over slices and directions (BTW3); 2D, directions merged by slice, averaged over slices (SUJT)
PHANTOM_VALUES = {
    "joint_maximum": ("GYBY", 0.519, 0.512),
    "joint_average": ("60VM", 2.14, 2.14),
    "joint_variance": ("UR99", 2.69, 2.71),
    "joint_entropy": ("TU9B", 2.05, 2.24),
    "difference_average": ("TF7R", 1.42, 1.4),
    "difference_variance": ("D3YU", 2.90, 3.06),
    "difference_entropy": ("NTRS", 1.40, 1.49),
    "sum_average": ("ZGXS", 4.28, 4.29),
    "sum_variance": ("OEEB", 5.47, 5.66),
    "sum_entropy": ("P6QZ", 1.60, 1.79),
    "angular_second_moment": ("8ZQL", 0.368, 0.352),
    "contrast": ("ACUI", 5.28, 5.19),
    "dissimilarity": ("8S9J", 1.42, 1.4),
    "inverse_difference": ("IB1Z", 0.678, 0.683),
    "normalised_inverse_difference": ("NDRX", 0.851, 0.854),
    "inverse_difference_moment": ("WF0Z", 0.619, 0.625),
    "normalised_inverse_difference_moment": ("1QCO", 0.899, 0.901),
    "inverse_variance": ("E8JP", 0.0567, 0.0553),
    "correlation": ("NI2N", -0.0121, 0.0173),
    "autocorrelation": ("QWB0", 5.09, 5.14),
    "cluster_tendency": ("DG8W", 5.47, 5.66),
    "cluster_shade": ("7NFM", 7.00, 6.98),
    "cluster_prominence": ("AE86", 79.1, 80.4),
    "information_correlation_1": ("R8DG", -0.155, -0.0341),
    "information_correlation_2": ("JN9H", 0.487, 0.263),
}
ANGLES = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]


@pytest.fixture(scope="module")
def drawn() -> Cell:
    image, _ = draw_cell(CLASS_APPEARANCE["all"], MEAN_STAIN, np.random.default_rng(4))
    return find_cell(image)


def phantom_matrices() -> np.ndarray:
    """The co-occurrence matrices of the phantom. [shape=(4 slices, 4 directions, 6, 6)]"""
    return np.stack(
        [co_occurrence_matrices(np.where(piece > 0, piece - 1, 6).astype(np.uint16), 6)[0] for piece in PHANTOM]
    )


def test_the_merged_matrices_of_the_phantom_are_the_published_ones() -> None:
    """The manual lists the pairs of levels and their counts in the first and the last slice, all directions merged."""
    merged = phantom_matrices().sum(axis=1)
    for matrix, published in (
        (merged[0], {(1, 1): 22, (1, 4): 17, (1, 6): 6, (4, 4): 16, (4, 6): 11, (6, 6): 4}),
        (merged[3], {(1, 1): 70, (1, 4): 7, (1, 6): 5, (4, 4): 2}),
    ):
        expected = np.zeros((6, 6), int)
        for (i, j), number in published.items():
            expected[i - 1, j - 1] = expected[j - 1, i - 1] = number
        assert (matrix == expected).all()


@pytest.mark.parametrize("aggregation", ["BTW3", "SUJT"])
def test_the_phantom_has_its_published_values(aggregation: str) -> None:
    matrices = phantom_matrices()
    matrices = matrices.reshape(16, 6, 6) if aggregation == "BTW3" else matrices.sum(axis=1)
    mean = np.mean([haralick_measures(matrix) for matrix in matrices], axis=0)
    assert list(MEASURES) == list(PHANTOM_VALUES)
    for (name, (_, averaged, merged)), value in zip(PHANTOM_VALUES.items(), mean, strict=True):
        published = averaged if aggregation == "BTW3" else merged
        assert f"{value:.3g}" == f"{published:.3g}", name


def test_the_intensities_of_the_phantom_have_their_published_values() -> None:
    """The manual's sections 3.3 and 3.4, over the whole volume: the features whose codes the catalogue names."""
    region = PHANTOM[PHANTOM > 0]
    counts = np.bincount(region, minlength=7)
    moments = moments_of(np.arange(7.0), counts)
    published = {"mean": 2.15, "variance": 3.05, "skewness": 1.08, "kurtosis": -0.355}
    for name, value in published.items():
        assert f"{getattr(moments, name):.3g}" == f"{value:.3g}", name
    assert f"{entropy_of(counts):.3g}" == "1.27"


def test_the_catalogue_names_the_code_of_each_feature() -> None:
    codes = {feature.name: feature.ibsi for feature in features_of("full")}
    for name, (code, *_) in PHANTOM_VALUES.items():
        assert codes.pop(f"texture_{name}_d1") == codes.pop(f"texture_{name}_d2") == code
        assert codes.pop(f"texture_{name}_d4") == code
    named = {name: code for name, code in codes.items() if code}
    assert named == {
        "statistics_mean": "Q4LE",
        "statistics_variance": "ECT3",
        "statistics_skewness": "KE2A",
        "statistics_kurtosis": "IPH6",
        "statistics_entropy": "TLU2",
    }


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
    assert ours["texture_energy_d1"] == pytest.approx(graycoprops(matrices, "energy").mean())
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
