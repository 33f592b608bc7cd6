"""The search for a classifier's settings by cross-validation over subject groups.

What combinations share is computed once: preparation and kernel matrix for every C, and the neighbours of the largest k
for every smaller k.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from joblib import delayed
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import normalize
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from leukobench.classifiers.calibration import Folds
from leukobench.classifiers.cells import LabelledCells
from leukobench.classifiers.kernels import kernel_matrix
from leukobench.classifiers.pipelines import (
    CACHE_MB,
    approximate_kernel,
    fit_preparation,
    kernel_arguments,
    linear_machine,
    neighbors,
    possible,
)
from leukobench.classifiers.recipes import ClassicalRecipe
from leukobench.classifiers.settings import Combination
from leukobench.core.errors import InputError
from leukobench.core.progress import ProgressBar
from leukobench.core.workers import THIS_PROCESS, Workers
from leukobench.results.weights import cell_weights

LOG = logging.getLogger(__name__)

FOLDS = 5
PREPARATION = ("scaling", "select", "projection")
KERNEL = ("kernel", "gamma", "degree", "metric")  # determine the kernel matrix, or the order of the neighbours

Prepared = tuple[np.ndarray, np.ndarray]  # training and held-out cells of a fold


def group_folds(cells: LabelledCells, seed: int) -> Folds:
    """Divide training cells into folds of whole subject groups, each with both classes in training and held out.

    There are five folds, or as many as the smaller class has subject groups.

    Raises:
        InputError: a class has fewer than two groups.
    """
    positive, group = cells.positive, cells.group
    fewest = min(len(np.unique(group[positive])), len(np.unique(group[~positive])))
    if fewest < 2:
        raise InputError(
            f"the training part has {fewest} subject group{'s' * (fewest != 1)} of one class; choosing settings over "
            "subject groups needs two of each class: add subjects or make the test part smaller"
        )
    for folds in range(min(FOLDS, fewest), 1, -1):
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # fewer groups than folds
            pairs = list(splitter.split(positive, positive, group))
        if all(len(np.unique(positive[side])) == 2 for pair in pairs for side in pair):
            return pairs
    raise InputError("the training part cannot be divided so that each side has both classes; add subjects")


def search(
    recipe: ClassicalRecipe, cells: LabelledCells, folds: Folds, seed: int, workers: Workers = THIS_PROCESS
) -> tuple[Combination, np.ndarray, pd.DataFrame]:
    """Evaluate every combination of the recipe's grid by cross-validation.

    Args:
        recipe: The recipe.
        cells: The training cells.
        folds: Pairs of training and held-out row numbers.
        seed: Random seed of the pipelines.
        workers: Where the combinations are fitted. The result does not depend on it.

    Returns:
        The best combination (highest mean over the folds, the first of equal ones); its out-of-fold decision value of
        each cell [shape=(n,)]; and the table of the search: one row a combination, with the score of each fold, their
        mean and their minimum. Combinations with more neighbours than a fold has cells, or more columns than there
        are, are left out.

    Raises:
        InputError: too few cells or columns for any combination.
    """
    fewest = min(len(train) for train, _ in folds)
    columns = int((np.ptp(cells.features, axis=0) > 0).sum())
    combinations = [settings for settings in recipe.combinations() if possible(settings, fewest, columns)]
    if not combinations:
        raise InputError(
            f"{fewest} training cells in a fold and {columns} columns are too few for the settings of {recipe.name}; "
            "add images, or choose fewer neighbours or columns"
        )
    decision = _out_of_fold_decisions(recipe, combinations, cells, folds, seed, workers)
    by_fold = np.array(
        [[criterion(recipe, cells.positive[rows], values[rows]) for _, rows in folds] for values in decision]
    )
    table = pd.DataFrame(combinations)
    name = recipe.criterion.replace("-", "_")
    for number in range(len(folds)):
        table[f"{name}_fold_{number}"] = by_fold[:, number]
    table[f"{name}_mean"], table[f"{name}_min"] = by_fold.mean(axis=1), by_fold.min(axis=1)
    best = int(np.argmax(by_fold.mean(axis=1)))
    return combinations[best], decision[best], table


def criterion(recipe: ClassicalRecipe, positive: np.ndarray, decision: np.ndarray) -> float:
    """Score decision values by the recipe's criterion: AUROC, average precision, or balanced accuracy."""
    if recipe.criterion == "auroc":
        return float(roc_auc_score(positive, decision))
    if recipe.criterion == "average-precision":
        return float(average_precision_score(positive, decision))
    return float(balanced_accuracy_score(positive, decision >= (0 if recipe.family == "svm" else 0.5)))


def _out_of_fold_decisions(
    recipe: ClassicalRecipe,
    combinations: list[Combination],
    cells: LabelledCells,
    folds: Folds,
    seed: int,
    workers: Workers,
) -> np.ndarray:
    """Return the out-of-fold decision value of each cell by each combination. [shape=(combinations, n)]"""
    approximate = recipe.family == "svm" and len(cells) > recipe.approximate_above
    decision = np.full((len(combinations), len(cells)), np.nan)
    progress = ProgressBar(LOG, total=len(combinations) * len(folds), desc="search", unit="fit")
    with progress:
        all_cells, training = workers.share(cells), [workers.share(cells.take(train)) for train, _ in folds]
        for same_preparation in _grouped(range(len(combinations)), combinations, set(PREPARATION)):
            first = combinations[same_preparation[0]]
            preparing = workers.run(delayed(_prepare)(first, all_cells, *fold, seed) for fold in folds)
            prepared = [workers.share(each) for each in preparing]
            tasks = [
                (numbers, fold)
                for fold in range(len(folds))
                for numbers in _grouped(same_preparation, combinations, set(KERNEL))
            ]
            calls = (
                delayed(_decisions)(
                    [combinations[number] for number in numbers],
                    prepared[fold],
                    training[fold],
                    seed,
                    approximate,
                )
                for numbers, fold in tasks
            )
            for (numbers, fold), values in zip(tasks, workers.run(calls), strict=True):
                decision[np.ix_(np.array(numbers), folds[fold][1])] = values
                progress.update(len(numbers))
    return decision


def _grouped(numbers: Iterable[int], combinations: list[Combination], names: set[str]) -> list[list[int]]:
    """Group the positions of combinations that agree in some settings."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number in numbers:
        key = tuple((name, value) for name, value in combinations[number].items() if name in names)
        groups.setdefault(key, []).append(number)
    return list(groups.values())


def _prepare(
    settings: Combination, cells: LabelledCells, train: np.ndarray, held_out: np.ndarray, seed: int
) -> Prepared:
    with threadpool_limits(1):  # processes use the cores already; one thread makes sums reproducible
        preparation = fit_preparation(settings, cells.take(train), seed)
        return preparation.transform(cells.features[train]), preparation.transform(cells.features[held_out])


def _decisions(
    combinations: list[Combination], prepared: Prepared, training: LabelledCells, seed: int, approximate: bool
) -> np.ndarray:
    """Fit combinations with the same kernel, or metric, on a fold. [shape=(combinations, held-out cells)]"""
    a, b = prepared
    with threadpool_limits(1):
        if "kernel" not in combinations[0]:
            return _votes(combinations, a, b, training.positive)
        weights = [cell_weights(settings["weight"], training.positive, training.group) for settings in combinations]
        if approximate:
            mapping = approximate_kernel(combinations[0], a, seed)
            a, b = mapping.transform(a), mapping.transform(b)
            machines = [linear_machine(settings, seed) for settings in combinations]
            fitted = [
                machine.fit(a, training.positive, weight) for machine, weight in zip(machines, weights, strict=True)
            ]
            return np.array([machine.decision_function(b) for machine in fitted])
        of_kernel = kernel_arguments(combinations[0], a)
        among, between = kernel_matrix(a=a, b=a, **of_kernel), kernel_matrix(a=b, b=a, **of_kernel)
        values = []
        for settings, weight in zip(combinations, weights, strict=True):
            machine = SVC(kernel="precomputed", C=settings["C"], cache_size=CACHE_MB)
            machine.fit(among, training.positive, weight)
            values.append(between[:, machine.support_] @ machine.dual_coef_[0] + machine.intercept_[0])
        return np.array(values)


def _votes(combinations: list[Combination], a: np.ndarray, b: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return the share of blasts among the neighbours in `a` of each row of `b`, weighted as in scikit-learn."""
    if combinations[0]["metric"] == "cosine":
        a, b = normalize(a), normalize(b)
    most = max(combinations, key=lambda settings: settings["n_neighbors"])
    distance, index = neighbors(most).fit(a, positive).kneighbors(b)
    values = []
    for settings in combinations:
        near, of = distance[:, : settings["n_neighbors"]], positive[index[:, : settings["n_neighbors"]]]
        weight = np.ones_like(near)
        if settings["neighbor_weight"] == "distance":
            same = near == 0  # where some neighbours have distance 0, only they vote
            weight = np.where(same.any(axis=1, keepdims=True), same, 1 / np.where(same, 1, near))
        values.append((weight * of).sum(axis=1) / weight.sum(axis=1))
    return np.array(values)
