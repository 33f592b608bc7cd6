"""From labelled cells to a model: settings chosen over subject groups, fit, calibration; and the nested evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from leukobench.classifiers.calibration import Folds, calibrate
from leukobench.classifiers.cells import LabelledCells, labelled_cells
from leukobench.classifiers.model import Model
from leukobench.classifiers.pipelines import Settings, fit_pipeline
from leukobench.classifiers.recipes import ClassicalRecipe
from leukobench.classifiers.search import group_folds, search


@dataclass(frozen=True)
class Fitted:
    """A model and how it came about.

    Attributes:
        model: The model.
        settings: The combination that was chosen.
        calibration: The way of calibration that was chosen, and Brier scores where there was a choice.
        tried: The table of the search.
        notes: What the user should know, one line each.
    """

    model: Model
    settings: Settings
    calibration: dict[str, Any]
    tried: pd.DataFrame
    notes: tuple[str, ...]

    @property
    def search_score(self) -> float:
        """The mean score over the folds of the settings that were chosen."""
        return float(self.tried.filter(regex="_mean$").to_numpy().max())

    @property
    def support_vectors(self) -> dict[str, int] | None:
        """Support vectors of each class, where the classifier has them."""
        if not isinstance(self.model.classifier, SVC):
            return None
        return dict(zip(("hem", "all"), map(int, self.model.classifier.n_support_), strict=True))


def fit(recipe: ClassicalRecipe, cells: LabelledCells, seed: int = 0, jobs: int = 1) -> Fitted:
    """Choose settings and calibration over subject groups of the cells, and fit on all of them.

    Equal arguments give equal models, whatever the number of processes.

    Raises:
        InputError: fewer than two subject groups of a class, or too few cells or columns for the recipe.
    """
    folds = group_folds(cells, seed)
    settings, decision, tried = search(recipe, cells, folds, seed, jobs)
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
            f"approximate kernel (Nystroem, {components} components) for {len(cells)} training cells, which are more "
            f"than {recipe.approximate_above}; --approximate-above sets that"
        )
    return Fitted(Model(pipeline, calibrator), settings, calibration, tried, tuple(notes))


def nested_scores(
    recipe: ClassicalRecipe,
    values: pd.DataFrame,
    label: Sequence[str],
    group: Sequence[str],
    outer_folds: Folds,
    *,
    seed: int = 0,
    jobs: int = 1,
) -> tuple[np.ndarray, list[Fitted]]:
    """Score cells by models that saw nothing of their fold, settings included, without writing a run folder.

    Args:
        recipe: The recipe.
        values: Feature table, one row a cell.
        label: `all` or `hem` of each row.
        group: Subject group of each row.
        outer_folds: Pairs of row numbers to fit on and to score; `group_folds` makes them of subject groups.
        seed: As in `fit`.
        jobs: Processes.

    Returns:
        The probability of `all` of each row, NaN where no fold scores it [shape=(n,)]; what was fitted in each fold.

    Raises:
        InputError: see `fit`.
    """
    cells = labelled_cells(values, label, group)
    score, fitted = np.full(len(cells), np.nan), []
    for train, held_out in outer_folds:
        fitted.append(fit(recipe, cells.take(train), seed, jobs))
        score[held_out] = fitted[-1].model.predict_proba(cells.features[held_out])[:, 1]
    return score, fitted
