"""A generated cohort with known ground truth, in the layout and the file format of C-NMC 2019.

Sizes, stains and their variation between and within subjects were measured on 3,914 cells of C-NMC 2019. Outlines,
chromatin and nucleoli are chosen so that the classes overlap as in the real images.

A cell is an ellipse with a rough outline (low harmonics) on pure black, filled with a stain colour times a chromatin
texture of known grain. Blasts tend to be larger, with finer chromatin, a more irregular outline and nucleoli; normal
cells tend to be smaller, with coarser, clumped chromatin. Stain, illumination and size vary more between subjects than
between classes, which causes the optimistic bias of an image-level split.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, refuse_existing, whole_folder, write_csv

IMAGE_SIDE = 450  # px, as the training images of C-NMC 2019
GROUND_TRUTH = "ground_truth.csv"
MEAN_STAIN = np.array([67.0, 28.0, 78.0])  # RGB
OUTLINE_HARMONICS = np.arange(2, 9)
PALE_BACKGROUND = np.array([238.0, 230.0, 235.0])  # RGB, of plasma in a stained smear
RED_CELL_STAIN = np.array([216.0, 152.0, 158.0])  # RGB
RED_CELL_RADIUS = (52, 68)  # px: a diameter of 7 um, if that of blasts is about 11 um


@dataclass(frozen=True)
class Appearance:
    """Appearance of cells: of a class (mean over subjects), or of one subject.

    Attributes:
        radius: Radius of the circle of the same area, px.
        roughness: Standard deviation of the outline's relative radius.
        chromatin_grain: Standard deviation of the Gaussian that correlates the chromatin, px.
        chromatin_contrast: Standard deviation of the chromatin's relative brightness.
        nucleoli: Expected number of nucleoli.
    """

    radius: float
    roughness: float
    chromatin_grain: float
    chromatin_contrast: float
    nucleoli: float


CLASS_APPEARANCE = {
    POSITIVE: Appearance(107.0, 0.040, 5.0, 0.09, 1.4),
    NEGATIVE: Appearance(89.0, 0.025, 7.0, 0.11, 0.4),
}
SUBJECT_SPREAD = Appearance(0.065, 0.15, 0.12, 0.12, 0.3)  # relative standard deviations between subjects
SUBJECT_STAIN_SPREAD = np.array([0.08, 0.115, 0.06])  # the same, of each colour channel
CELL_SPREAD = Appearance(0.095, 0.20, 0.15, 0.15, 0.0)  # and between the cells of one subject
CELL_STAIN_SPREAD = np.array([0.09, 0.12, 0.065])


def generate_cohort(
    folder: str | os.PathLike[str], *, subjects: int = 16, cells_per_subject: int = 15, seed: int = 0
) -> pd.DataFrame:
    """Write a cohort of generated cells as BMP files, and the ground truth of each in `ground_truth.csv`.

    Half of the subjects have leukemia (IDs 1, 2, ...), half do not (H1, H2, ...); all cells of a subject are of one
    class, as in C-NMC. The images are in `training_data/fold_{0,1,2}/{all,hem}`.

    Args:
        folder: Folder to write, completely or not at all.
        subjects: Number of subjects, at least 2.
        cells_per_subject: Number of images of each subject.
        seed: Random seed. A cell does not depend on the number of other cells.

    Returns:
        The ground truth, one row an image: `path`, `label`, `subject`, `area` (px), `axis_major` and `axis_minor`
        (full axes of the ellipse before roughening, px), `eccentricity`, `orientation` (radians from the x axis),
        `roughness`, `chromatin_grain` (px), `nucleoli`, `stain_red`, `stain_green`, `stain_blue`.

    Raises:
        InputError: fewer than two subjects or one cell, or the folder exists.

    Example:
        >>> import leukobench as lb
        >>> truth = lb.generate_cohort("images", subjects=4, cells_per_subject=2, seed=1)
        >>> truth["label"].value_counts().to_dict()
        {'all': 4, 'hem': 4}
    """
    folder = Path(folder)
    if subjects < 2 or cells_per_subject < 1:
        raise InputError("a cohort needs at least two subjects, one of each class, and one cell each")
    refuse_existing(folder)
    rows = []
    with only_writer(folder), whole_folder(folder) as partial:
        for number in range(subjects):
            label = POSITIVE if number % 2 == 0 else NEGATIVE
            subject = f"{'' if label == POSITIVE else 'H'}{number // 2 + 1}"
            subject_rng = np.random.default_rng([seed, number])
            appearance = _vary(CLASS_APPEARANCE[label], SUBJECT_SPREAD, subject_rng)
            stain = MEAN_STAIN * np.exp(subject_rng.normal(0, SUBJECT_STAIN_SPREAD))
            for cell in range(cells_per_subject):
                rng = np.random.default_rng([seed, number, cell])
                cell_stain = stain * np.exp(rng.normal(0, CELL_STAIN_SPREAD))
                rgb, truth = draw_cell(_vary(appearance, CELL_SPREAD, rng), cell_stain, rng)
                path = f"training_data/fold_{number // 2 % 3}/{label}/UID_{subject}_{cell + 1}_1_{label}.bmp"
                (partial / path).parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(partial / path), rgb[..., ::-1])
                rows.append({"path": path, "label": label, "subject": subject, **truth})
        ground_truth = pd.DataFrame(rows).sort_values("path", ignore_index=True)
        write_csv(ground_truth, partial / GROUND_TRUTH)
    return ground_truth


def draw_cell(
    appearance: Appearance, stain: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, float]]:
    """Draw one cell on black. Returns the image [shape=(450, 450, 3), uint8] and its ground truth."""
    ratio = rng.uniform(0.78, 0.97)
    semi_axes = appearance.radius / np.sqrt(ratio), appearance.radius * np.sqrt(ratio)
    orientation = rng.uniform(0, np.pi)
    side = min(IMAGE_SIDE, 2 * int(np.ceil(1.3 * semi_axes[0])))  # a window around the cell, to save time
    centre = (side - 1) / 2 + rng.uniform(-0.5, 0.5, 2)
    mask = _outline_mask(side, semi_axes, orientation, centre, appearance.roughness, rng)
    nucleoli = int(rng.poisson(appearance.nucleoli))
    brightness = 1 + appearance.chromatin_contrast * _chromatin(side, appearance.chromatin_grain, rng)
    brightness += _nucleoli(side, nucleoli, appearance.radius, centre, rng)
    brightness *= _illumination(side, side, rng)
    pixels = brightness[..., None] * stain + rng.normal(0, 1.5, (side, side, 3))
    rgb = np.zeros((IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
    top, left = (IMAGE_SIDE - side) // 2 + rng.integers(-12, 13, 2) * (side < IMAGE_SIDE - 24)
    window = rgb[top : top + side, left : left + side]
    window[mask] = np.clip(np.rint(pixels[mask]), 1, 255)
    return rgb, {
        "area": int(mask.sum()),
        "axis_major": 2 * semi_axes[0],
        "axis_minor": 2 * semi_axes[1],
        "eccentricity": float(np.sqrt(1 - ratio**2)),
        "orientation": orientation,
        "roughness": appearance.roughness,
        "chromatin_grain": appearance.chromatin_grain,
        "nucleoli": nucleoli,
        "stain_red": stain[0],
        "stain_green": stain[1],
        "stain_blue": stain[2],
    }


def draw_smear(cell: np.ndarray, rng: np.random.Generator, *, red_cells: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """Draw a crop of a smear around a cell that was cut out on black.

    Red blood cells, paler in the middle, are drawn on a pale, unevenly lit background. They may overlap each other and
    the border, but do not touch the cell; a red blood cell without enough room is left out.

    Args:
        cell: The cell. [shape=(height, width, 3), uint8, (0, 0, 0) around it]
        rng: Random generator of positions, colours, illumination and noise.
        red_cells: Number of red blood cells to try to draw.

    Returns:
        The crop [shape=(height, width, 3), uint8] and the mask of the cell [shape=(height, width), bool].
    """
    mask = np.asarray(cell.any(axis=2))
    rows, columns = mask.shape
    smear = np.broadcast_to(PALE_BACKGROUND * np.exp(rng.normal(0, 0.01, 3)), (rows, columns, 3)).copy()
    stain = RED_CELL_STAIN * np.exp(rng.normal(0, 0.03, 3))
    margin = RED_CELL_RADIUS[1]
    room = cv2.distanceTransform(np.pad(~mask, margin, constant_values=True).view(np.uint8), cv2.DIST_L2, 5)
    y, x = np.ogrid[:rows, :columns]
    for _ in range(red_cells):
        radius = rng.uniform(*RED_CELL_RADIUS)
        row, column = rng.integers(-margin, (rows + margin, columns + margin))
        if room[row + margin, column + margin] < radius + 4:
            continue
        distance = np.hypot(y - row, x - column)
        density = 1 - 0.5 * np.exp(-((distance / (0.4 * radius)) ** 2))  # biconcave: thinner in the middle
        inside = distance <= radius
        smear[inside] += density[inside, None] * (stain - smear[inside])
    smear *= _illumination(rows, columns, rng)[..., None] / 1.04
    smear[mask] = cell[mask]
    smear = cv2.GaussianBlur(smear, (0, 0), 1.0) + rng.normal(0, 2.0, smear.shape)
    return np.clip(np.rint(smear), 0, 255).astype(np.uint8), mask


def _vary(mean: Appearance, spread: Appearance, rng: np.random.Generator) -> Appearance:
    """Multiply each property by a log-normal factor of mean logarithm 0."""
    return Appearance(
        **{name: value * np.exp(rng.normal(0, getattr(spread, name))) for name, value in vars(mean).items()}
    )


def _outline_mask(
    side: int,
    semi_axes: tuple[float, float],
    orientation: float,
    centre: np.ndarray,
    roughness: float,
    rng: np.random.Generator,
) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - centre[:, None, None]
    along = x * np.cos(orientation) + y * np.sin(orientation)
    across = y * np.cos(orientation) - x * np.sin(orientation)
    angle = np.arctan2(across, along)
    weights = rng.normal(size=(2, len(OUTLINE_HARMONICS))) / OUTLINE_HARMONICS
    # a sum of harmonics has half the sum of their squared weights as its variance
    weights *= roughness / np.sqrt((weights**2).sum() / 2)
    relative = np.ones((side, side))
    for harmonic, (cosine, sine) in zip(OUTLINE_HARMONICS, weights.T, strict=True):
        relative += np.hypot(cosine, sine) * np.cos(harmonic * angle - np.arctan2(sine, cosine))
    return np.hypot(along / semi_axes[0], across / semi_axes[1]) <= relative


def _chromatin(side: int, grain: float, rng: np.random.Generator) -> np.ndarray:
    """White noise correlated by a Gaussian of standard deviation `grain` px, scaled to unit variance."""
    smooth = cv2.GaussianBlur(rng.standard_normal((side, side), np.float32), (0, 0), grain)
    return smooth / smooth.std()


def _nucleoli(side: int, count: int, radius: float, centre: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    y, x = np.ogrid[:side, :side]
    spots = np.zeros((side, side))
    for _ in range(count):
        distance, angle = radius * np.sqrt(rng.uniform(0, 0.4)), rng.uniform(0, 2 * np.pi)
        row, column = centre + distance * np.array([np.sin(angle), np.cos(angle)])
        spots += 0.45 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * (0.06 * radius) ** 2))
    return spots


def _illumination(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A linear ramp across the image of at most 8% at each of its edges."""
    slope = rng.uniform(-0.08, 0.08, 2)
    return 1 + slope[0] * np.linspace(-1, 1, height)[:, None] + slope[1] * np.linspace(-1, 1, width)[None, :]
