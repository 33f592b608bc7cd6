"""Confidence intervals and tests for any scores with subject labels, by the methods that `compare` uses."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import t as student

from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.comparison.auroc import auroc, rank_scores, swap_contributions
from leukobench.comparison.intervals import FEW_GROUPS, LEVEL, Estimate, Measured, SubjectGroups
from leukobench.comparison.measuring import AUROCS, COEFFICIENTS, EQUAL, estimate, measure_classes, measure_score
from leukobench.comparison.paired_tests import MARGIN, detectable, swap_test, swap_test_of
from leukobench.comparison.weighted_metrics import SCORE_METRICS, THRESHOLDED_METRICS, Scored, one_metric
from leukobench.core.errors import InputError
from leukobench.core.text import counted
from leukobench.results.metrics import THRESHOLD

METRICS = (*SCORE_METRICS, *THRESHOLDED_METRICS)
PROBABILITY_METRICS = ("brier", "calibration_intercept", "calibration_slope", "calibration_error")


@dataclass(frozen=True)
class ScoreDifference(Estimate):
    """The difference of a metric between two sets of scores, with its confidence interval and p-value.

    Attributes:
        value: The metric of the first scores minus that of the second.
        low: Lower end of the interval.
        high: Upper end of the interval.
        p: Two-sided p-value of no difference, not corrected for multiple tests.
        detectable: The smallest true difference that this test finds with a power of 80% on these subjects.
        equivalent: Whether the 90% interval lies within +-`margin`: a difference as large as the margin is excluded.
        margin: The margin of equivalence.
    """

    p: float = float("nan")
    detectable: float = float("nan")
    equivalent: bool = False
    margin: float = MARGIN

    def __str__(self) -> str:
        return f"{super().__str__()}, p = {self.p:.3f}"


def estimate_metric(
    y: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike,
    metric: str = "auroc",
    *,
    threshold: float = THRESHOLD,
    folds: ArrayLike | None = None,
    level: float = LEVEL,
) -> Estimate:
    """Compute a metric with a subject-level confidence interval.

    The cells of a subject are not independent, so the variance is that of whole subject groups: the sum over groups of
    influence^2 / (1 - share of the group in its class), where the influence is the derivative of the metric with
    respect to the weight of the group. For the AUROC this is Obuchowski's variance for clustered data with a correction
    for groups of unequal size. The interval is value +- t * standard error, on the logit scale for metrics from 0 to 1,
    with degrees of freedom after Satterthwaite and Bell & McCaffrey; see `leukobench.comparison.intervals`. A metric of
    1 (such as an AUROC at complete separation) has an exact one-sided lower bound instead.

    In simulations with the group sizes of C-NMC 2019, the 95% intervals of the AUROC contained the true value in 93 to
    98 of 100 cohorts, from 9 + 3 to 40 + 20 subject groups (`benchmarks/inference.py`). With fewer than five groups in
    a class a `UserWarning` tells their number; with one group in a class there is no interval (NaN). The interval is
    conditional on the trained model, and holds for subjects like these, not for another laboratory's images.

    Args:
        y: Class of each row: 1 or True (positive) and 0 or False, or the labels `all` (positive) and `hem`.
            [shape=(n,)]
        score: Score of each row; a higher score speaks for the positive class. A probability for `brier` and the
            metrics of calibration, else any finite number. [shape=(n,)]
        groups: Subject, or subject group, of each row. [shape=(n,)]
        metric: `auroc`; `subject_weighted_auroc` (all subject groups of a class have the same weight); `pooled_auroc`
            (pairs of cells from different folds count too); `average_precision`, `brier`, `calibration_intercept`,
            `calibration_slope`, `calibration_error` (without interval), or, at the threshold, `accuracy`,
            `balanced_accuracy`, `sensitivity`, `specificity`, `subject_sensitivity` and `subject_specificity` (subjects
            weighted equally), `precision`, `f1`, `weighted_f1` or `matthews`.
        threshold: A score of at least this predicts the positive class.
        folds: Fold in which each row was tested, if the scores come from a cross-validation: `auroc` and
            `subject_weighted_auroc` then compare cells within a fold only, because the scores of different models have
            no common scale. [shape=(n,)]
        level: Confidence level, between 0 and 1.

    Returns:
        `value`, `low` and `high`, without a unit.

    Raises:
        InputError: arguments of different lengths or more than one dimension, other classes, one class only, a score
            that is missing or no probability where one is needed, a missing group, or an unknown metric.

    Source:
        Obuchowski, N. A. (1997). Nonparametric analysis of clustered ROC curve data. Biometrics 53:567.
        Bell, R. M. & McCaffrey, D. F. (2002). Bias reduction in standard errors for linear regression with multi-stage
        samples. Surv. Methodol. 28:169.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> subject = np.repeat(np.arange(40), 10)  # 40 subjects with 10 cells each
        >>> y = subject % 2
        >>> score = rng.normal(size=40)[subject] + rng.normal(size=400) + 2 * y
        >>> print(estimate_metric(y, score, subject))
        0.916 (0.848 to 0.950)
        >>> print(estimate_metric(y, 9.0 * y, subject))  # complete separation: (1 - 0.95) ** (1 / 20)
        1.000 (at least 0.861)
    """
    positive, group = _classes_and_groups(y, groups)
    rows = _scored(positive, _checked_scores(score, "score", len(positive), metric), group, folds, metric, level)
    clusters = _clusters(positive, group)
    return estimate(metric, _measured(rows, metric, threshold), clusters, [rows], level)


def bootstrap_metric(*arguments: Any, **settings: Any) -> Estimate:
    """Compute a metric with a subject-level confidence interval: the former name of `estimate_metric`.

    The bootstrap intervals of earlier versions were too narrow with few subjects, so that they are no longer offered;
    the settings `resamples` and `seed` are ignored. See `estimate_metric` for arguments, errors and source.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     print(bootstrap_metric([0, 0, 1, 1, 0, 1], [0.1, 0.3, 0.2, 0.9, 0.4, 0.8], list("abcdef")))
        0.778 (0.052 to 0.995)
    """
    warnings.warn("bootstrap_metric is now estimate_metric", DeprecationWarning, stacklevel=2)
    return estimate_metric(*arguments, **{name: value for name, value in settings.items() if name not in _IGNORED})


_IGNORED = ("resamples", "seed")


def compare_scores(
    y: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike,
    *,
    metric: str = "auroc",
    threshold: float = THRESHOLD,
    folds: ArrayLike | None = None,
    margin: float = MARGIN,
    level: float = LEVEL,
    seed: int = 0,
) -> ScoreDifference:
    """Compute the difference of a metric between two sets of scores for the same rows, and test it.

    The interval is that of `estimate_metric` for the difference, on its own scale. The p-value comes from a permutation
    test: the two scores (as ranks within folds for the AUROC and the average precision) are swapped for whole subject
    groups, and the p-value is the share of swaps with a difference at least as large as the observed one. With few
    groups the interval is wider than the test suggests, so that it may contain zero while p is below 0.05; the p-value
    decides. In simulations of two equal models it was below 0.05 in 2 to 7 of 100 cohorts (`benchmarks/inference.py`).
    The two calibration coefficients have the p-value of the t-test instead.

    Args:
        y: Class of each row, see `estimate_metric`. [shape=(n,)]
        a: The first scores. [shape=(n,)]
        b: The second scores. [shape=(n,)]
        groups: Subject, or subject group, of each row. [shape=(n,)]
        metric: Name of the metric, see `estimate_metric`.
        threshold: A score of at least this predicts the positive class.
        folds: Fold in which each row was tested, see `estimate_metric`. [shape=(n,)]
        margin: Margin of equivalence, in units of the metric.
        level: Confidence level.
        seed: Random seed of the swaps.

    Returns:
        `value` (metric of `a` minus metric of `b`), `low`, `high`, `p`, `detectable`, `equivalent` and `margin`.

    Raises:
        InputError: see `estimate_metric`.

    Source:
        Phipson, B. & Smyth, G. K. (2010). Permutation p-values should never be zero. Stat. Appl. Genet. Mol. Biol.
        9:39. Schuirmann, D. J. (1987). A comparison of the two one-sided tests procedure. J. Pharmacokinet. Biopharm.
        15:657.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> subject = np.repeat(np.arange(40), 10)  # 40 subjects with 10 cells each
        >>> y = subject % 2
        >>> a = rng.normal(size=400) + 2 * y
        >>> b = rng.normal(size=400) + y
        >>> difference = compare_scores(y, a, b, subject)
        >>> print(f"{difference.value:.2f} ({difference.low:.2f} to {difference.high:.2f})")
        0.18 (0.13 to 0.24)
        >>> difference.p < 0.05
        True
    """
    positive, group = _classes_and_groups(y, groups)
    first, second = (
        _scored(positive, _checked_scores(score, name, len(positive), metric), group, folds, metric, level)
        for score, name in ((a, "a"), (b, "b"))
    )
    clusters = _clusters(positive, group)
    difference = _measured(first, metric, threshold) - _measured(second, metric, threshold)
    equal = metric in EQUAL
    could = detectable(difference, clusters, equal=equal, margin=margin)
    return ScoreDifference(
        **vars(clusters.interval(difference, equal=equal, level=level)),
        p=_p_value(first, second, difference, clusters, metric, threshold, seed),
        detectable=could.difference,
        equivalent=could.equivalent,
        margin=margin,
    )


def _measured(rows: Scored, metric: str, threshold: float) -> Measured:
    if metric in THRESHOLDED_METRICS:
        return measure_classes(rows, threshold)[metric]
    found = measure_score(rows)
    return found["auroc" if metric == "pooled_auroc" and rows.fold is None else metric]


def _p_value(
    first: Scored,
    second: Scored,
    difference: Measured,
    clusters: SubjectGroups,
    metric: str,
    threshold: float,
    seed: int,
) -> float:
    """Return the p-value of a difference by swapping subject groups; by the t-test for the calibration coefficients."""
    if metric in AUROCS:
        if metric == "pooled_auroc":
            first, second = dataclasses.replace(first, fold=None), dataclasses.replace(second, fold=None)
        return swap_test(swap_contributions(first, second, equal=metric in EQUAL), seed)
    if metric in COEFFICIENTS:
        error, freedom = clusters.standard_error(difference.influence)
        return float(2 * student.sf(abs(difference.value) / error, freedom)) if error else 1.0
    ranked = metric == "average_precision"
    score = [rank_scores(each) if ranked else each.score for each in (first, second)]
    both = Scored(
        np.tile(first.positive, 2),
        np.concatenate(score),
        np.concatenate([first.group, first.group + first.groups]),
        2 * first.groups,
    )
    return swap_test_of(lambda weights: one_metric(both, weights, metric, threshold), first.groups, seed)


def _scored(
    positive: np.ndarray, score: np.ndarray, group: pd.Series, folds: ArrayLike | None, metric: str, level: float
) -> Scored:
    if metric not in METRICS:
        raise InputError(f"metric {metric!r}: is unknown; choose one of {', '.join(METRICS)}")
    if not 0 < level < 1:
        raise InputError(f"level {level}: must lie between 0 and 1, such as 0.95")
    fold = None
    if folds is not None:
        column = _column(folds, "folds")
        _refuse_other_length(len(column), "folds", len(positive))
        if pd.isna(column).any():
            raise InputError("folds: a value is missing; leave that row out, or give no folds")
        fold = pd.factorize(column)[0]
    number, names = pd.factorize(group, sort=True)
    rows = Scored(positive, score, number, len(names), fold)
    if metric in AUROCS and metric != "pooled_auroc" and np.isnan(auroc(rows).value):
        raise InputError("folds: no fold has both classes, so no cells can be compared; give other folds, or none")
    return rows


def _clusters(positive: np.ndarray, group: pd.Series) -> SubjectGroups:
    """Return the subject groups, and warn where a class has few of them."""
    clusters = SubjectGroups.of(pd.Series(np.where(positive, POSITIVE, NEGATIVE)), group)
    few = {name: n for name, n in zip(("positive", "negative"), clusters.of_class, strict=True) if n < FEW_GROUPS}
    if few:
        shown = " and ".join(f"{counted(count, 'subject group')} of the {name} class" for name, count in few.items())
        none = min(few.values()) < 2
        says = "there is no interval" if none else "the interval may be too narrow"
        warnings.warn(f"only {shown}: {says}", UserWarning, stacklevel=3)
    return clusters


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
