"""Calibration intercept and slope of clustered cells, and the recalibration curve with its band.

If logit P(positive) = a + b logit(score), a perfectly calibrated score has a = 0 and b = 1. A slope below 1 means
scores that are too extreme. The calibration intercept is that of the model with b = 1: above 0, the scores are too low
on average (Cox 1958, Biometrika 45:562; Van Calster et al. 2019, BMC Medicine 17:230).

Both models are fitted by maximum likelihood. The influence of a group on the coefficients is H^-1 sum x (y - p) over
its rows, with the information matrix H; the sum of their squares is the cluster-robust (sandwich) variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from leukobench.comparison.intervals import LEVEL, Estimate, Measured, SubjectGroups, interval_of
from leukobench.comparison.weighted_metrics import Scored

UNDECIDED = 0.3  # groups that are added to each class for an interval
_CLOSEST = 1e-6  # to 0 and to 1 that a score is taken for: the logit is finite
_MOST_STEPS = 50
_LARGEST = 50.0  # coefficient: beyond, the classes are separated and the likelihood has no maximum


@dataclass(frozen=True)
class Coefficients:
    """The coefficients of one of the two models.

    Attributes:
        values: With the slope fixed at 1, the calibration intercept alone; else the constant and the slope. NaN where
            the classes are separated, so that the likelihood has no maximum. [shape=(1,) or (2,)]
        influence: Influence of each group. [shape=(1 or 2, groups)]
        undecided: Influence of the undecided rows of each class, negative and positive. [shape=(1 or 2, 2)]
    """

    values: np.ndarray
    influence: np.ndarray
    undecided: np.ndarray


def calibration_intercept(rows: Scored) -> Measured:
    """Return the calibration intercept: log odds that are missing in the scores on average."""
    fitted = fit(rows, slope=False)
    return Measured(float(fitted.values[0]), fitted.influence[0])


def calibration_slope(rows: Scored) -> Measured:
    """Return the calibration slope."""
    fitted = fit(rows)
    return Measured(float(fitted.values[1]), fitted.influence[1])


def coefficient_interval(
    repeats: Sequence[Scored], groups: SubjectGroups, *, slope: bool, level: float = LEVEL
) -> Estimate:
    """Return the calibration slope, or the calibration intercept, with its confidence interval.

    With few groups both are biased away from 0. So, for the interval alone, each class is given `UNDECIDED` further
    groups of average size with the scores of the class, half of whose cells are positive.

    Args:
        repeats: The scored rows, of each repeat of a cross-validation; the mean over the repeats is estimated.
        groups: The subject groups.
        slope: Whether the slope is wanted, else the intercept.
        level: Confidence level.
    """
    value = float(np.mean([fit(rows, slope=slope).values[-1] for rows in repeats]))
    widened = [fit(rows, slope=slope, added=added_share(groups)) for rows in repeats]
    mean = Coefficients(*(np.mean([getattr(each, name) for each in widened], axis=0) for name in _FIELDS))
    if np.isnan([value, mean.values[-1]]).any() or min(groups.of_class) < 2:
        return Estimate(value)
    parts = _parts(mean, np.eye(len(mean.values))[-1], groups)
    return interval_of(value, float(mean.values[-1]), parts, level).with_value()


def recalibration_curve(
    rows: Scored, groups: SubjectGroups, score: np.ndarray, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the share of positives that the fitted model expects at some scores, and its pointwise band.

    Args:
        rows: The scored rows.
        groups: The subject groups.
        score: Scores. [shape=(k,)]
        level: Confidence level of the band.

    Returns:
        The curve and the lower and upper edge of its band, or None where the classes are separated, or one of them has
        a single group. [each of shape=(k,)]
    """
    plain, widened = fit(rows), fit(rows, added=added_share(groups))
    if np.isnan([*plain.values, *widened.values]).any() or min(groups.of_class) < 2:
        return None
    columns = np.column_stack([np.ones(len(score)), _logit(score)])
    bands = [
        interval_of(
            float(row @ plain.values), float(row @ widened.values), _parts(widened, row, groups), level
        ).with_value()
        for row in columns
    ]
    return expit(columns @ plain.values), expit([each.low for each in bands]), expit([each.high for each in bands])


_FIELDS = ("values", "influence", "undecided")


def added_share(groups: SubjectGroups) -> tuple[float, float]:
    """Return the weight of undecided rows, of the negative and of the positive class, relative to the rows."""
    positives, negatives = groups.of_class
    return UNDECIDED / max(1, negatives), UNDECIDED / max(1, positives)


def fit(rows: Scored, *, slope: bool = True, added: tuple[float, float] = (0.0, 0.0)) -> Coefficients:
    """Fit one of the models of the module docstring by Newton's method.

    Args:
        rows: The scored rows.
        slope: Whether the slope is fitted, else it is 1.
        added: Weight of rows that are added as undecided copies, half positive, of those of the negative and of the
            positive class.
    """
    x = _logit(rows.score)
    columns = np.column_stack([np.ones(len(x)), x]) if slope else np.ones((len(x), 1))
    offset = np.zeros(len(x)) if slope else x
    copied = np.where(rows.positive, added[1], added[0])
    beta = np.zeros(columns.shape[1])
    for _ in range(_MOST_STEPS):
        p = expit(offset + columns @ beta)
        own, copies = columns * (rows.positive - p)[:, None], columns * (copied * (0.5 - p))[:, None]
        information = columns.T @ (columns * ((1 + copied) * p * (1 - p))[:, None])
        try:
            step = np.linalg.solve(information, (own + copies).sum(axis=0))
        except np.linalg.LinAlgError:
            break
        beta += step
        if np.abs(beta).max() > _LARGEST:
            break
        if np.abs(step).max() < 1e-10:
            by_group = np.stack([rows.sums(column) for column in own.T])
            by_class = np.stack([copies[rows.positive == of].sum(axis=0) for of in (False, True)], axis=1)
            return Coefficients(beta, np.linalg.solve(information, by_group), np.linalg.solve(information, by_class))
    return Coefficients(np.full(len(beta), np.nan), np.zeros((len(beta), rows.groups)), np.zeros((len(beta), 2)))


def _parts(fitted: Coefficients, combination: np.ndarray, groups: SubjectGroups) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the influences on a linear combination of the coefficients, and the shares, of each class."""
    influence, undecided, share = combination @ fitted.influence, combination @ fitted.undecided, groups.share(False)
    return [
        (
            np.append(influence[groups.positive == of], undecided[int(of)]),
            np.append(share[groups.positive == of], added) / (1 + added),
        )
        for of, added in zip((False, True), added_share(groups), strict=True)
    ]


def _logit(score: np.ndarray) -> np.ndarray:
    return logit(np.clip(score, _CLOSEST, 1 - _CLOSEST))
