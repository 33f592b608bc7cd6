"""Subject-level (cluster) bootstrap confidence intervals and tests.

The cells of one subject are not independent observations. So whole subject groups are drawn with replacement,
separately for each class: the cluster bootstrap (Field & Welsh 2007, J. R. Stat. Soc. B 69:369). A group counts as
often as it was drawn, and every metric is a function of those counts, so that all resamples are computed at once; see
`leukobench.comparison.resampled_metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from leukobench.cohort.manifest import POSITIVE
from leukobench.results.resampling import draw_counts, positive_groups

RESAMPLES = 2000
LEVEL = 0.95
FEW_GROUPS = 10  # with fewer subject groups in a class the intervals are too narrow


@dataclass(frozen=True)
class Estimate:
    """The value of a metric, or of a difference of metrics, with its confidence interval.

    Attributes:
        value: The metric on all rows.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Draws:
    """Subject groups drawn with replacement, separately for each class, and each group left out once.

    Attributes:
        groups: Name of each group, sorted.
        positive: Which groups are of the positive class: at least half of their rows are. [shape=(groups,), bool]
        counts: How often each group was drawn. [shape=(resamples, groups), float]
        left_out: The jackknife: ones, but zero where the group of that number is left out. [shape=(groups, groups)]
    """

    groups: pd.Index
    positive: np.ndarray
    counts: np.ndarray
    left_out: np.ndarray

    def number(self, group: pd.Series) -> np.ndarray:
        """Return the number of each row's group. [shape=(n,), int]"""
        return self.groups.get_indexer(group)

    @property
    def weights(self) -> np.ndarray:
        """Weights under which a metric is computed: all groups once, then `counts`, then `left_out`.

        [shape=(1 + resamples + groups, groups)]
        """
        return np.vstack([np.ones(len(self.groups)), self.counts, self.left_out])

    def estimate(self, values: np.ndarray, level: float = LEVEL) -> Estimate:
        """Return a metric, or a difference, with its BCa interval; see `bca_interval`.

        Args:
            values: The metric under each row of `weights`. [shape=(1 + resamples + groups,)]
            level: Confidence level.
        """
        return Estimate(float(values[0]), *bca_interval(*self._parts(values), level=level))

    def p_value(self, values: np.ndarray) -> float:
        """Return the two-sided p-value of no difference, see `bca_p_value`; the arguments are those of `estimate`."""
        return bca_p_value(*self._parts(values))

    def _parts(self, values: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        end = 1 + len(self.counts)
        return float(values[0]), values[1:end], values[end:], self.positive


def draw_groups(label: pd.Series, group: pd.Series, *, resamples: int = RESAMPLES, seed: int = 0) -> Draws:
    """Draw subject groups with replacement, as many of each class as there are.

    Args:
        label: `all` or `hem` of each row.
        group: Subject group of each row.
        resamples: Number of resamples.
        seed: Random seed. Two runs on the same rows with the same seed get the same resamples: the test is paired.
    """
    rng = np.random.default_rng(seed)
    codes, groups = pd.factorize(group, sort=True)
    positive = positive_groups((label == POSITIVE).to_numpy(), codes)
    counts = draw_counts(positive, resamples, rng)
    return Draws(pd.Index(groups), positive, counts, 1 - np.eye(len(groups)))


def bca_interval(
    estimate: float, resampled: np.ndarray, jackknife: np.ndarray, positive: np.ndarray, level: float = LEVEL
) -> tuple[float, float]:
    """Return the bias-corrected and accelerated (BCa) interval (Efron 1987, J. Am. Stat. Assoc. 82:171).

    Its ends are the quantiles of the resampled estimates at Phi(z0 + (z0 + z) / (1 - a (z0 + z))), z = Phi^-1(0.025)
    and Phi^-1(0.975) for a level of 0.95, with the median bias z0 = Phi^-1(share of resampled estimates below the
    estimate) and the acceleration a, the skewness of the jackknife over the groups of both classes.

    Args:
        estimate: The metric on all rows.
        resampled: The metric under `Draws.counts`; NaN where it is not defined. [shape=(resamples,)]
        jackknife: The metric under `Draws.left_out`. [shape=(groups,)]
        positive: Which groups are of the positive class. [shape=(groups,), bool]
        level: Confidence level.
    """
    resampled = resampled[~np.isnan(resampled)]
    if not len(resampled):
        return float("nan"), float("nan")
    bias, acceleration = _bias(estimate, resampled), _acceleration(jackknife, positive)
    shifted = bias + norm.ppf([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(resampled, norm.cdf(bias + shifted / (1 - acceleration * shifted)))
    return float(low), float(high)


def bca_p_value(difference: float, resampled: np.ndarray, jackknife: np.ndarray, positive: np.ndarray) -> float:
    """Return the two-sided p-value of no difference: 1 minus the level of the BCa interval that just reaches zero.

    It is never smaller than the number of resamples can resolve. The arguments are those of `bca_interval`.
    """
    resampled = resampled[~np.isnan(resampled)]
    if not len(resampled):
        return float("nan")
    bias, acceleration = _bias(difference, resampled), _acceleration(jackknife, positive)
    reach = norm.ppf(_share_below(0.0, resampled)) - bias
    tail = norm.cdf(reach / (1 + acceleration * reach) - bias)
    return float(min(1.0, 2 * min(tail, 1 - tail)))


def _share_below(value: float, resampled: np.ndarray) -> float:
    """Return the share of resampled estimates below a value, ties half, kept off 0 and 1 by half a resample."""
    share = np.mean(resampled < value) + np.mean(resampled == value) / 2
    return float(np.clip(share, 0.5 / len(resampled), 1 - 0.5 / len(resampled)))


def _bias(estimate: float, resampled: np.ndarray) -> float:
    return float(norm.ppf(_share_below(estimate, resampled)))


def _acceleration(jackknife: np.ndarray, positive: np.ndarray) -> float:
    """Return the acceleration of several samples, one for each class (Davison & Hinkley 1997, equation 5.25)."""
    third, second = 0.0, 0.0
    for of_class in (positive, ~positive):
        left_out = jackknife[of_class]
        left_out = left_out[~np.isnan(left_out)]
        if len(left_out) > 1:
            influence = (len(left_out) - 1) * (left_out.mean() - left_out)
            third += (influence**3).sum() / len(left_out) ** 3
            second += (influence**2).sum() / len(left_out) ** 2
    return third / (6 * second**1.5) if second > 1e-18 else 0.0
