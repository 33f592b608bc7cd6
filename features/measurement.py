"""One cell -> its features by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Unpack

import cv2
import numpy as np

from leukobench.cells.cell import Cell
from leukobench.core.errors import MEMORY, InputError
from leukobench.features.catalog import DEFAULT_SET, compute, settings_of
from leukobench.features.settings import MeasurementSettings, SettingChanges


def measure(cell: Cell, feature_set: str = DEFAULT_SET, **settings: Unpack[SettingChanges]) -> dict[str, float]:
    """Measure the features of one cell.

    The values are those of the command `extract` and of `extract_features`, to the last bit. The command `features`
    lists name, unit, formula and source of each feature; `leukobench.features.catalog.features_of` returns the same as
    records.

    Args:
        cell: The cell, from `read_cell` or `find_cell`.
        feature_set: `"patel"` (27 features of Patel & Mishra 2015), `"clinton19"` (19 features
            of Clinton et al. 2020), `"full"` or `"leukobench"` (347 features; the default).
        **settings: Settings to use instead of those of the feature set:

            - `channel`: intensity for texture and statistical features, such as `"grey"` or `"blue"`
            - `levels`: number of grey levels of the co-occurrence matrices, 2 to 256
            - `quantisation`: `"fixed"` (0..255 in equal steps) or `"cell"` (smallest to largest value of the cell)
            - `distances`: distances of co-occurring pixels, px, such as `(1, 2)`; one column for each
            - `stain`: stain normalisation: `"none"`, `"standardised"`, `"reinhard"` or `"macenko"`
            - `size`: length that the longer side of the whole image is scaled to, px, or `"native"`

    Returns:
        Name of each feature -> value, a finite number in the unit that the catalogue gives: lengths in px, areas in
        px^2, intensities in grey levels from 0 to 255, angles in degrees, entropies in bits.

    Raises:
        InputError: there is no such feature set or setting, a setting is out of range, nothing is left of the cell at
            this size, or a feature is not defined for this cell.

    Source: Patel, N., & Mishra, A. (2015). Automated leukaemia detection using microscopic images. Procedia Comput.
    Sci. 58; co-occurrence features by Zwanenburg, A., et al. (2020). The Image Biomarker Standardization Initiative.
    Radiology 295(2).

    Example:
        >>> import numpy as np
        >>> from leukobench.cells.cell import find_cell
        >>> from leukobench.features.measurement import measure
        >>> y, x = np.mgrid[-60:61, -60:61]
        >>> inside = (x / 50) ** 2 + (y / 30) ** 2 <= 1
        >>> image = np.where(inside[..., None], np.uint8([90, 40, 120]), np.uint8(0))
        >>> values = measure(find_cell(image), "patel")
        >>> len(values), round(values["geometry_eccentricity"], 2), values["color_mean_blue"]
        (27, 0.8, 120.0)
        >>> coarse = measure(find_cell(image), "patel", levels=16, distances=(1, 2), channel="blue")
        >>> [name for name in coarse if "contrast" in name]
        ['texture_contrast_d1', 'texture_contrast_d2']
    """
    with undefined_refused():
        return measure_with(cell, feature_set, settings_of(feature_set, **settings))


def measure_with(cell: Cell, feature_set: str, settings: MeasurementSettings) -> dict[str, float]:
    """Measure the features of one cell with complete settings.

    Raises:
        InputError: a feature is not a finite number; or see `leukobench.features.catalog.compute`.
    """
    values = compute(cell, feature_set, settings)
    for name, value in values.items():
        if not np.isfinite(value):
            raise InputError(f"{name} is not a finite number ({value})")
    return values


@contextlib.contextmanager
def undefined_refused() -> Iterator[None]:
    """Raise InputError where a formula is not defined for a cell, such as a division by zero."""
    try:
        yield
    except (ArithmeticError, LookupError, ValueError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
            raise MemoryError(MEMORY) from None
        raise InputError(" ".join(f"cannot be measured ({type(error).__name__}: {error})".split())) from error
