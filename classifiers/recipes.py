"""The classical recipes, as data: each setting's values; where there are several, the search chooses by groups."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from leukobench.classifiers.settings import (
    APPROXIMATE_ABOVE,
    CALIBRATION,
    CRITERION,
    NO,
    SETTINGS,
    WHITEN,
    applies,
    parse_value,
    parse_values,
)
from leukobench.core.errors import InputError

# The search holds the kernel matrix of four fifths of the cells: at 20,000 cells 2 GB in every process. From about
# there on the approximate kernel is faster, too (benchmarks/classical.py).
MOST_EXACT = 20_000


@dataclass(frozen=True)
class ClassicalRecipe:
    """A classifier and how its settings are chosen.

    Attributes:
        name: What `--recipe` takes.
        family: `svm` or `knn`.
        source: Where it comes from.
        description: One line for the listing.
        grid: Values of each setting in `leukobench.classifiers.settings`; every combination is tried.
        calibration: Ways to make probabilities of decision values of subject groups left out; of several, the one with
            the lowest Brier score on further groups is taken.
        criterion: What combinations are compared by, averaged over the folds of subject groups.
        approximate_above: Training cells above which a support vector machine takes an approximate kernel (Nystroem).
        feature_set: The one feature set that the recipe is of; None for any.
        reported: What its source reported.
        notes: What its source left open or got wrong, and what is done here.
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

    def combinations(self) -> list[dict[str, Any]]:
        """Return every combination of the grid's values, less settings that mean nothing in it, each once."""
        found = []
        for values in itertools.product(*self.grid.values()):
            combination = dict(zip(self.grid, values, strict=True))
            combination = {name: value for name, value in combination.items() if applies(name, combination)}
            if combination not in found:
                found.append(combination)
        return found

    def changed(self, changes: Mapping[str, str]) -> ClassicalRecipe:
        """Return the recipe with some values replaced by those of texts, in which commas part values to search over.

        Raises:
            InputError: a value that the setting does not take, or a setting that the family does not have.
        """
        grid, others = dict(self.grid), {}
        for name, text in changes.items():
            if name in grid:
                grid[name] = parse_values(SETTINGS[name], text)
            elif name == "calibration":
                others[name] = parse_values(CALIBRATION, text)
            elif name == "criterion":
                others[name] = parse_value(CRITERION, text)
            elif name == "approximate_above" and self.family == "svm":
                others[name] = parse_value(APPROXIMATE_ABOVE, text)
            else:
                raise InputError(f"no setting {name!r} of the family {self.family}; there is {', '.join(self.grid)}")
        return replace(self, grid=MappingProxyType(grid), **others)


def _grid(family: str, **values: tuple[Any, ...]) -> Mapping[str, tuple[Any, ...]]:
    """Return the values of every setting of a family, in the order of `SETTINGS`; plain ones where nothing is said."""
    plain = {"scaling": ("standard",), "select": (NO,), "projection": (NO,)}
    plain |= {"kernel": ("rbf",), "degree": (3,), "weight": (NO,)} if family == "svm" else {}
    given = plain | values
    return MappingProxyType({name: given[name] for name, setting in SETTINGS.items() if family in setting.families})


RECIPES = {
    recipe.name: recipe
    for recipe in (
        ClassicalRecipe(
            name="leukobench-svm",
            family="svm",
            source="leukobench",
            description="RBF support vector machine, features whitened, people weighted alike; C and gamma searched",
            grid=_grid(
                "svm",
                projection=(WHITEN,),
                weight=("class-subject",),
                C=(1.0, 3.0),
                gamma=(0.001, 0.003, 0.01),
            ),
            notes=(
                "Found by benchmarks/default_recipe.py. The grid is the one that was judged there: with so few people "
                "to choose by, the more there is to choose from, the more often chance chooses."
            ),
        ),
        ClassicalRecipe(
            name="leukobench-knn",
            family="knn",
            source="leukobench",
            description="k nearest neighbours, features whitened; k, metric and weighting searched",
            grid=_grid(
                "knn",
                projection=(WHITEN,),
                n_neighbors=(5, 15, 35, 75, 150, 300),
                metric=("cosine", "euclidean"),
                neighbor_weight=("uniform", "distance"),
            ),
            notes="Found by benchmarks/default_recipe.py. Calibrated: a share of hundreds of votes is no probability.",
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
                "Their split: training and preliminary images pooled, 15% test by image, which leaks "
                "(split --method image --test-size 0.15). They fitted the scaler again on the test part; here it is "
                "fitted on the training part only. Not calibrated, so that a cell is called as their machine calls it: "
                "by the sign of the decision value."
            ),
        ),
    )
}


def recipe_named(name: str, family: str) -> ClassicalRecipe:
    """Return a recipe of a family.

    Raises:
        InputError: no recipe of that name in the family.
    """
    names = [known for known, recipe in RECIPES.items() if recipe.family == family]
    if name not in names:
        raise InputError(f"no {family} recipe {name!r}; there is {', '.join(names)}")
    return RECIPES[name]
