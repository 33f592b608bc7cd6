"""The catalogue of features: family, formula, unit and source of each, and the feature sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Unpack

from leukobench.cells.cell import Cell
from leukobench.core.errors import InputError
from leukobench.features import color, geometry, haralick, statistics, texture
from leukobench.features.distribution import PERCENTILES
from leukobench.features.prepared import PreparedCell
from leukobench.features.settings import CHANNELS, MeasurementSettings, SettingChanges

VERSION = "1.1"  # of the catalogue; increased with every change of a column or of a value
SETS = {  # with the settings of each
    "clinton19": MeasurementSettings(channel="red", levels=4, size=128),
    "patel": MeasurementSettings(),
    "full": MeasurementSettings(distances=(1, 2, 4)),
    "leukobench": MeasurementSettings(channel="blue", distances=(1, 2, 4)),
}
ALL = ("full", "leukobench")  # the sets that contain all features, and of `texture_energy` its square
DEFAULT_SET = "leukobench"  # best on unseen subjects, see benchmarks/RESULTS.md
NATIVE = "native"  # the size of an image that is not scaled

_PATEL = "Patel & Mishra 2015"
_CLINTON = "Clinton et al. 2020"
_BOTH = f"{_PATEL}; {_CLINTON}"
_IBSI = "Haralick 1973, IBSI"
_COMMON = "common"

Measure = Callable[[PreparedCell], dict[str, float]]


@dataclass(frozen=True)
class Feature:
    """One column of a feature table.

    Attributes:
        name: `family_name[_detail]`, as in the table.
        formula: How it is computed; the docstring of `measure` explains the symbols.
        unit: Its unit; "1" for a dimensionless feature.
        source: Publication that the feature comes from.
        measure: Function that computes it, together with related features.
        sets: The feature sets that contain it.
        ibsi: Code of the feature in the reference manual of the Image Biomarker Standardisation Initiative (IBSI), if
            that defines it in the same way; else "".
    """

    name: str
    formula: str
    unit: str
    source: str
    measure: Measure
    sets: tuple[str, ...] = ALL
    ibsi: str = ""

    @property
    def family(self) -> str:
        """The family: the first word of the name."""
        return self.name.partition("_")[0]


def _mean_colors() -> list[Feature]:
    patel, both = ("patel", *ALL), ("clinton19", "patel", *ALL)
    return [
        Feature("color_mean_red", "mean of R over the cell", "grey levels", _BOTH, color.mean_color, both),
        Feature("color_mean_green", "mean of G over the cell", "grey levels", _PATEL, color.mean_color, patel),
        Feature("color_mean_blue", "mean of B over the cell", "grey levels", _PATEL, color.mean_color, patel),
        Feature("color_mean", "mean of R, G and B over the cell", "grey levels", _PATEL, color.mean_color, patel),
    ]


def _channel_distributions() -> list[Feature]:
    features = []
    for channel in CHANNELS:
        unit = color.UNITS[channel]
        described = [
            ("mean", f"circular mean of {channel}" if channel == "hue" else f"mean of {channel}", unit),
            ("std", f"standard deviation of {channel}", unit),
            ("skewness", f"third central moment of {channel} / std^3", "1"),
            ("kurtosis", f"fourth central moment of {channel} / std^4 - 3", "1"),
            *((f"p{at}", f"{at}th percentile of {channel}", unit) for at in PERCENTILES),
        ]
        measure = partial(color.channel_distribution, channel=channel)
        features += [
            Feature(f"color_{name}_{channel}", f"{formula} over the cell", unit, _COMMON, measure)
            for name, formula, unit in described
            if (name, channel) not in {("mean", "red"), ("mean", "green"), ("mean", "blue")}
        ]
    return features


def _sizes_and_shapes() -> list[Feature]:
    listed = [
        ("area", "A = number of pixels", "px^2", _BOTH),
        ("perimeter", "P, Crofton's formula over four directions", "px", _PATEL),
        ("radius", "sqrt(A / pi)", "px", _PATEL),
        ("longer_side", "longer side of the bounding box", "px", _CLINTON),
        ("rectangularity", "A / area of the smallest enclosing rectangle", "1", _PATEL),
        ("box_rectangularity", "A / area of the bounding box", "1", _CLINTON),
        ("compactness", "A / P^2", "1", _BOTH),
        ("circularity", "4 pi A / P^2", "1", _COMMON),
        ("convexity", "perimeter of the convex hull / P", "1", _BOTH),
        ("concavity", "depth of the deepest concavity below the hull / radius", "1", _PATEL),
        ("elongation", "1 - smallest / largest Feret diameter", "1", _PATEL),
        ("box_elongation", "1 - height / width of the bounding box", "1", _CLINTON),
        ("box_ratio", "width / height of the bounding box", "1", _CLINTON),
        ("feret_min", "smallest distance between enclosing parallel lines", "px", _COMMON),
        ("feret_max", "largest distance between two points of the cell", "px", _COMMON),
        ("eccentricity", "sqrt(1 - l2 / l1), eigenvalues of the pixels' covariance", "1", _PATEL),
        ("solidity", "A / area of the convex hull", "1", _BOTH),
    ]
    return [
        Feature(f"geometry_{name}", formula, unit, source, geometry.size_and_hull, _sets_by(source))
        for name, formula, unit, source in listed
    ]


def _symmetries() -> list[Feature]:
    listed = [
        ("major", "area shared with the mirror image about the major axis / A", _PATEL),
        ("minor", "area shared with the mirror image about the minor axis / A", _COMMON),
        ("rotation", "area shared with the cell rotated by 180 degrees / A", _COMMON),
    ]
    return [
        Feature(
            f"geometry_symmetry_{about}",
            formula,
            "1",
            source,
            partial(geometry.symmetry, about=about),
            _sets_by(source),
        )
        for about, formula, source in listed
    ]


def _contours() -> list[Feature]:
    shape, source = geometry.radial_profile, "Zhang & Lu 2001"
    return [
        Feature("geometry_radial_deviation", "standard deviation / mean of the radial profile r", "1", source, shape),
        Feature("geometry_roughness", "std of r without its harmonics 0 to 8 / mean of r", "1", source, shape),
        *(
            Feature(f"geometry_fourier_{n}", f"amplitude of harmonic {n} of r / mean of r", "1", source, shape)
            for n in range(1, geometry.HARMONICS + 1)
        ),
        *(
            Feature(f"geometry_hu_{n}", f"moment invariant {n} of the mask", "1", "Hu 1962", geometry.hu_moments)
            for n in range(1, 8)
        ),
    ]


def _co_occurrences(distances: tuple[int, ...]) -> list[Feature]:
    by_paper = {
        "joint_entropy": ("patel", *ALL),
        "angular_second_moment": ("patel", *ALL),
        "inverse_difference_moment": ("clinton19", "patel", *ALL),
        "correlation": ("clinton19", "patel", *ALL),
        "contrast": ("clinton19", "patel", *ALL),
    }
    features = []
    for distance in distances:
        for name, (formula, unit, code) in haralick.MEASURES.items():
            column = f"texture_{name}_d{distance}"
            mean = f"{formula}; at {distance} px, mean of 4 directions"
            features += [
                Feature(column, mean, unit, _IBSI, texture.co_occurrence, by_paper.get(name, ALL), code),
                Feature(f"{column}_range", "its range over 4 directions", unit, _IBSI, texture.co_occurrence),
            ]
        # The matrix of Clinton et al. has the options and properties of scikit-image's graycomatrix and graycoprops, so
        # their energy is that of graycoprops. The other sets contain its square, the angular second moment
        energy = f"sqrt(sum p^2), scikit-image's energy; at {distance} px, mean of 4 directions"
        column = f"texture_energy_d{distance}"
        features.append(Feature(column, energy, "1", _CLINTON, texture.co_occurrence, ("clinton19",)))
    return features


def _other_textures() -> list[Feature]:
    entropy = "mean entropy of the grey values within 5 px of a pixel"
    features = [Feature("texture_local_entropy", entropy, "bits", _CLINTON, texture.local_entropy, ("clinton19", *ALL))]
    for radius, neighbours in texture.PATTERNS.items():
        for ones in range(neighbours + 2):
            run = f"one run of {ones} of {neighbours} neighbours at {radius} px that are at least as bright"
            formula = f"share of pixels with {run}" if ones <= neighbours else "share of pixels with any other pattern"
            name = f"texture_lbp_r{radius}_{ones}"
            features.append(Feature(name, formula, "1", "Ojala 2002", texture.local_binary_patterns))
    for scale in texture.SCALES:
        for operator, formula in (("gradient", "s |grad S|"), ("laplacian", "s^2 laplace S")):
            for name, unit in (("mean", "grey levels"), ("std", "grey levels"), ("skewness", "1"), ("kurtosis", "1")):
                column = f"texture_{operator}_s{scale}_{name}"
                text = f"{name} of {formula}, S smoothed by a Gaussian of s = {scale} px"
                features.append(Feature(column, text, unit, "Lindeberg 1998", texture.derivatives))
    return features


def _intensities() -> list[Feature]:
    listed = [
        ("mean", "mean of the intensity over the cell", "grey levels", statistics.intensity_distribution, "Q4LE"),
        ("variance", "its variance", "grey levels^2", statistics.intensity_distribution, "ECT3"),
        ("skewness", "its third central moment / variance^1.5", "1", statistics.intensity_distribution, "KE2A"),
        ("kurtosis", "its fourth central moment / variance^2 - 3", "1", statistics.intensity_distribution, "IPH6"),
        ("entropy", "-sum p log2 p of its 256 values", "bits", statistics.intensity_distribution, "TLU2"),
        ("gradient_mean", "mean of |grad I|", "grey levels / px", statistics.gradient_distribution, ""),
        ("gradient_variance", "variance of |grad I|", "(grey levels / px)^2", statistics.gradient_distribution, ""),
        ("gradient_skewness", "skewness of |grad I|", "1", statistics.gradient_distribution, ""),
        (
            "gradient_kurtosis",
            "kurtosis of |grad I|, 0 for a normal distribution",
            "1",
            statistics.gradient_distribution,
            "",
        ),
    ]
    return [
        Feature(f"statistics_{name}", formula, unit, _COMMON, measure, ibsi=code)
        for name, formula, unit, measure, code in listed
    ]


def _projections() -> list[Feature]:
    features = []
    for axis in "xy":
        for name, formula, unit, source in (
            ("mean", "centroid", "px", _PATEL),
            ("variance", "variance", "px^2", _BOTH),
            ("skewness", "skewness", "1", _BOTH),
        ):
            column, text = f"statistics_{name}_{axis}", f"{formula} of the intensity projection on {axis}"
            features.append(Feature(column, text, unit, source, statistics.intensity_projections, _sets_by(source)))
    text = f"mean of the {statistics.MEDIAN_WINDOW}x{statistics.MEDIAN_WINDOW} median filter over the cell"
    filtered = statistics.median_filtered
    name = "statistics_median_filter_mean"
    return [*features, Feature(name, text, "grey levels", _BOTH, filtered, _sets_by(_BOTH))]


def _sets_by(source: str) -> tuple[str, ...]:
    """Return the feature sets that contain a feature from a source."""
    of_paper = {_PATEL: ("patel",), _CLINTON: ("clinton19",), _BOTH: ("clinton19", "patel")}
    return (*of_paper.get(source, ()), *ALL)


def settings_of(feature_set: str, **changes: Unpack[SettingChanges]) -> MeasurementSettings:
    """Return the settings of a feature set, with the changes that are not None; the size `NATIVE` scales nothing.

    Raises:
        InputError: no such set or setting, or a value out of range.
    """
    own = SETS[_known(feature_set)]
    unknown = changes.keys() - SettingChanges.__annotations__.keys()
    if unknown:
        raise InputError(f"no setting {min(unknown)!r}; there is {', '.join(SettingChanges.__annotations__)}")
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    if given.get("size") == NATIVE:
        given["size"] = None
    return replace(own, **given)


def features_of(feature_set: str, settings: MeasurementSettings | None = None) -> tuple[Feature, ...]:
    """Return the features of a set, in the order of its table's columns.

    Raises:
        InputError: no set of that name.
    """
    settings = settings or settings_of(feature_set)
    return _features_at(_known(feature_set), settings.distances)


@lru_cache
def _features_at(feature_set: str, distances: tuple[int, ...]) -> tuple[Feature, ...]:
    catalog = [
        *_mean_colors(),
        *_channel_distributions(),
        *_sizes_and_shapes(),
        *_symmetries(),
        *_contours(),
        *_co_occurrences(distances),
        *_other_textures(),
        *_intensities(),
        *_projections(),
    ]
    return tuple(feature for feature in catalog if feature_set in feature.sets)


def compute(
    cell: Cell, feature_set: str = DEFAULT_SET, settings: MeasurementSettings | None = None
) -> dict[str, float]:
    """Compute the features of a set for one cell, in the order of `features_of`.

    Args:
        cell: The cell.
        feature_set: One of `SETS`.
        settings: How it is measured; None: the settings of the set.

    Raises:
        InputError: there is no such set, or nothing is left of the cell at the size of the settings.
    """
    settings = settings or settings_of(feature_set)
    wanted = features_of(feature_set, settings)
    prepared = PreparedCell(cell, settings)
    values: dict[str, float] = {}
    for measure in dict.fromkeys(feature.measure for feature in wanted):
        values |= measure(prepared)
    return {feature.name: float(values[feature.name]) for feature in wanted}


def _known(feature_set: str) -> str:
    if feature_set not in SETS:
        raise InputError(f"no feature set {feature_set!r}; there is {', '.join(SETS)}")
    return feature_set
