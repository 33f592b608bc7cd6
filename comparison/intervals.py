"""Confidence intervals for metrics of cells that are clustered in subjects.

The cells of one subject are not independent observations; subject groups are. Every metric here comes with the
influence of each group: how much the metric changes per unit of weight that the group gains. For the AUROC, the sum of
the squared influences is the variance of Obuchowski (1997, Biometrics 53:567) for clustered data.

Groups differ much in size, and a class may have few of them. Three corrections keep the coverage near its nominal level
(`benchmarks/inference.py` measures it): each squared influence is divided by 1 minus the group's share of its class,
because the mean lies too close to large groups (HC2, MacKinnon & White 1985, J. Econometrics 29:305); the degrees of
freedom of each class take the unequal shares into account (Bell & McCaffrey 2002, Surv. Methodol. 28:169); and both
classes are combined by Satterthwaite (1946, Biometrics Bull. 2:110). Metrics from 0 to 1 are transformed to the logit
scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import t as student

from leukobench.cohort.manifest import POSITIVE
from leukobench.results.resampling import positive_groups

LEVEL = 0.95
UNDECIDED = 0.1  # groups that are added to each class for an interval, see `SubjectGroups.logit_interval`
FEW_GROUPS = 5  # with fewer subject groups in a class the coverage of an interval may be some percent too low


@dataclass(frozen=True)
class Estimate:
    """The value of a metric, or of a difference of metrics, with its confidence interval.

    Attributes:
        value: The metric on all rows.
        low: Lower end of the interval; NaN where there is no interval.
        high: Upper end of the interval. Where the value is 1 (or 0), `low` (or `high`) is an exact one-sided bound.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")

    def with_value(self) -> Estimate:
        """Return the same with an interval that reaches the value, if it does not contain it."""
        return Estimate(self.value, min(self.low, self.value), max(self.high, self.value))

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "-"
        if np.isnan(self.low):
            return f"{self.value:.3f}"
        if self.value == self.high == 1 > self.low:
            return f"{self.value:.3f} (at least {self.low:.3f})"
        if self.value == self.low == 0 < self.high:
            return f"{self.value:.3f} (at most {self.high:.3f})"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Measured:
    """The value of a metric, and the influence of each subject group on it.

    Attributes:
        value: The metric on all rows; NaN where it is not defined.
        influence: Derivative of the metric with respect to the weight of each group. [shape=(groups,)]
    """

    value: float
    influence: np.ndarray

    def __sub__(self, other: Measured) -> Measured:
        return Measured(self.value - other.value, self.influence - other.influence)

    @staticmethod
    def mean(measured: Sequence[Measured]) -> Measured:
        """Return the mean of a metric over the repeats of a cross-validation."""
        return Measured(
            float(np.mean([each.value for each in measured])), np.mean([each.influence for each in measured], axis=0)
        )


@dataclass(frozen=True)
class SubjectGroups:
    """The subject groups of some rows.

    Attributes:
        names: Name of each group, sorted.
        positive: Which groups are of the positive class: at least half of their rows are. [shape=(groups,), bool]
        cells: Number of rows of each group. [shape=(groups,), int]
    """

    names: pd.Index
    positive: np.ndarray
    cells: np.ndarray

    @classmethod
    def of(cls, label: pd.Series, group: pd.Series) -> SubjectGroups:
        """Return the groups of rows with these labels (`all` or `hem`) and names of groups."""
        number, names = pd.factorize(group, sort=True)
        positive = positive_groups((label == POSITIVE).to_numpy(), number)
        return cls(pd.Index(names), positive, np.bincount(number))

    def __len__(self) -> int:
        return len(self.names)

    def number(self, group: pd.Series) -> np.ndarray:
        """Return the number of each row's group. [shape=(n,), int]"""
        return self.names.get_indexer(group)

    @property
    def of_class(self) -> tuple[int, int]:
        """Number of positive and of negative groups."""
        return int(self.positive.sum()), int((~self.positive).sum())

    def share(self, equal: bool) -> np.ndarray:
        """Return the share of each group in its class: equal, or that of its rows. [shape=(groups,)]"""
        weight = np.ones(len(self)) if equal else self.cells.astype(float)
        return weight / np.where(self.positive, weight[self.positive].sum(), weight[~self.positive].sum())

    def standard_error(self, influence: np.ndarray, *, equal: bool = False) -> tuple[float, float]:
        """Return the standard error of a metric and its degrees of freedom; NaN where a class has one group.

        Args:
            influence: Influence of each group, see `Measured`.
            equal: Whether all groups of a class have the same weight in the metric, else each cell has.
        """
        return combined_error(self._by_class(influence, equal))

    def _by_class(self, influence: np.ndarray, equal: bool) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the influences and the shares of the groups of each class."""
        share = self.share(equal)
        return [(influence[members], share[members]) for members in (self.positive, ~self.positive)]

    def interval(self, measured: Measured, *, equal: bool = False, level: float = LEVEL) -> Estimate:
        """Return a confidence interval on the metric's own scale: value +- t * standard error.

        Args:
            measured: The metric.
            equal: See `standard_error`.
            level: Confidence level.
        """
        return interval_of(measured.value, measured.value, self._by_class(measured.influence, equal), level)

    def logit_interval(
        self,
        measured: Measured,
        *,
        classes: tuple[bool, ...] = (True, False),
        undecided: float = UNDECIDED,
        equal: bool = False,
        level: float = LEVEL,
        independent: int = 0,
    ) -> Estimate:
        """Return a confidence interval of a metric between 0 and 1, computed on the logit scale.

        Close to 0 and 1 the observed variance is too small. So each class is given `undecided` further groups of
        average size for which the metric is 1/2; this moves the middle of the interval and widens it, the value stays.
        An end that would not reach the value is put at the value.

        Args:
            measured: The metric.
            classes: Classes that the metric depends on: True for the positive one, False for the negative one.
            undecided: Number of groups that are added to each class, need not be whole.
            equal: See `standard_error`.
            level: Confidence level.
            independent: Number of independent observations that must all be right for a value of 1, for
                `separation_bound`; 0: no bound, a value of 0 or 1 has no interval.
        """
        value = measured.value
        if np.isnan(value):
            return Estimate(value)
        if not 1e-12 < value < 1 - 1e-12:
            value = float(round(value))
            if not independent:
                return Estimate(value)
            bound = separation_bound(independent, level)
            return Estimate(value, bound, 1.0) if value else Estimate(value, 0.0, 1 - bound)
        added = {of: undecided / max(1, (self.positive == of).sum()) for of in classes}  # in units of the class
        total = float(np.prod([1 + each for each in added.values()]))
        middle = (value + (total - 1) / 2) / total
        share, parts = self.share(equal), []
        for of, each in added.items():
            members = self.positive == of
            # of a group: its own influence, and what changes because the other class has undecided groups too
            moved = measured.influence[members] + (value - middle) * share[members]
            moved += (0.5 - middle) * (total / (1 + each) - 1) * share[members]
            influence = np.append(moved, (0.5 - middle) * each * total / (1 + each)) / total
            parts.append((influence, np.append(share[members], each) / (1 + each)))
            if members.sum() < 2:
                return Estimate(value)
        slope = 1 / (middle * (1 - middle))  # of the logit
        scaled = [(slope * each, of_class) for each, of_class in parts]
        on_logit = interval_of(float(logit(value)), float(logit(middle)), scaled, level)
        return Estimate(value, float(expit(on_logit.low)), float(expit(on_logit.high))).with_value()


def separation_bound(independent: int, level: float = LEVEL) -> float:
    """Return the exact one-sided lower bound of a metric that is 1 on all rows: (1 - level) ** (1 / k).

    If the metric's expected value is m, each of k independent observations is right throughout with a probability of at
    most m, all of them with at most m ** k (Clopper & Pearson 1934, Biometrika 26:404, for k successes of k). For
    sensitivity an observation is a subject group. For the AUROC it is a pair of a positive and a negative group; the
    largest number of pairs without a common group is that of the class with fewer groups.

    >>> round(separation_bound(12), 3)
    0.779
    """
    return float((1 - level) ** (1 / independent))


def interval_of(
    value: float, middle: float, classes: Sequence[tuple[np.ndarray, np.ndarray]], level: float = LEVEL
) -> Estimate:
    """Return a value with the interval middle +- t * standard error; the classes are those of `combined_error`."""
    error, freedom = combined_error(classes)
    reach = float(student.ppf((1 + level) / 2, freedom)) * error if error else 0.0
    return Estimate(value, middle - reach, middle + reach)


def combined_error(classes: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Return the standard error and its degrees of freedom from the influences of the groups of each class.

    Args:
        classes: Of each class, the influence of each group and its share in the class. [each of shape=(k,)]

    Returns:
        Both NaN where a class has one group.
    """
    variances, freedoms = [], []
    for influence, share in classes:
        if len(share) < 2:
            return float("nan"), float("nan")
        deviation = influence - influence.mean()
        variances.append(float((deviation**2 / (1 - share)).sum()))
        freedoms.append(_degrees_of_freedom(share))
    total = sum(variances)
    if total < 1e-20:  # the metric does not depend on the groups
        return 0.0, float(min(freedoms))
    return total**0.5, total**2 / sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))


def _degrees_of_freedom(share: np.ndarray) -> float:
    """Return the degrees of freedom of the HC2 variance of a weighted mean (Bell & McCaffrey 2002).

    The variance is a quadratic form x' M x in the values of the groups. For independent values of equal variance, twice
    its squared mean divided by its variance is tr(M)^2 / tr(M M). With equal shares this is the number of groups less
    1.

    Args:
        share: Share of each group in its class; they add up to 1. [shape=(k,)]
    """
    centering = np.eye(len(share)) - share  # row i: x_i minus the weighted mean
    form = centering.T @ (centering * (share**2 / (1 - share))[:, None])
    return float(np.trace(form) ** 2 / (form**2).sum())
