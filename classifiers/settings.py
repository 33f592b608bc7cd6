"""The settings of a classical recipe: what each is called, which values it takes, and how a text names them.

Each setting of a recipe is a tuple of values. One value is fixed; of several, the search chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from leukobench.core.errors import InputError

FAMILIES = ("svm", "knn")
NO = "none"

# A setting with a number: which cells it takes the number of. "anova:16" keeps the 16 best columns.
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
        name: As in `run.json`, `search.csv`, and, with hyphens, on the command line.
        expects: The values it takes, in words.
        parse: Makes a value of a text; raises ValueError where it is none.
        families: The families that have it.
    """

    name: str
    expects: str
    parse: Callable[[str], Any]
    families: tuple[str, ...] = FAMILIES


def _one_of(*names: str) -> tuple[str, Callable[[str], str]]:
    def parse(text: str) -> str:
        if text not in names:
            raise ValueError
        return text

    return ", ".join(names), parse


def _numbered(*names: str, plain: tuple[str, ...] = (NO,)) -> tuple[str, Callable[[str], str]]:
    """Take a plain name, such as `none`, or one of the names with a whole number: `pca:10`."""

    def parse(text: str) -> str:
        name, _, number = text.partition(":")
        if text not in plain and (name not in names or int(number) < 1):
            raise ValueError
        return text

    return ", ".join([*plain, *(f"{name}:NUMBER" for name in names)]), parse


def _positive(kind: type) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        number = kind(text)
        if not 0 < number < float("inf"):
            raise ValueError
        return number

    return parse


def _gamma(text: str) -> float | str:
    return text if text == "scale" else _positive(float)(text)


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("scaling", *_one_of("standard", "minmax")),
        Setting("select", *_numbered(*SELECTIONS)),
        Setting("projection", *_numbered(*PROJECTIONS, plain=(NO, WHITEN))),
        Setting("kernel", *_one_of(*KERNELS), ("svm",)),
        Setting("C", "a number above 0", _positive(float), ("svm",)),
        Setting("gamma", "a number above 0, or scale", _gamma, ("svm",)),
        Setting("degree", "a whole number from 1 on", _positive(int), ("svm",)),
        Setting("weight", *_one_of(*WEIGHTS), ("svm",)),
        Setting("n_neighbors", "a whole number from 1 on", _positive(int), ("knn",)),
        Setting("metric", *_one_of("euclidean", "manhattan", "cosine"), ("knn",)),
        Setting("neighbor_weight", *_one_of("uniform", "distance"), ("knn",)),
    )
}
CALIBRATION = Setting("calibration", *_one_of(*CALIBRATIONS))
CRITERION = Setting("criterion", *_one_of(*CRITERIA))
APPROXIMATE_ABOVE = Setting("approximate_above", "a whole number from 1 on", _positive(int), ("svm",))
KERNEL_SETTINGS = {"rbf": {"gamma"}, "linear": set(), "poly": {"gamma", "degree"}}


def parse_values(setting: Setting, text: str) -> tuple[Any, ...]:
    """Make the values of a setting from a text in which commas part them.

    Raises:
        InputError: a value that the setting does not take, or one that stands twice.
    """
    values = []
    for word in text.split(","):
        try:
            values.append(setting.parse(word.strip()))
        except ValueError:
            raise InputError(f"{setting.name} {word.strip()!r}; expected {setting.expects}") from None
    if len(set(values)) < len(values):
        raise InputError(f"{setting.name} {text!r}: a value stands twice")
    return tuple(values)


def parse_value(setting: Setting, text: str) -> Any:
    """Make the one value of a setting that cannot be searched over.

    Raises:
        InputError: see `parse_values`; or several values.
    """
    values = parse_values(setting, text)
    if len(values) > 1:
        raise InputError(f"{setting.name} {text!r}: takes one value")
    return values[0]


def numbered(value: str) -> tuple[str, int]:
    """Return name and number of a value such as `pca:10`; of one without a number, 0."""
    name, _, number = value.partition(":")
    return name, int(number or 0)


def applies(name: str, combination: dict[str, Any]) -> bool:
    """Tell whether a setting means anything beside the others: a linear kernel has no gamma."""
    own = KERNEL_SETTINGS.get(combination.get("kernel", ""), set())
    return name not in {"gamma", "degree"} or name in own
