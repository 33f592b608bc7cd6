"""Confidence intervals and tests for any scores with subject labels, by the bootstrap that `compare` uses."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.comparison.bootstrap import FEW_GROUPS, LEVEL, RESAMPLES, Draws, Estimate, draw_groups
from leukobench.comparison.resampled_metrics import SCORE_METRICS, THRESHOLDED_METRICS, Scored, one_metric
from leukobench.core.errors import InputError
from leukobench.core.text import counted
from leukobench.results.metrics import THRESHOLD

METRICS = (*SCORE_METRICS, *THRESHOLDED_METRICS)
PROBABILITY_METRICS = ("brier", "calibration_error")  # these take probabilities; the others take any finite score


@dataclass(frozen=True)
class ScoreDifference(Estimate):
    """The difference of a metric between two sets of scores, with its confidence interval and p-value.

    Attributes:
        value: The metric of the first scores minus that of the second.
        low: Lower end of the interval.
        high: Upper end of the interval.
        p: Two-sided p-value of no difference, not corrected for multiple tests.
    """

    p: float

    def __str__(self) -> str:
        return f"{super().__str__()}, p = {self.p:.3f}"


def bootstrap_metric(
    y: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike,
    metric: str = "auroc",
    *,
    threshold: float = THRESHOLD,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Estimate:
    """Compute a metric with a subject-level bootstrap confidence interval.

    Whole subject groups are drawn with replacement, as many of each class as there are; a group is of the positive
    class if at least half of its rows are. The interval is bias-corrected and accelerated (BCa):
    its ends are the quantiles of the resampled metric at Phi(z0 + (z0 + z) / (1 - a (z0 + z))), with
    z = Phi^-1((1 - level) / 2) and Phi^-1((1 + level) / 2), z0 the median bias, and a the acceleration from leaving out
    each group once.

    The interval is approximate. With few subject groups in a class (fewer than about ten) it is too narrow: it contains
    the true value less often than `level` says. A `UserWarning` then tells the number of groups. With one
    group in each class it has no width at all. It holds for subjects like these, not for another laboratory's images.

    Args:
        y: Class of each row: 1 or True (positive) and 0 or False, or the labels `all` (positive) and `hem`.
            [shape=(n,)]
        score: Score of each row; a higher score speaks for the positive class. A probability for `brier` and
            `calibration_error`, else any finite number. [shape=(n,)]
        groups: Subject, or subject group, of each row. [shape=(n,)]
        metric: `auroc`, `average_precision`, `brier`, `calibration_error`, or, at the threshold, `accuracy`,
            `balanced_accuracy`, `sensitivity`, `specificity`, `precision`, `f1`, `weighted_f1` or `matthews`.
        threshold: A score of at least this predicts the positive class.
        resamples: Number of resamples.
        level: Confidence level, between 0 and 1.
        seed: Random seed.

    Returns:
        `value`, `low` and `high`, without a unit.

    Raises:
        InputError: arguments of different lengths or more than one dimension, other classes, one class only, a score
            that is missing or no probability where one is needed, a missing group, or an unknown metric.

    Source:
        Field, C. A. & Welsh, A. H. (2007). Bootstrapping clustered data. J. R. Stat. Soc. B 69:369.
        Efron, B. (1987). Better bootstrap confidence intervals. J. Am. Stat. Assoc. 82:171.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> subject = np.repeat(np.arange(40), 10)  # 40 subjects with 10 cells each
        >>> y = subject % 2
        >>> score = rng.normal(size=40)[subject] + rng.normal(size=400) + 2 * y
        >>> print(bootstrap_metric(y, score, subject))
        0.916 (0.857 to 0.954)
    """
    positive, group = _classes_and_groups(y, groups)
    rows = _checked_scores(score, "score", len(positive), metric)
    draws = _draws(positive, group, metric, resamples, level, seed)
    return draws.estimate(_under_weights(positive, rows, group, draws, metric, threshold), level)


def compare_scores(
    y: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike,
    *,
    metric: str = "auroc",
    threshold: float = THRESHOLD,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> ScoreDifference:
    """Compute the difference of a metric between two sets of scores for the same rows, and test it.

    Both metrics are computed on the same resamples of subject groups, which makes the test paired. The interval is the
    BCa interval of the difference, see `bootstrap_metric`. The p-value is 1 minus the level of the BCa interval that
    just reaches zero. With few subject groups in a class (fewer than about ten) the interval is too narrow and the
    p-value too small. The p-value is not corrected for multiple tests.

    Args:
        y: Class of each row, see `bootstrap_metric`. [shape=(n,)]
        a: The first scores. [shape=(n,)]
        b: The second scores. [shape=(n,)]
        groups: Subject, or subject group, of each row. [shape=(n,)]
        metric: Name of the metric, see `bootstrap_metric`.
        threshold: A score of at least this predicts the positive class.
        resamples: Number of resamples.
        level: Confidence level, between 0 and 1.
        seed: Random seed.

    Returns:
        `value` (metric of `a` minus metric of `b`), `low`, `high` and `p`.

    Raises:
        InputError: see `bootstrap_metric`.

    Source:
        See `bootstrap_metric`.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> subject = np.repeat(np.arange(40), 10)  # 40 subjects with 10 cells each
        >>> y = subject % 2
        >>> a = rng.normal(size=400) + 2 * y
        >>> b = rng.normal(size=400) + y
        >>> difference = compare_scores(y, a, b, subject)
        >>> print(f"{difference.value:.2f} ({difference.low:.2f} to {difference.high:.2f})")
        0.18 (0.12 to 0.23)
        >>> difference.p < 0.05
        True
    """
    positive, group = _classes_and_groups(y, groups)
    both = [_checked_scores(score, name, len(positive), metric) for name, score in (("a", a), ("b", b))]
    draws = _draws(positive, group, metric, resamples, level, seed)
    first, second = (_under_weights(positive, score, group, draws, metric, threshold) for score in both)
    return ScoreDifference(**vars(draws.estimate(first - second, level)), p=draws.p_value(first - second))


def _under_weights(
    positive: np.ndarray, score: np.ndarray, group: pd.Series, draws: Draws, metric: str, threshold: float
) -> np.ndarray:
    """Return the metric under each row of `Draws.weights`."""
    rows = Scored(positive, score, draws.number(group), len(draws.groups))
    return one_metric(rows, draws.weights, metric, threshold)


def _draws(positive: np.ndarray, group: pd.Series, metric: str, resamples: int, level: float, seed: int) -> Draws:
    """Draw the subject groups, and warn where a class has few of them."""
    if metric not in METRICS:
        raise InputError(f"metric {metric!r}: is unknown; choose one of {', '.join(METRICS)}")
    if resamples < 1:
        raise InputError(f"resamples {resamples}: must be at least 1")
    if not 0 < level < 1:
        raise InputError(f"level {level}: must lie between 0 and 1, such as 0.95")
    draws = draw_groups(pd.Series(np.where(positive, POSITIVE, NEGATIVE)), group, resamples=resamples, seed=seed)
    number = {"positive": int(draws.positive.sum()), "negative": int((~draws.positive).sum())}
    few = {name: count for name, count in number.items() if count < FEW_GROUPS}
    if few:
        groups = " and ".join(f"{counted(count, 'subject group')} of the {name} class" for name, count in few.items())
        warnings.warn(f"only {groups}: the interval is too narrow", UserWarning, stacklevel=3)
    return draws


def _classes_and_groups(y: ArrayLike, groups: ArrayLike) -> tuple[np.ndarray, pd.Series]:
    """Return which rows are positive, and the subject group of each row."""
    classes = _column(y, "y")
    group = pd.Series(_column(groups, "groups"))
    _refuse_other_length(len(group), "groups", len(classes))
    if pd.isna(classes).any() or group.isna().any():
        raise InputError(f"{'groups' if group.isna().any() else 'y'}: a value is missing; leave that row out")
    if not len(classes):
        raise InputError("y: is empty; give one class for each row")
    values = set(classes.tolist())
    known: Mapping[object, bool] = {0: False, 1: True, NEGATIVE: False, POSITIVE: True}  # False == 0, True == 1
    unknown = sorted(map(str, values - set(known)))
    if unknown:
        raise InputError(f"y: {unknown[0]!r} is no class; give 0 and 1, or {NEGATIVE!r} and {POSITIVE!r}")
    positive = np.array([known[value] for value in classes.tolist()], bool)
    if positive.all() or not positive.any():
        raise InputError(f"y: has one class only ({values.pop()!r}); a comparison of classes takes both")
    return positive, group


def _checked_scores(score: ArrayLike, name: str, rows: int, metric: str) -> np.ndarray:
    """Return scores as numbers, or refuse them."""
    try:
        values = _column(score, name).astype(float)
    except (TypeError, ValueError):
        raise InputError(f"{name}: has a value that is no number") from None
    _refuse_other_length(len(values), name, rows)
    if not np.isfinite(values).all():
        wrong = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(f"{name}: is missing or not finite in row {wrong}; leave that row out")
    if metric in PROBABILITY_METRICS and not ((values >= 0) & (values <= 1)).all():
        raise InputError(f"{name}: the metric {metric!r} takes probabilities from 0 to 1; calibrate the scores first")
    return values


def _column(values: ArrayLike, name: str) -> np.ndarray:
    try:
        column = np.asarray(values)
    except ValueError:  # rows of different lengths
        raise InputError(f"{name}: is no array; expected one value for each row") from None
    if column.ndim != 1:
        raise InputError(f"{name}: has the shape {column.shape}; expected one value for each row, shape (n,)")
    return column


def _refuse_other_length(length: int, name: str, rows: int) -> None:
    if length != rows:
        raise InputError(f"{name}: has {counted(length, 'row')}, y has {rows:,}; give one value for each row")
