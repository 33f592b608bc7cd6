from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from leukobench.cells.cell import read_cell
from leukobench.cells.decoding import read_image
from leukobench.cohort.synthetic import CLASS_APPEARANCE, MEAN_STAIN, draw_cell, draw_smear, generate_cohort
from leukobench.core.errors import InputError


def test_images_agree_with_the_ground_truth(tmp_path: Path) -> None:
    truth = generate_cohort(tmp_path / "cohort", subjects=4, cells_per_subject=3, seed=1)
    assert len(truth) == 12
    for row in truth.itertuples():
        image = read_image(tmp_path / "cohort" / row.path).rgb
        assert image.shape == (450, 450, 3)
        assert image.any(axis=2).sum() == row.area
        assert read_cell(tmp_path / "cohort" / row.path).pieces == 1
        mean_stain = image[image.any(axis=2)].mean(axis=0)
        assert mean_stain == pytest.approx([row.stain_red, row.stain_green, row.stain_blue], rel=0.15)
    ellipse = np.pi / 4 * truth["axis_major"] * truth["axis_minor"]
    assert truth["area"].to_numpy() == pytest.approx(ellipse.to_numpy(), rel=0.05)


def test_files_are_reproducible_and_a_cell_does_not_depend_on_the_number_of_others(tmp_path: Path) -> None:
    generate_cohort(tmp_path / "small", subjects=2, cells_per_subject=1, seed=7)
    generate_cohort(tmp_path / "large", subjects=4, cells_per_subject=2, seed=7)
    generate_cohort(tmp_path / "other", subjects=2, cells_per_subject=1, seed=8)
    name = "training_data/fold_0/hem/UID_H1_1_1_hem.bmp"
    small, large, other = ((tmp_path / folder / name).read_bytes() for folder in ("small", "large", "other"))
    assert small == large
    assert small != other


def test_no_folder_is_left_if_a_cohort_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two subjects"):
        generate_cohort(tmp_path / "cohort", subjects=1)
    assert list(tmp_path.iterdir()) == []


def test_a_smear_shows_the_cell_between_red_cells_that_do_not_touch_it() -> None:
    rng = np.random.default_rng(2)
    cell, truth = draw_cell(CLASS_APPEARANCE["all"], MEAN_STAIN, rng)
    smear, mask = draw_smear(cell, rng)
    assert mask.sum() == truth["area"]
    assert smear[mask].mean(axis=0) == pytest.approx(cell[mask].mean(axis=0), abs=3)
    ring = cv2.dilate(mask.view(np.uint8), np.ones((7, 7))).view(bool) & ~cv2.dilate(
        mask.view(np.uint8), np.ones((5, 5))
    ).view(bool)
    assert smear[ring].min() > 180  # plasma all round
    reddish = smear[..., 0].astype(int) - smear[..., 1] > 40
    assert 0.02 < (reddish & ~mask).mean() < 0.5
