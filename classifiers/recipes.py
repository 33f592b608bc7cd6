"""The classical recipes, as data: which pipeline, and the values that are searched over subject groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sklearn.base import ClassifierMixin
from sklearn.feature_selection import VarianceThreshold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from study.errors import StudyError


@dataclass(frozen=True)
class ClassicalRecipe:
    """A classifier and how its settings are chosen.

    Attributes:
        name: What `--recipe` takes.
        family: `svm` or `knn`.
        source: Where it comes from.
        description: One line for the listing.
        classifier: Builds the classifier, given the seed.
        grid: Values searched for each of the classifier's arguments.
        calibrated: Whether probabilities come from Platt's sigmoid on decision values of held-out groups.
    """

    name: str
    family: str
    source: str
    description: str
    classifier: Callable[[int], ClassifierMixin]
    grid: Mapping[str, Sequence[Any]]
    calibrated: bool

    def as_json(self) -> dict[str, Any]:
        """Return every value of the recipe in types that JSON has."""
        return {
            "name": self.name,
            "source": self.source,
            "description": self.description,
            "classifier": self.classifier(0).get_params(),
            "grid": {key: list(values) for key, values in self.grid.items()},
            "calibrated": self.calibrated,
        }

    def pipeline(self, seed: int) -> Pipeline:
        """Return the untrained pipeline: constant columns dropped, columns standardised, then the classifier."""
        return Pipeline(
            [
                ("drop_constant", VarianceThreshold()),
                ("standardise", StandardScaler()),
                ("classify", self.classifier(seed)),
            ]
        )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        ClassicalRecipe(
            name="leukobench-svm",
            family="svm",
            source="leukobench",
            description="RBF support vector machine, balanced classes, C and gamma searched over subject groups",
            classifier=lambda seed: SVC(kernel="rbf", class_weight="balanced", random_state=seed),
            grid=MappingProxyType({"C": (0.1, 1.0, 10.0, 100.0), "gamma": (0.001, 0.003, 0.01, 0.03, 0.1)}),
            calibrated=True,
        ),
        ClassicalRecipe(
            name="leukobench-knn",
            family="knn",
            source="leukobench",
            description="k nearest neighbours, k, metric and weighting searched over subject groups",
            classifier=lambda seed: KNeighborsClassifier(),
            grid=MappingProxyType(
                {
                    "n_neighbors": (5, 15, 35, 75),
                    "p": (1, 2),
                    "weights": ("uniform", "distance"),
                }
            ),
            calibrated=False,
        ),
    )
}


def recipe_named(name: str, family: str) -> ClassicalRecipe:
    """Return a recipe of a family.

    Raises:
        StudyError: no recipe of that name in the family.
    """
    names = [known for known, recipe in RECIPES.items() if recipe.family == family]
    if name not in names:
        raise StudyError(f"no {family} recipe {name!r}; there is {', '.join(names)}")
    return RECIPES[name]
