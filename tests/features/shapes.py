"""Cells with a shape or a texture that is known exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from leukobench.cells.cell import Cell, find_cell
from leukobench.features.prepared import PreparedCell
from leukobench.features.settings import MeasurementSettings


def shape_cell(mask: np.ndarray, color: tuple[int, int, int] = (90, 40, 120)) -> Cell:
    """A cell of one colour."""
    return find_cell(np.where(mask[..., None], np.array(color, np.uint8), np.uint8(0)))


def grey_cell(grey: np.ndarray, mask: np.ndarray | None = None) -> Cell:
    """A cell of grey values; by default it fills the image."""
    mask = np.ones(grey.shape, bool) if mask is None else mask
    return Cell(np.where(mask, grey, 0).astype(np.uint8)[..., None].repeat(3, axis=2), mask, (0, 0), grey.shape)


def prepared(cell: Cell, **settings: Any) -> PreparedCell:
    return PreparedCell(cell, MeasurementSettings(**settings))


def ellipse(semi_x: float, semi_y: float, angle: float = 0.0, side: int = 401) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (along / semi_x) ** 2 + (across / semi_y) ** 2 <= 1


def rectangle(width: int, height: int) -> np.ndarray:
    return np.pad(np.ones((height, width), bool), 5)


def lobed(radius: float, lobes: int, height: float, side: int = 401) -> np.ndarray:
    """The shape r = radius (1 + height cos(lobes angle))."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.hypot(x, y) <= radius * (1 + height * np.cos(lobes * np.arctan2(y, x)))
