"""Stain normalisation: differences in staining and illumination between whole cells are removed.

Every cell is normalised by itself; nothing is learned from other images. The reference values are medians over 3,914
cells of C-NMC 2019, from `benchmarks/stain_reference.py`; they only set the scale.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from leukobench.cells.cell import Cell

RGB_REFERENCE = np.array([[67.7, 28.4, 78.8], [11.7, 8.7, 10.6]])  # mean and standard deviation of R, G, B
LAB_REFERENCE = np.array([[18.4, 27.6, -22.6], [4.0, 3.3, 3.5]])  # the same of L*, a*, b*
STAIN_REFERENCE = np.array([[0.565, 0.652, 0.506], [0.487, 0.789, 0.374]])  # optical densities of two stains, RGB
CONCENTRATION_REFERENCE = np.array([1.53, 1.33])  # 99th percentiles of the concentrations of the two stains

LIGHT = 256.0  # incident light, grey levels; pixels are increased by one, so that black has a finite density
FAINT = 0.15  # optical density below which a pixel is too faint to show the colour of a stain (Macenko et al.)


def standardised(rgb: np.ndarray) -> np.ndarray:
    """Shift and scale each of R, G and B to the reference's mean and standard deviation. [shape=(n, 3)]"""
    return _moved(rgb, RGB_REFERENCE)


def reinhard(rgb: np.ndarray) -> np.ndarray:
    """Shift and scale each of L*, a* and b* to the reference's mean and standard deviation. [shape=(n, 3)]

    Source: Reinhard, E., Ashikhmin, M., Gooch, B., & Shirley, P. (2001). Color transfer between images. IEEE
    Comput. Graph. Appl. 21(5). CIE Lab replaces their l-alpha-beta, as in most later work.
    """
    lab = cv2.cvtColor((rgb[None] / 255).astype(np.float32), cv2.COLOR_RGB2Lab)[0]
    moved = _moved(lab.astype(float), LAB_REFERENCE)
    return 255.0 * cv2.cvtColor(moved[None].astype(np.float32), cv2.COLOR_Lab2RGB)[0]


def macenko(rgb: np.ndarray) -> np.ndarray:
    """Estimate the cell's two stains, and replace their colours and concentrations by the reference's. [shape=(n, 3)]

    Optical densities -log10(I / light) of a mixture of two stains lie in a plane, between the directions of the two
    stains. These are the 1st and the 99th percentile of the angle in the plane of the two largest principal components.
    The concentration of each stain is scaled so that its 99th percentile equals the reference. A cell with a single
    stain (all densities in one direction), or with too few stained pixels, is not changed.

    Concentrations may be negative for the pixels outside the two directions. `skimage.color.separate_stains` sets them
    to 0, which changes 2% of the pixels by up to 90 grey levels, so it is not used here.

    Source: Macenko, M., et al. (2009). A method for normalizing histology slides for quantitative analysis. ISBI.
    """
    stains = stain_vectors(rgb)
    if stains is None:
        return rgb
    concentrations = np.linalg.lstsq(stains.T, optical_density(rgb).T, rcond=None)[0]
    strength = np.percentile(concentrations, 99, axis=1)
    if (strength <= 0).any():
        return rgb
    scaled = concentrations * (CONCENTRATION_REFERENCE / strength)[:, None]
    return LIGHT * 10 ** -(STAIN_REFERENCE.T @ scaled).T - 1


def stain_vectors(rgb: np.ndarray) -> np.ndarray | None:
    """Return the unit vectors of a cell's two stains: optical densities of R, G, B, higher R first. [shape=(2, 3)]

    Args:
        rgb: Pixels. [shape=(n, 3)]

    Returns:
        None if fewer than three pixels are stained, or all have the same colour.
    """
    density = optical_density(rgb)
    density = density[(density >= FAINT).all(axis=1)]
    if len(density) < 3:
        return None
    plane = np.linalg.eigh(np.cov(density.T))[1][:, [2, 1]]
    plane *= np.where(plane.sum(axis=0) < 0, -1, 1)
    angle = np.arctan2(*(density @ plane).T[::-1])
    low, high = np.percentile(angle, [1, 99])
    if high - low < 1e-3:
        return None
    stains = np.stack([plane @ [np.cos(at), np.sin(at)] for at in (low, high)])
    return stains[np.argsort(-stains[:, 0])]


METHODS = {"standardised": standardised, "reinhard": reinhard, "macenko": macenko}


def normalised(cell: Cell, method: str) -> Cell:
    """Return a cell normalised by one of `METHODS`; the background stays black."""
    rgb = cell.rgb.copy()
    changed = METHODS[method](cell.rgb[cell.mask].astype(float))
    rgb[cell.mask] = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
    return replace(cell, rgb=rgb)


def optical_density(rgb: np.ndarray) -> np.ndarray:
    """Return -log10 of the transmitted share of the light. [shape=(n, 3)]"""
    return -np.log10((rgb + 1) / LIGHT)


def _moved(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Shift and scale each column to the reference's mean and standard deviation; a constant column gets the mean."""
    deviation = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1) * reference[1] + reference[0]
