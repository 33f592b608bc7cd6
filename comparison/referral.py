"""Coverage against error: how many of the answered cells are wrong if the doubtful ones are referred to a person.

Cells are referred in order of doubt: the score closest to the threshold 0.5 first or, for runs that store it, the
highest novelty first (`leukobench.results.novelty`). Cells of equal doubt count as referred in random order. In the
subject-weighted error each class counts a half, and all subject groups of a class the same; the referred share is then
a share of this weight.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from leukobench.comparison.results import ComparedRuns
from leukobench.results.metrics import THRESHOLD
from leukobench.results.novelty import read_novelty
from leukobench.results.weights import cell_weights

REFERRED = np.linspace(0, 0.5, 51)  # shares
COLUMNS = ["run", "order", "referred", "error", "subject_weighted_error"]
CERTAINTY, NOVELTY = "certainty", "novelty"


def error_of_answered(wrong: np.ndarray, doubt: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weighted error of the answered cells at each share of `REFERRED`. [shape=(51,)]

    Args:
        wrong: Which cells are predicted wrongly. [shape=(n,), bool]
        doubt: Cells of more doubt are referred first. [shape=(n,)]
        weight: Weight of each cell. [shape=(n,)]

    >>> wrong, doubt = np.arange(10) < 2, np.arange(10)[::-1]
    >>> error_of_answered(wrong, doubt, np.ones(10))[[0, 10, 20]].round(3)
    array([0.2  , 0.111, 0.   ])
    """
    _, tie = np.unique(doubt, return_inverse=True)  # the least doubt first
    answered = np.concatenate([[0.0], np.cumsum(np.bincount(tie, weight))])
    errors = np.concatenate([[0.0], np.cumsum(np.bincount(tie, weight * wrong))])
    kept = (1 - REFERRED) * answered[-1]
    return np.interp(kept, answered, errors) / kept


def error_at(table: pd.DataFrame, share: float, order: str = CERTAINTY) -> dict[str, float]:
    """Return the subject-weighted error of each run at a referred share, from its `referral_table`."""
    rows = table[(table["order"] == order) & np.isclose(table["referred"], share)]
    return dict(zip(rows["run"], rows["subject_weighted_error"], strict=True))


def referral_table(comparison: ComparedRuns) -> pd.DataFrame:
    """Return the error of the answered cells of each run, order of doubt and referred share, in `COLUMNS`."""
    tables = []
    for name, run in comparison.runs.items():
        rows = comparison.scored(name)
        wrong = (rows.score >= THRESHOLD) != rows.positive
        doubts = {CERTAINTY: -np.abs(rows.score - THRESHOLD)}
        known = read_novelty(run)
        if known is not None:
            by_path = known.drop_duplicates("path").set_index("path")["novelty"]
            novelty = by_path.reindex(comparison.rows.index).to_numpy(float)
            if not np.isnan(novelty).any():
                doubts[NOVELTY] = novelty
        by_subject = cell_weights("class-subject", rows.positive, rows.group)
        for order, doubt in doubts.items():
            errors = [error_of_answered(wrong, doubt, weight) for weight in (np.ones(len(wrong)), by_subject)]
            values = dict(zip(COLUMNS, [name, order, REFERRED.round(2), *errors], strict=True))
            tables.append(pd.DataFrame(values))
    return pd.concat(tables, ignore_index=True).round(9)
