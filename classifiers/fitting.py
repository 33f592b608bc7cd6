"""From labelled cells to a model: search over subject groups, fit, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from leukobench.classifiers.calibration import Folds, calibrate
from leukobench.classifiers.cells import LabelledCells
from leukobench.classifiers.model import Model
from leukobench.classifiers.pipelines import fit_pipeline
from leukobench.classifiers.recipes import ClassicalRecipe
from leukobench.classifiers.search import group_folds, search
from leukobench.classifiers.settings import NO, Combination
from leukobench.core.errors import InputError
from leukobench.core.workers import THIS_PROCESS, Workers


@dataclass(frozen=True)
class Fitted:
    """A fitted model and how it was chosen.

    Attributes:
        model: The model.
        settings: The chosen combination.
        calibration: The chosen calibration method, and Brier scores where there were several.
        tried: The table of the search.
        notes: What a reader of the results must know, one line each.
    """

    model: Model
    settings: Combination
    calibration: dict[str, Any]
    tried: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def search_score(self) -> float:
        """The mean score of the chosen settings over the folds."""
        return float(self.tried.filter(regex="_mean$").to_numpy().max())

    @property
    def support_vectors(self) -> dict[str, int] | None:
        """Number of support vectors of each class; None for other classifiers."""
        if not isinstance(self.model.classifier, SVC):
            return None
        return dict(zip(("hem", "all"), map(int, self.model.classifier.n_support_), strict=True))


def fit(recipe: ClassicalRecipe, cells: LabelledCells, seed: int = 0, workers: Workers = THIS_PROCESS) -> Fitted:
    """Choose settings and calibration over subject groups of the cells, and fit on all of them.

    The same arguments give the same model, wherever the settings are searched.

    Raises:
        InputError: fewer than two subject groups of a class, or too few cells or columns for the recipe.
    """
    return _fit_on_folds(recipe, cells, group_folds(cells, seed), seed, workers)


def fit_if_few(recipe: ClassicalRecipe, cells: LabelledCells, seed: int = 0, workers: Workers = THIS_PROCESS) -> Fitted:
    """Fit as `fit` does where there are enough cells and subject groups, and with less than that otherwise.

    Where the smallest training fold has fewer cells than every number of neighbours of the recipe, that many
    neighbours are used. Where the subject groups cannot be divided into folds, the first value of each setting is
    used, without calibration.

    Raises:
        InputError: every feature is constant, or there are too few columns for the recipe.
    """
    try:
        folds = group_folds(cells, seed)
    except InputError as error:
        return _fit_without_search(_with_fewer_neighbors(recipe, len(cells)), cells, seed, str(error))
    return _fit_on_folds(
        _with_fewer_neighbors(recipe, min(len(train) for train, _ in folds)), cells, folds, seed, workers
    )


def _with_fewer_neighbors(recipe: ClassicalRecipe, cells: int) -> ClassicalRecipe:
    values = recipe.grid.get("n_neighbors", (0,))
    return recipe if min(values) <= cells else recipe.changed({"n_neighbors": cells})


def _fit_without_search(recipe: ClassicalRecipe, cells: LabelledCells, seed: int, reason: str) -> Fitted:
    settings = recipe.combinations()[0]
    with threadpool_limits(1):
        pipeline = fit_pipeline(settings, cells, seed)
    note = f"settings not searched and not calibrated: {reason}"
    return Fitted(Model(pipeline), settings, {"method": NO, "brier": {}}, pd.DataFrame([settings]), (note,))


def _fit_on_folds(recipe: ClassicalRecipe, cells: LabelledCells, folds: Folds, seed: int, workers: Workers) -> Fitted:
    settings, decision, tried = search(recipe, cells, folds, seed, workers)
    approximate = recipe.family == "svm" and len(cells) > recipe.approximate_above
    with threadpool_limits(1):
        pipeline = fit_pipeline(settings, cells, seed, approximate)
    calibrator, calibration, note = calibrate(
        recipe.calibration, decision, cells.positive, folds, margin=recipe.family == "svm"
    )
    notes = [note] if note else []
    if approximate:
        components = pipeline.named_steps["approximate_kernel"].n_components
        notes.append(
            f"approximate kernel (Nystroem, {components} components) for {len(cells)} training cells, more than "
            f"approximate_above={recipe.approximate_above}"
        )
    return Fitted(Model(pipeline, calibrator), settings, calibration, tried, tuple(notes))
