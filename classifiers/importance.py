"""Permutation importance: the drop in AUROC on unseen subjects when a feature, or a family of features, is permuted.

The values of a column are permuted among the test cells (Breiman 2001; Fisher et al. 2019). Features are correlated:
permuting one of two features with the same information loses little. The columns of a family are therefore also
permuted together. Confidence intervals are from a bootstrap over subject groups, stratified by class.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from leukobench.classifiers.cells import LabelledCells, evenly
from leukobench.classifiers.model import Model
from leukobench.core.progress import ProgressBar
from leukobench.results.resampling import draw_counts, pairwise_wins, positive_groups

LOG = logging.getLogger(__name__)

RESAMPLES = 1000
LEVEL = 0.95
# Each column takes a prediction of every cell, which takes longer with more columns: hundreds of columns and ten
# thousand cells would take an hour. The cells, of all folds together, are sampled evenly from the subject groups.
MOST_CELLS = 2000
MOST_VALUES = 200_000  # cells times columns
MANY_COLUMNS = 100  # up to this number each is permuted REPEATS times, above it once
REPEATS = 3

Tested = Sequence[tuple[Model, LabelledCells]]  # of each fold: its model and its test cells


@dataclass(frozen=True)
class Importance:
    """Permutation importance on the test part.

    Attributes:
        by_feature: `feature`, `family`, `drop` (in AUROC, mean over repeats), `low`, `high` (95% interval), the largest
            first. The interval is empty where a class has fewer than two subject groups.
        by_family: `family`, `features` (number), `drop`, `low`, `high`.
        facts: Number of cells used and of test cells, their subject groups and AUROC, repeats, resamples.
    """

    by_feature: pd.DataFrame
    by_family: pd.DataFrame
    facts: dict[str, Any]


def permutation_importance(tested: Tested, columns: Sequence[str], seed: int = 0, jobs: int = 1) -> Importance | None:
    """Compute permutation importance by feature and by family.

    The cells of all folds are pooled, each scored by the model of its fold.

    Args:
        tested: Of each fold, the model and its test cells.
        columns: Names of the columns; the family is the word before the first underscore.
        seed: Random seed of the permutations and resamples. The result does not depend on `jobs`.
        jobs: Number of threads.

    Returns:
        The importance; None where the test cells lack a class, because there is no AUROC.
    """
    rng = np.random.default_rng(seed)
    most = min(MOST_CELLS, MOST_VALUES // len(columns)) // len(tested)
    repeats = REPEATS if len(columns) <= MANY_COLUMNS else 1
    all_cells = sum(len(cells) for _, cells in tested)
    tested = [(model, cells.take(evenly(cells.group, most, rng))) for model, cells in tested]
    positive = np.concatenate([cells.positive for _, cells in tested])
    if positive.all() or not positive.any():
        return None
    groups, code = np.unique(np.concatenate([cells.group for _, cells in tested]), return_inverse=True)
    family = pd.Series([column.partition("_")[0] for column in columns])
    units = [np.array([number]) for number in range(len(columns))]
    units += [np.flatnonzero(family == name) for name in family.unique()]

    def lost_wins(number: int) -> np.ndarray:
        drawing = np.random.default_rng([seed, number])
        scores = [_scores(tested, units[number], drawing) for _ in range(repeats)]
        return intact - np.mean([pairwise_wins(score, positive, code, len(groups)) for score in scores], axis=0)

    with threadpool_limits(1):
        whole = np.concatenate([model.predict_proba(cells.features)[:, 1] for model, cells in tested])
        intact, pairs = (pairwise_wins(score, positive, code, len(groups)) for score in (whole, positive.astype(float)))
        lost = Parallel(n_jobs=jobs, prefer="threads", return_as="generator")(
            delayed(lost_wins)(number) for number in range(len(units))
        )
        lost = list(ProgressBar(LOG, lost, total=len(units), desc="importance", unit="permutation"))
    counts = _group_resamples(positive, code, rng)
    drops = pd.DataFrame([_drop(of, pairs, counts) for of in lost], columns=["drop", "low", "high"])
    by_feature = pd.concat([pd.DataFrame({"feature": columns, "family": family}), drops[: len(columns)]], axis=1)
    sizes = pd.DataFrame({"family": family.unique(), "features": [len(unit) for unit in units[len(columns) :]]})
    by_family = pd.concat([sizes, drops[len(columns) :].reset_index(drop=True)], axis=1)
    return Importance(
        by_feature.sort_values("drop", ascending=False, kind="stable", ignore_index=True),
        by_family.sort_values("drop", ascending=False, kind="stable", ignore_index=True),
        {
            "cells": len(positive),
            "test_cells": all_cells,
            "subject_groups": len(groups),
            "auroc": float(intact.sum() / pairs.sum()),
            "repeats": repeats,
            "resamples": RESAMPLES,
        },
    )


def _scores(tested: Tested, columns: np.ndarray, drawing: np.random.Generator) -> np.ndarray:
    """Score the cells of each fold with some columns permuted together among them."""
    scores = []
    for model, cells in tested:
        features = cells.features.copy()
        features[:, columns] = features[drawing.permutation(len(cells))][:, columns]
        scores.append(model.predict_proba(features)[:, 1])
    return np.concatenate(scores)


def _group_resamples(positive: np.ndarray, code: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Draw groups with replacement, class by class; None where a class has fewer than two."""
    of_group = positive_groups(positive, code)
    if min(of_group.sum(), (~of_group).sum()) < 2:
        return None
    return draw_counts(of_group, RESAMPLES, rng)


def _drop(lost: np.ndarray, pairs: np.ndarray, counts: np.ndarray | None) -> tuple[float, float, float]:
    """Return the drop in AUROC and its interval."""
    drop = lost.sum() / pairs.sum()
    if counts is None:
        return drop, np.nan, np.nan
    drops = ((counts @ lost) * counts).sum(axis=1) / ((counts @ pairs) * counts).sum(axis=1)
    low, high = np.quantile(drops, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return drop, float(low), float(high)
