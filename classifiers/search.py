"""Choosing a classifier's settings by cross-validation over subject groups."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import ParameterGrid, StratifiedGroupKFold
from sklearn.pipeline import Pipeline
from tqdm import tqdm

from classifiers.recipes import ClassicalRecipe
from study.errors import StudyError

FOLDS = 5

Folds = list[tuple[np.ndarray, np.ndarray]]


def group_folds(positive: np.ndarray, groups: np.ndarray, seed: int, name: str) -> Folds:
    """Divide training rows into folds of whole subject groups, with both classes in every fold.

    There are five folds, or as many as the rarer class has groups.

    Raises:
        StudyError: a class has fewer than two groups; `name` says where.
    """
    fewest = min(len(np.unique(groups[positive])), len(np.unique(groups[~positive])))
    if fewest < 2:
        raise StudyError(
            f"{name}: the training part has {fewest} subject group{'s' * (fewest != 1)} of one class; choosing "
            "settings over subject groups takes two of each class: add subjects or make the test part smaller"
        )
    for folds in range(min(FOLDS, fewest), 1, -1):
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # fewer groups than folds
            pairs = list(splitter.split(positive, positive, groups))
        if all(len(np.unique(positive[side])) == 2 for pair in pairs for side in pair):
            return pairs
    raise StudyError(f"{name}: the training part cannot be divided so that each side has both classes; add subjects")


def search(
    recipe: ClassicalRecipe, features: np.ndarray, positive: np.ndarray, folds: Folds, seed: int, jobs: int
) -> tuple[Pipeline, pd.DataFrame]:
    """Try every combination of the recipe's grid on every fold; score each by AUROC on the fold left out.

    Args:
        recipe: The recipe.
        features: Training rows. [shape=(n, columns)]
        positive: Which rows are blasts. [shape=(n,), bool]
        folds: Pairs of training and held-out row numbers.
        seed: For the classifier.
        jobs: Processes.

    Returns:
        The untrained pipeline with the best settings (highest mean AUROC, the earlier on a tie), and the table of what
        was tried: one row a combination, with the AUROC of each fold, their mean and their minimum. More neighbours
        than a fold has rows are not tried.

    Raises:
        StudyError: too few rows for any combination.
    """
    fewest_rows = min(len(train) for train, _ in folds)
    combinations = [
        {f"classify__{key}": value for key, value in combination.items()}
        for combination in ParameterGrid({key: list(values) for key, values in recipe.grid.items()})
        if combination.get("n_neighbors", 1) <= fewest_rows
    ]
    if not combinations:
        raise StudyError(f"{fewest_rows} training rows a fold are too few for {recipe.name}; add images")
    pipelines = [recipe.pipeline(seed).set_params(**combination) for combination in combinations]
    scoring = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_auroc)(pipeline, features, positive, train, held_out)
        for pipeline in pipelines
        for train, held_out in folds
    )
    total = len(pipelines) * len(folds)
    scores = list(tqdm(scoring, total=total, desc="searching", unit="fit", disable=None))
    by_fold = np.reshape(scores, (len(pipelines), len(folds)))
    table = pd.DataFrame([{key.split("__")[1]: of for key, of in each.items()} for each in combinations])
    for number in range(len(folds)):
        table[f"auroc_fold_{number}"] = by_fold[:, number]
    table["auroc_mean"], table["auroc_min"] = by_fold.mean(axis=1), by_fold.min(axis=1)
    return pipelines[int(np.argmax(by_fold.mean(axis=1)))], table


def _auroc(
    pipeline: Pipeline, features: np.ndarray, positive: np.ndarray, train: np.ndarray, held_out: np.ndarray
) -> float:
    fitted = clone(pipeline).fit(features[train], positive[train])
    if hasattr(fitted, "decision_function"):
        score = fitted.decision_function(features[held_out])
    else:
        score = fitted.predict_proba(features[held_out])[:, 1]
    return float(roc_auc_score(positive[held_out], score))
