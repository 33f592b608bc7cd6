"""At how many cells the score of a person settles: the AUROC of subject groups whose scores are means over few cells.

Of each subject group so many test cells are drawn without replacement (all where it has fewer), 30 times. The values
are means over the draws, the same draws for every run.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from leukobench.comparison.auroc import auroc
from leukobench.comparison.results import ComparedRuns
from leukobench.comparison.weighted_metrics import Scored
from leukobench.results.metrics import THRESHOLD

CELLS = (1, 2, 5, 10, 20, 50, 100)
DRAWS = 30
COLUMNS = ["run", "cells", "subject_auroc", "balanced_accuracy"]


def settling_table(comparison: ComparedRuns, draws: int = DRAWS) -> pd.DataFrame:
    """Return AUROC and balanced accuracy at 0.5 of the subject groups, in `COLUMNS`, for each number of cells.

    The last number is that of the largest subject group, so that all cells count.

    Args:
        comparison: The compared runs.
        draws: Number of draws of each number of cells.
    """
    scored = {name: comparison.scored(name) for name in comparison.runs}
    group = next(iter(scored.values())).group  # of all runs: they were tested on the same cells
    largest = int(np.bincount(group).max())
    rng = np.random.default_rng(0)
    found = []
    for size in (*(size for size in CELLS if size < largest), largest):
        drawn = [_drawn(group, size, rng) for _ in range(draws if size < largest else 1)]
        for name, rows in scored.items():
            area, accuracy = np.mean([_of_subjects(rows, each) for each in drawn], axis=0)
            found.append((name, size, area, accuracy))
    return pd.DataFrame(found, columns=COLUMNS).round(9).sort_values(["run", "cells"], kind="stable", ignore_index=True)


def _drawn(group: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw at most `size` rows of each group. [shape=(rows drawn,)]"""
    order = np.lexsort((rng.random(len(group)), group))
    sorted_groups = group[order]
    place = np.arange(len(group)) - np.searchsorted(sorted_groups, sorted_groups)
    return order[place < size]


def _of_subjects(rows: Scored, drawn: np.ndarray) -> tuple[float, float]:
    """Return AUROC and balanced accuracy of the mean scores of the subject groups over the drawn rows.

    A group with cells of both classes, or of several folds, counts by those of its first row.
    """
    groups, first = np.unique(rows.group, return_index=True)
    score = (np.bincount(rows.group[drawn], rows.score[drawn]) / np.bincount(rows.group[drawn]))[groups]
    positive = rows.positive[first]
    fold = None if rows.fold is None else rows.fold[first]
    right = (score >= THRESHOLD) == positive
    area = auroc(Scored(positive, score, np.arange(len(groups)), len(groups), fold)).value
    return area, float((right[positive].mean() + right[~positive].mean()) / 2)
