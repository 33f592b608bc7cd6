"""The features by name: family, formula, unit, source, and the sets that they make up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from features.color import color_features
from features.geometry import geometric_features
from features.settings import Settings
from features.statistics import statistical_features
from features.texture import texture_features
from study.cell import Cell
from study.errors import StudyError

FAMILIES: dict[str, Callable[[Cell], dict[str, float]]] = {
    "color": color_features,
    "geometry": geometric_features,
    "texture": texture_features,
    "statistics": statistical_features,
}
DEFAULT_SET = "patel"
VERSION = "1.0"  # of the catalogue: goes up with every change of a column or of a value

_PATEL = "Patel & Mishra 2015"
_HARALICK = "Haralick 1973, IBSI"


@dataclass(frozen=True)
class Feature:
    """One column of a feature table.

    Attributes:
        name: `family_name[_detail]`, as in the table.
        formula: How it is computed; the family's docstring has the symbols.
        unit: Its unit, "1" where it has none.
        source: Where the feature comes from.
        sets: The feature sets that it belongs to.
    """

    name: str
    formula: str
    unit: str
    source: str = _PATEL
    sets: tuple[str, ...] = (DEFAULT_SET,)

    @property
    def family(self) -> str:
        """The family, the name's first word."""
        return self.name.partition("_")[0]


CATALOG = (
    Feature("color_mean_red", "mean of R over the cell", "grey levels"),
    Feature("color_mean_green", "mean of G over the cell", "grey levels"),
    Feature("color_mean_blue", "mean of B over the cell", "grey levels"),
    Feature("color_mean", "mean of R, G and B over the cell", "grey levels"),
    Feature("geometry_area", "A = number of pixels", "px^2"),
    Feature("geometry_perimeter", "P, Crofton's formula over four directions", "px"),
    Feature("geometry_radius", "sqrt(A / pi)", "px"),
    Feature("geometry_rectangularity", "A / area of the smallest rectangle round the cell", "1"),
    Feature("geometry_compactness", "A / P^2", "1"),
    Feature("geometry_convexity", "perimeter of the convex hull / P", "1"),
    Feature("geometry_concavity", "depth of the deepest notch below the hull / radius", "1"),
    Feature("geometry_symmetry", "area shared with the mirror image about the major axis / A", "1"),
    Feature("geometry_elongation", "1 - smallest / largest Feret diameter", "1"),
    Feature("geometry_eccentricity", "sqrt(1 - l2 / l1), eigenvalues of the pixels' covariance", "1"),
    Feature("geometry_solidity", "A / area of the convex hull", "1"),
    Feature("texture_entropy", "-sum p log2 p", "bits", _HARALICK),
    Feature("texture_energy", "sum p^2", "1", _HARALICK),
    Feature("texture_homogeneity", "sum p / (1 + (i - j)^2)", "1", _HARALICK),
    Feature("texture_correlation", "sum (i - m)(j - m) p / v", "1", _HARALICK),
    Feature("texture_contrast", "sum (i - j)^2 p", "levels^2", _HARALICK),
    Feature("statistics_mean_x", "centroid of the intensity projection on x", "px"),
    Feature("statistics_variance_x", "variance of the intensity projection on x", "px^2"),
    Feature("statistics_skewness_x", "skewness of the intensity projection on x", "1"),
    Feature("statistics_mean_y", "centroid of the intensity projection on y", "px"),
    Feature("statistics_variance_y", "variance of the intensity projection on y", "px^2"),
    Feature("statistics_skewness_y", "skewness of the intensity projection on y", "1"),
    Feature("statistics_median_filter_mean", "mean of the 16x16 median filter over the cell", "grey levels"),
)
SETS = tuple(dict.fromkeys(name for feature in CATALOG for name in feature.sets))


def settings_of(feature_set: str, **changes: Any) -> Settings:
    """Return a set's own settings, with the changes that are not None.

    Raises:
        StudyError: no set of that name, or a value out of range.
    """
    features_of(feature_set)
    return Settings(**{name: value for name, value in changes.items() if value is not None})


def features_of(feature_set: str, settings: Settings | None = None) -> tuple[Feature, ...]:
    """Return the features of a set, in the order of its table's columns.

    Raises:
        StudyError: no set of that name.
    """
    if feature_set not in SETS:
        raise StudyError(f"no feature set {feature_set!r}; there is {', '.join(SETS)}")
    return tuple(feature for feature in CATALOG if feature_set in feature.sets)


def compute(cell: Cell, feature_set: str = DEFAULT_SET, settings: Settings | None = None) -> dict[str, float]:
    """Compute the features of a set for one cell, in the order of `features_of`."""
    wanted = features_of(feature_set)
    values: dict[str, float] = {}
    for family in dict.fromkeys(feature.family for feature in wanted):
        values |= FAMILIES[family](cell)
    return {feature.name: float(values[feature.name]) for feature in wanted}
