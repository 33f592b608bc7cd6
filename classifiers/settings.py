"""The settings of a classical recipe: what each is called and which values it takes.

Each setting of a recipe is a tuple of values. One value is fixed; of several, the search chooses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from leukobench.core.errors import InputError

Value = str | int | float
Values = tuple[Value, ...]
Combination = dict[str, Any]  # one value of each setting of a recipe

FAMILIES = ("svm", "knn")
NO = "none"

# A setting with a number: what the number counts. "anova:16" keeps the 16 best columns.
SELECTIONS = ("anova", "mutual-information")
PROJECTIONS = ("pca", "nca")
WHITEN = "whiten"  # a projection on as many dimensions as there are columns
WEIGHTS = (NO, "class", "subject", "class-subject")
KERNELS = ("rbf", "linear", "poly")
CALIBRATIONS = ("sigmoid", "isotonic", NO)
CRITERIA = ("auroc", "average-precision", "balanced-accuracy")


@dataclass(frozen=True)
class Setting:
    """One setting of a recipe.

    Attributes:
        name: As in Python, `run.json` and `search.csv`.
        expects: The values it takes, in words.
        check: Returns a value in the setting's own type; raises ValueError for any other value.
        families: The families that have it.
        searched: Whether it takes several values, among which the search chooses.
    """

    name: str
    expects: str
    check: Callable[[object], Value]
    families: tuple[str, ...] = FAMILIES
    searched: bool = True

    @property
    def option(self) -> str:
        """Name of the command-line option."""
        return "--neighbors" if self.name == "n_neighbors" else "--" + self.name.replace("_", "-")


def _one_of(*names: str) -> tuple[str, Callable[[object], str]]:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError
        return str(value)

    return ", ".join(names), check


def _numbered(*names: str, plain: tuple[str, ...] = (NO,)) -> tuple[str, Callable[[object], str]]:
    """Take a plain name, such as `none`, or one of the names with a whole number: `pca:10`."""

    def check(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError
        name, _, number = value.partition(":")
        if value not in plain and (name not in names or not number.isdecimal() or int(number) < 1):
            raise ValueError
        return str(value)

    return ", ".join([*plain, *(f"{name}:NUMBER" for name in names)]), check


def _positive_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise ValueError
    return float(value)


def _positive_integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError
    return int(value)


def _gamma(value: object) -> Value:
    return "scale" if isinstance(value, str) and value == "scale" else _positive_number(value)


INTEGER = ("a whole number of at least 1", _positive_integer)
SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("scaling", *_one_of("standard", "minmax")),
        Setting("select", *_numbered(*SELECTIONS)),
        Setting("projection", *_numbered(*PROJECTIONS, plain=(NO, WHITEN))),
        Setting("kernel", *_one_of(*KERNELS), ("svm",)),
        Setting("C", "a number above 0", _positive_number, ("svm",)),
        Setting("gamma", "a number above 0, or scale", _gamma, ("svm",)),
        Setting("degree", *INTEGER, ("svm",)),
        Setting("weight", *_one_of(*WEIGHTS), ("svm",)),
        Setting("n_neighbors", *INTEGER, ("knn",)),
        Setting("metric", *_one_of("euclidean", "manhattan", "cosine"), ("knn",)),
        Setting("neighbor_weight", *_one_of("uniform", "distance"), ("knn",)),
    )
}
# not part of the grid that is searched
CALIBRATION = Setting("calibration", *_one_of(*CALIBRATIONS))
CRITERION = Setting("criterion", *_one_of(*CRITERIA), searched=False)
APPROXIMATE_ABOVE = Setting("approximate_above", *INTEGER, ("svm",), searched=False)
ALL_SETTINGS: Mapping[str, Setting] = {
    **SETTINGS,
    **{setting.name: setting for setting in (CALIBRATION, CRITERION, APPROXIMATE_ABOVE)},
}
KERNEL_SETTINGS: Mapping[str, set[str]] = {"rbf": {"gamma"}, "linear": set(), "poly": {"gamma", "degree"}}


def check_values(setting: Setting, given: object) -> Values:
    """Return the values of a setting as a tuple, each in the setting's own type.

    Args:
        setting: The setting.
        given: A value, or a list, tuple or array of values.

    Raises:
        InputError: a value that the setting does not take, a duplicated value, none at all, or several of a setting
            that takes one.

    Example:
        >>> check_values(SETTINGS["C"], [1, 3])
        (1.0, 3.0)
        >>> check_values(SETTINGS["projection"], "pca:10")
        ('pca:10',)
    """
    several = isinstance(given, Iterable) and not isinstance(given, str)
    values = []
    for value in given if several else (given,):  # type: ignore[attr-defined]
        try:
            values.append(setting.check(value))
        except ValueError:
            raise InputError(f"{setting.name}={value!r}; expected {setting.expects}") from None
    if not values:
        raise InputError(f"{setting.name} is empty; expected {setting.expects}")
    if len(set(values)) < len(values):
        raise InputError(f"{setting.name}={given!r}: a value is duplicated")
    if len(values) > 1 and not setting.searched:
        raise InputError(f"{setting.name}={given!r}: takes one value")
    return tuple(values)


def name_and_number(value: str) -> tuple[str, int]:
    """Return name and number of a value such as `pca:10`; of one without a number, 0."""
    name, _, number = value.partition(":")
    return name, int(number or 0)


def applies(name: str, combination: Combination) -> bool:
    """Return whether a setting has an effect beside the others: a linear kernel has no gamma."""
    own = KERNEL_SETTINGS.get(combination.get("kernel", ""), set())
    return name not in {"gamma", "degree"} or name in own
