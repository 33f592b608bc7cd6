"""Tests of the difference between two runs on the same rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, norm, rankdata, t

from leukobench.comparison.bootstrap import LEVEL


def delong(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Compare two AUROCs by DeLong's test.

    Each positive's share of negatives that it outscores, and each negative's share of positives that outscore it
    (ties half), are averages whose covariances give the variance of the difference. It takes rows as independent of
    each other, which the cells of one person are not: its p-value is then too small.

    Source: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; by midranks, Sun & Xu 2014, IEEE Signal Process.
    Lett. 21:1389.

    Args:
        positive: Which rows are positive. [shape=(n,), bool]
        first: Score of the first run. [shape=(n,)]
        second: Score of the second run. [shape=(n,)]

    Returns:
        The first AUROC less the second, its standard error, and the two-sided p-value; NaN for the latter two where a
        class has fewer than two rows, which have no variance.
    """
    positives, negatives = int(positive.sum()), int((~positive).sum())
    of_positives, of_negatives = np.empty((2, positives)), np.empty((2, negatives))
    for number, score in enumerate((first, second)):
        rank = rankdata(score)
        of_positives[number] = (rank[positive] - rankdata(score[positive])) / negatives
        of_negatives[number] = 1 - (rank[~positive] - rankdata(score[~positive])) / positives
    difference = float(of_positives[0].mean() - of_positives[1].mean())
    if min(positives, negatives) < 2:
        return difference, float("nan"), float("nan")
    covariance = np.cov(of_positives) / positives + np.cov(of_negatives) / negatives
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    error = np.sqrt(max(variance, 0.0))
    if error < 1e-12:  # the same order of scores: no difference and no variance
        return difference, 0.0, 1.0 if abs(difference) < 1e-12 else 0.0
    return difference, float(error), float(2 * norm.sf(abs(difference) / error))


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> tuple[int, int, float]:
    """Compare which rows two runs call rightly, by McNemar's exact test.

    Of the rows that only one of the two calls rightly, half would be the first's were they equally good: a two-sided
    binomial test (McNemar 1947, Psychometrika 12:153). It takes rows as independent of each other.

    Args:
        first_right: Which rows the first run calls rightly. [shape=(n,), bool]
        second_right: The same of the second run. [shape=(n,), bool]

    Returns:
        How many rows only the first, and only the second, calls rightly, and the p-value.
    """
    first_only, second_only = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    if first_only + second_only == 0:
        return 0, 0, 1.0
    return first_only, second_only, float(binomtest(first_only, first_only + second_only).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values of several tests so that the chance of any false finding stays at the level.

    The smallest is multiplied by the number of tests, the next by one less, and so on; none becomes smaller than one
    before it, or larger than 1 (Holm 1979, Scand. J. Stat. 6:65).
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values, float)[order] * factors))
    result = np.empty(len(p_values))
    result[order] = corrected
    return result.tolist()


def corrected_resampled_interval(differences: np.ndarray, test_to_train: float) -> tuple[float, float]:
    """Return the 95% interval of a mean difference over repeated splits of one cohort.

    Such splits share most of their training rows, so that their differences are no independent observations. The
    corrected resampled t-test widens their mean's variance from 1/k to (1/k + test/train) times their variance
    (Nadeau & Bengio 2003, Machine Learning 52:239).

    Args:
        differences: One a split. [shape=(k,), k >= 2]
        test_to_train: Test images a training image.
    """
    number = len(differences)
    error = np.sqrt((1 / number + test_to_train) * np.var(differences, ddof=1))
    reach = t.ppf((1 + LEVEL) / 2, number - 1) * error
    return float(np.mean(differences) - reach), float(np.mean(differences) + reach)
