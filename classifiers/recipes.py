"""The classical recipes, as data: the values of each setting. Of several values the search chooses one."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from leukobench.classifiers.settings import (
    ALL_SETTINGS,
    NO,
    SETTINGS,
    WHITEN,
    Combination,
    Values,
    applies,
    check_values,
)
from leukobench.core.errors import InputError
from leukobench.core.text import nearest

# The search keeps the kernel matrix of four fifths of the cells in memory: at 20,000 cells, 2 GB in every process. From
# about this number on the approximate kernel is also faster (benchmarks/classical.py).
MOST_EXACT = 20_000


@dataclass(frozen=True)
class ClassicalRecipe:
    """A classifier and how its settings are chosen.

    Attributes:
        name: Name of the recipe.
        family: `svm` or `knn`.
        source: Where it comes from.
        description: One line for the listing.
        grid: Values of each setting in `leukobench.classifiers.settings`; every combination is tried.
        calibration: Methods that turn decision values into probabilities, fitted on held-out subject groups; of
            several, the one with the lowest cross-validated Brier score is used.
        criterion: Metric by which combinations are compared, averaged over the folds of subject groups.
        approximate_above: Number of training cells above which a support vector machine uses an approximate kernel
            (Nystroem).
        feature_set: The feature set that the recipe requires; None for any.
        reported: Metrics that its source reported.
        notes: What its source left open or got wrong, and what leukobench does instead.
    """

    name: str
    family: str
    source: str
    description: str
    grid: Mapping[str, tuple[Any, ...]]
    calibration: tuple[str, ...] = ("sigmoid",)
    criterion: str = "auroc"
    approximate_above: int = MOST_EXACT
    feature_set: str | None = None
    reported: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return every value of the recipe in types that JSON has."""
        return {
            **vars(self),
            "grid": {name: list(values) for name, values in self.grid.items()},
            "calibration": list(self.calibration),
            "reported": dict(self.reported),
        }

    @property
    def settings(self) -> dict[str, Values]:
        """Values of every setting of the family, by name."""
        values = {
            **self.grid,
            "calibration": self.calibration,
            "criterion": (self.criterion,),
            "approximate_above": (self.approximate_above,),
        }
        return {name: values[name] for name, setting in ALL_SETTINGS.items() if self.family in setting.families}

    def combinations(self) -> list[Combination]:
        """Return every combination of the grid's values, each once, without settings that have no effect in it."""
        found = []
        for values in itertools.product(*self.grid.values()):
            combination = dict(zip(self.grid, values, strict=True))
            combination = {name: value for name, value in combination.items() if applies(name, combination)}
            if combination not in found:
                found.append(combination)
        return found

    def changed(self, settings: Mapping[str, Any]) -> ClassicalRecipe:
        """Return the recipe with other values of some settings.

        Args:
            settings: A value, or a list or tuple of values to search over, by name of the setting.

        Raises:
            InputError: a value that the setting does not take, or a setting that the family does not have.

        Example:
            >>> RECIPES["leukobench-svm"].changed({"C": [1, 3, 10], "select": "anova:16"}).grid["C"]
            (1.0, 3.0, 10.0)
        """
        grid = dict(self.grid)
        others: dict[str, Any] = {}
        for name, given in settings.items():
            if name not in self.settings:
                raise InputError(
                    f"no setting {name!r} of the recipe {self.name}{nearest(name, self.settings)}; "
                    f"expected one of {', '.join(self.settings)}"
                )
            values = check_values(ALL_SETTINGS[name], given)
            if name in grid:
                grid[name] = values
            else:
                others[name] = values if ALL_SETTINGS[name].searched else values[0]
        return replace(self, grid=MappingProxyType(grid), **others)

    def changes_from(self, original: ClassicalRecipe) -> dict[str, Values]:
        """Return the settings whose values differ from those of another recipe of the family, by name."""
        return {name: values for name, values in self.settings.items() if values != original.settings[name]}


def _grid(family: str, **values: tuple[Any, ...]) -> Mapping[str, tuple[Any, ...]]:
    """Return the values of every setting of a family, in the order of `SETTINGS`, with defaults for those not given."""
    defaults: dict[str, tuple[Any, ...]] = {"scaling": ("standard",), "select": (NO,), "projection": (NO,)}
    defaults |= {"kernel": ("rbf",), "degree": (3,), "weight": (NO,)} if family == "svm" else {}
    given = defaults | values
    return MappingProxyType({name: given[name] for name, setting in SETTINGS.items() if family in setting.families})


RECIPES = {
    recipe.name: recipe
    for recipe in (
        ClassicalRecipe(
            name="leukobench-svm",
            family="svm",
            source="leukobench",
            description="RBF SVM, whitened features, subjects weighted equally; C and gamma searched",
            grid=_grid(
                "svm",
                projection=(WHITEN,),
                weight=("class-subject",),
                C=(1.0, 3.0),
                gamma=(0.001, 0.003, 0.01),
            ),
            notes=(
                "Selected by benchmarks/default_recipe.py, which evaluated this grid. The grid is small on purpose: "
                "with few subjects, a larger grid is more often decided by chance."
            ),
        ),
        ClassicalRecipe(
            name="leukobench-knn",
            family="knn",
            source="leukobench",
            description="k nearest neighbours, whitened features; k, metric and weighting searched",
            grid=_grid(
                "knn",
                projection=(WHITEN,),
                n_neighbors=(5, 15, 35, 75, 150, 300),
                metric=("cosine", "euclidean"),
                neighbor_weight=("uniform", "distance"),
            ),
            notes=(
                "Selected by benchmarks/default_recipe.py. Calibrated, because the share of hundreds of votes is not a "
                "probability."
            ),
        ),
        ClassicalRecipe(
            name="clinton-svm",
            family="svm",
            source="Clinton, Somes, Chu, Javed 2020, SMU Data Science Review 3(2) art. 4",
            description="RBF support vector machine with library defaults on their 19 features, scaled to [0, 1]",
            grid=_grid("svm", scaling=("minmax",), C=(1.0,), gamma=("scale",)),
            calibration=(NO,),
            feature_set="clinton19",
            reported=MappingProxyType({"accuracy": 0.76, "precision": 0.69, "recall": 0.50, "auroc": 0.69}),
            notes=(
                "Their split: training and preliminary images pooled, image-level split with 15% for testing, which "
                "leaks (leukobench split --method image --test-size 0.15). They fitted the scaler again on the test "
                "part; here it is fitted on the training part only. Their classifier is not calibrated. Here it is, on "
                "the validation part if there is one; raw_score >= 0.5 is their class, the sign of the decision value. "
                "Their energy is scikit-image's, the square root of the angular second moment (texture_energy_d1)."
            ),
        ),
    )
}


def classical_recipe(name: str, family: str | None = None) -> ClassicalRecipe:
    """Return a recipe by name.

    Args:
        name: Name of the recipe.
        family: `svm` or `knn`; None for any.

    Raises:
        InputError: the family has no recipe of that name.

    Example:
        >>> classical_recipe("leukobench-knn").grid["metric"]
        ('cosine', 'euclidean')
    """
    names = [known for known, recipe in RECIPES.items() if family in (None, recipe.family)]
    if name not in names:
        raise InputError(
            f"no {family or 'classical'} recipe {name!r}{nearest(name, names)}; expected one of {', '.join(names)}"
        )
    return RECIPES[name]
