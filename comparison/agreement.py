"""Whether two runs err on the same cells, and so whether combining them can pay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from leukobench.cohort.manifest import POSITIVE
from leukobench.comparison.results import ComparedRuns
from leukobench.results.metrics import THRESHOLD

AGREEMENT_COLUMNS = [
    *("run", "other_run", "score_correlation", "kappa", "error_correlation"),
    *("only_run_wrong", "only_other_wrong", "both_wrong"),
    *("balanced_accuracy", "other_balanced_accuracy", "oracle_balanced_accuracy"),
]


def agreement_table(comparison: ComparedRuns) -> pd.DataFrame:
    """Return how far the runs of each pair agree; see `leukobench.comparison.runs.Comparison.agreement`.

    Of repeats the first is used. The classes are those at the threshold 0.5.
    """
    positive = (comparison.rows["label"] == POSITIVE).to_numpy()
    rows = [
        (
            pair.better,
            pair.other,
            *_agreement(positive, *(comparison.rows[name].to_numpy(float) for name in (pair.better, pair.other))),
        )
        for pair in comparison.differences
    ]
    return pd.DataFrame(rows, columns=AGREEMENT_COLUMNS)


def _agreement(positive: np.ndarray, score: np.ndarray, other: np.ndarray) -> tuple[float, ...]:
    """Return the columns of `AGREEMENT_COLUMNS` after the names of the runs."""
    wrong, other_wrong = ((each >= THRESHOLD) != positive for each in (score, other))
    within_class = [_or_nan(_rank_correlation, score[of], other[of]) for of in (positive, ~positive)]
    both = wrong & other_wrong
    return (
        float(np.mean(within_class)),
        _or_nan(cohen_kappa_score, score >= THRESHOLD, other >= THRESHOLD),
        _or_nan(_correlation, wrong, other_wrong),
        int((wrong & ~other_wrong).sum()),
        int((other_wrong & ~wrong).sum()),
        int(both.sum()),
        *(1 - float(np.mean([each[positive].mean(), each[~positive].mean()])) for each in (wrong, other_wrong, both)),
    )


def _or_nan(measure: Callable[[np.ndarray, np.ndarray], float], one: np.ndarray, two: np.ndarray) -> float:
    """Return a correlation or kappa; NaN where one of both is constant, so that it is not defined."""
    constant = len(np.unique(one)) < 2 or len(np.unique(two)) < 2
    return float("nan") if constant else float(measure(one, two))


def _rank_correlation(one: np.ndarray, two: np.ndarray) -> float:
    return float(spearmanr(one, two).statistic)


def _correlation(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.corrcoef(one, two)[0, 1])
