"""Tests of the difference between two runs on the same rows.

Subject groups are the independent observations, so the test of a difference swaps the two runs for whole groups.
DeLong's and McNemar's tests take each cell as independent; with clustered cells they reject a true null hypothesis far
too often and are listed only because other studies report them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata
from scipy.stats import t as student

from leukobench.comparison.intervals import LEVEL, Measured, SubjectGroups

MARGIN = 0.05  # of equivalence, in units of the metric
POWER = 0.8
SWAPS = 9_999
_MOST_EXACT = 13  # groups: up to so many, all swaps are computed
_CHUNK = 2_000_000  # numbers in a temporary array


@dataclass(frozen=True)
class Detectable:
    """What a comparison of two runs could show on this cohort.

    Attributes:
        difference: The smallest true difference that a two-sided test at 5% finds with a power of 80%.
        equivalent: Whether the 90% interval of the difference lies within the margin, so that a difference as large as
            the margin is excluded by two one-sided tests at 5% (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657).
        margin: The margin.
    """

    difference: float
    equivalent: bool
    margin: float


def swap_test(contributions: np.ndarray, seed: int = 0) -> float:
    """Test whether two runs have the same AUROC, by swapping their ranks for whole subject groups.

    Under the null hypothesis the two ranks of a cell are exchangeable. All cells of a group are swapped together,
    because they are not independent. The p-value is the share of swaps whose difference is at least as large as the
    observed one: of all swaps with up to 13 groups, else of 9,999 random ones and the observed one (Phipson & Smyth
    2010, Stat. Appl. Genet. Mol. Biol. 9:39).

    Args:
        contributions: See `leukobench.comparison.auroc.swap_contributions`. [shape=(groups,)]
        seed: Random seed.

    Returns:
        The two-sided p-value.
    """
    signs = 1.0 - 2.0 * swaps(len(contributions), seed)
    return share_at_least(float(contributions.sum()), signs @ contributions, len(signs) < SWAPS)


def swap_test_of(metric: Callable[[np.ndarray], np.ndarray], groups: int, seed: int = 0) -> float:
    """Test whether two runs have the same value of any metric, by swapping them for whole subject groups.

    Args:
        metric: Function from weights of the groups, of those of the first run and then those of the second
            [shape=(k, 2 * groups)], to the metric [shape=(k,)].
        groups: Number of groups.
        seed: Random seed.
    """
    swapped = swaps(groups, seed)
    differences = []
    for chosen in np.array_split(swapped, max(1, swapped.size // _CHUNK)):
        first, second = np.hstack([1 - chosen, chosen]), np.hstack([chosen, 1 - chosen])
        differences.append(metric(first) - metric(second))
    once = np.hstack([np.ones((1, groups)), np.zeros((1, groups))])
    observed = float((metric(once) - metric(np.roll(once, groups, axis=1)))[0])
    return share_at_least(observed, np.concatenate(differences), len(swapped) < SWAPS)


@functools.lru_cache(maxsize=4)  # all pairs of a comparison have the same groups
def swaps(groups: int, seed: int) -> np.ndarray:
    """Return which groups are swapped (1): every combination of few groups, else random. [shape=(k, groups)]"""
    if groups <= _MOST_EXACT:
        return (np.arange(2**groups)[:, None] >> np.arange(groups) & 1).astype(float)
    return np.random.default_rng(seed).integers(0, 2, (SWAPS, groups)).astype(float)


def share_at_least(observed: float, permuted: np.ndarray, complete: bool) -> float:
    """Return the share of permuted differences that are at least as large as the observed one, in absolute value."""
    if np.isnan(observed):
        return float("nan")
    as_large = int((np.abs(permuted) >= abs(observed) - 1e-12).sum())
    return as_large / len(permuted) if complete else (as_large + 1) / (len(permuted) + 1)


def detectable(
    difference: Measured, groups: SubjectGroups, *, equal: bool = False, margin: float = MARGIN
) -> Detectable:
    """Return which difference this cohort could have shown, and whether the runs are equivalent; see `Detectable`."""
    error, freedom = groups.standard_error(difference.influence, equal=equal)
    reach = float((student.ppf((1 + LEVEL) / 2, freedom) + student.ppf(POWER, freedom)) * error) if error else 0.0
    within = groups.interval(difference, equal=equal, level=2 * LEVEL - 1)
    return Detectable(reach, -margin < within.low and within.high < margin, margin)


def delong(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """Compare two AUROCs by DeLong's test.

    For each positive, the share of negatives with a lower score, and for each negative, the share of positives with a
    higher score (a tie counts half): the covariances of these shares give the variance of the difference. The test
    assumes independent rows. The cells of one subject are not independent, and the p-value is then too small.

    Source: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; by midranks, Sun & Xu 2014, IEEE Signal Process.
    Lett. 21:1389.

    Args:
        positive: Which rows are positive. [shape=(n,), bool]
        first: Score of the first run. [shape=(n,)]
        second: Score of the second run. [shape=(n,)]

    Returns:
        The first AUROC minus the second, its standard error, and the two-sided p-value; NaN for the latter two where a
        class has fewer than two rows, so that there is no variance.
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


def mcnemar(first_correct: np.ndarray, second_correct: np.ndarray) -> tuple[int, int, float]:
    """Compare which rows two runs classify correctly, by McNemar's exact test as statsmodels has it.

    Of the rows that only one run classifies correctly, each run has half if both are equally good: a two-sided binomial
    test (McNemar 1947, Psychometrika 12:153). It assumes independent rows, as `delong` does.

    Args:
        first_correct: Which rows the first run classifies correctly. [shape=(n,), bool]
        second_correct: The same for the second run. [shape=(n,), bool]

    Returns:
        The number of rows that only the first, and only the second, run classifies correctly, and the p-value.
    """
    from statsmodels.stats import contingency_tables  # here, because statsmodels takes half a second to import

    first_only = int((first_correct & ~second_correct).sum())
    second_only = int((second_correct & ~first_correct).sum())
    # the test ignores the rows on which both runs agree
    found = contingency_tables.mcnemar([[0, first_only], [second_only, 0]], exact=True)
    return first_only, second_only, float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of several tests by Holm's method (1979, Scand. J. Stat. 6:65), as statsmodels has it.

    It controls the family-wise error rate: the probability of any false positive among the tests.
    """
    if not len(p_values):
        return []
    from statsmodels.stats.multitest import multipletests  # here, because statsmodels takes half a second to import

    return multipletests(p_values, method="holm")[1].tolist()
