"""Metrics of scored rows whose subject groups have weights, and the influence of each group on a metric.

All rows of a group have its weight, so most metrics follow from sums over groups, and many weightings are one matrix
product. Where all weights are one, each metric equals the one of that name in `leukobench.results.metrics`. The
influence of a group, from which the intervals come, is the derivative with respect to its weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from leukobench.comparison.intervals import Measured
from leukobench.results.metrics import CALIBRATION_BINS, calibration_bin

SCORE_METRICS = {  # of the score itself, and their names in tables
    "auroc": "AUROC",
    "subject_weighted_auroc": "AUROC, subjects weighted equally",
    "pooled_auroc": "AUROC, folds pooled",
    "average_precision": "average precision",
    "brier": "Brier score",
    "calibration_intercept": "calibration intercept",
    "calibration_slope": "calibration slope",
    "calibration_error": "expected calibration error",
}
THRESHOLDED_METRICS = {  # of the class predicted at a threshold
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "subject_sensitivity": "sensitivity, subjects weighted equally",
    "subject_specificity": "specificity, subjects weighted equally",
    "precision": "precision",
    "f1": "F1",
    "weighted_f1": "weighted F1",
    "matthews": "Matthews correlation",
}
_CHUNK = 2_000_000  # numbers in a temporary array: small enough for the cache of a processor
_STEP = 1e-4  # of the numerical derivatives


@dataclass(frozen=True)
class Scored:
    """Scored rows: cells or subjects.

    Attributes:
        positive: Which rows are positive. [shape=(n,), bool]
        score: Probability of the positive class. [shape=(n,)]
        group: Number of each row's subject group, counted from 0. [shape=(n,), int]
        groups: Number of groups.
        fold: Fold in which each row was tested, so by which model it was scored; None: all by one model.
            [shape=(n,), int]
    """

    positive: np.ndarray
    score: np.ndarray
    group: np.ndarray
    groups: int
    fold: np.ndarray | None = None

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return each group's sum of a value of the rows. [shape=(groups,)]"""
        return np.bincount(self.group, values, minlength=self.groups)

    def weight(self, equal: bool) -> np.ndarray:
        """Return the weight of each row: 1, or 1 / (rows of its class in its group). [shape=(n,)]"""
        if not equal:
            return np.ones(len(self.score))
        of_class = np.where(self.positive, *(self.sums(rows)[self.group] for rows in (self.positive, ~self.positive)))
        return 1 / of_class

    def by_fold(self) -> Iterator[np.ndarray]:
        """Yield which rows belong to each fold. [shape=(n,), bool]"""
        if self.fold is None:
            yield np.ones(len(self.score), bool)
            return
        for number in np.unique(self.fold):
            yield self.fold == number

    def confusion(self, threshold: float | np.ndarray, *, equal: bool = False) -> np.ndarray:
        """Return each group's true positives, false negatives, false positives, true negatives. [shape=(groups, 4)]

        Args:
            threshold: One for all rows, or one for each row.
            equal: Whether the rows of a class in a group count together as one, see `weight`.
        """
        predicted = self.score >= threshold
        cells = (
            self.positive & predicted,
            self.positive & ~predicted,
            ~self.positive & predicted,
            ~self.positive & ~predicted,
        )
        return np.stack([self.sums(cell * self.weight(equal)) for cell in cells], axis=1)


def influences(metrics: Callable[[np.ndarray], dict[str, np.ndarray]], groups: int) -> dict[str, Measured]:
    """Return metrics with the influence of each group, by central differences in the weight of the group.

    Args:
        metrics: Function from weights of the groups [shape=(k, groups)] to metrics [each of shape=(k,)].
        groups: Number of groups.
    """
    steps = _STEP * np.eye(groups)
    found = metrics(1 + np.vstack([np.zeros(groups), steps, -steps]))
    return {
        name: Measured(float(values[0]), (values[1 : groups + 1] - values[groups + 1 :]) / (2 * _STEP))
        for name, values in found.items()
    }


def thresholded_metrics(rows: Scored, counts: np.ndarray, threshold: float | np.ndarray) -> dict[str, np.ndarray]:
    """Compute the metrics in `THRESHOLDED_METRICS` under each weighting of the groups.

    Args:
        rows: The scored rows.
        counts: Weights of the groups. [shape=(k, groups)]
        threshold: A score of at least this predicts the positive class: one for all rows, or one for each row.

    Returns:
        Each metric, NaN where a weighting lacks a class that the metric needs. [shape=(k,)]
    """
    hit, missed, false, rejected = (counts @ rows.confusion(threshold)).T
    of_subjects = (counts @ rows.confusion(threshold, equal=True)).T
    positives, negatives = hit + missed, false + rejected
    sensitivity, specificity = _ratio(hit, positives), _ratio(rejected, negatives)
    f1 = _ratio(2 * hit, 2 * hit + false + missed, 0.0)
    f1_negative = _ratio(2 * rejected, 2 * rejected + false + missed, 0.0)
    product = positives * negatives * (hit + false) * (rejected + missed)
    return {
        "accuracy": _ratio(hit + rejected, positives + negatives),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "subject_sensitivity": _ratio(of_subjects[0], of_subjects[0] + of_subjects[1]),
        "subject_specificity": _ratio(of_subjects[3], of_subjects[2] + of_subjects[3]),
        "precision": _ratio(hit, hit + false, 0.0),
        "f1": f1,
        "weighted_f1": _ratio(positives * f1 + negatives * f1_negative, positives + negatives),
        "matthews": _ratio(hit * rejected - false * missed, np.sqrt(product), 0.0),
    }


def one_metric(rows: Scored, counts: np.ndarray, name: str, threshold: float) -> np.ndarray:
    """Compute one metric, other than an AUROC and a calibration coefficient, under each weighting."""
    of_score = {"average_precision": average_precision, "brier": brier_score, "calibration_error": calibration_error}
    if name in of_score:
        return of_score[name](rows, counts)
    return thresholded_metrics(rows, counts, threshold)[name]


def average_precision(rows: Scored, counts: np.ndarray) -> np.ndarray:
    """Compute the average precision under each weighting: the sum of precision times gain in recall."""
    order = np.argsort(-rows.score, kind="stable")
    group, positive, score = rows.group[order], rows.positive[order], rows.score[order]
    last = np.flatnonzero(np.diff(score, append=-np.inf))  # where each distinct score ends
    found = np.empty(len(counts))
    step = max(1, _CHUNK // len(score))
    for start in range(0, len(counts), step):
        weights = counts[start : start + step][:, group]
        predicted = np.cumsum(weights, axis=1)[:, last]
        hit = np.cumsum(weights * positive, axis=1)[:, last]
        gain = np.diff(hit, axis=1, prepend=0.0)
        found[start : start + step] = _ratio((gain * _ratio(hit, predicted, 0.0)).sum(axis=1), hit[:, -1])
    return found


def brier_score(rows: Scored, counts: np.ndarray) -> np.ndarray:
    """Compute the Brier score, the mean squared error of the probability, under each weighting."""
    return _ratio(counts @ rows.sums((rows.score - rows.positive) ** 2), _total(rows, counts))


def calibration_error(rows: Scored, counts: np.ndarray) -> np.ndarray:
    """Compute the expected calibration error under each weighting."""
    bins = rows.group * CALIBRATION_BINS + calibration_bin(rows.score)
    excess = np.bincount(bins, rows.positive - rows.score, minlength=rows.groups * CALIBRATION_BINS)
    return _ratio(np.abs(counts @ excess.reshape(rows.groups, -1)).sum(axis=1), _total(rows, counts))


def _total(rows: Scored, counts: np.ndarray) -> np.ndarray:
    return counts @ rows.sums(np.ones(len(rows.score)))


def _ratio(numerator: np.ndarray, denominator: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """Divide, where the denominator is not zero."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), otherwise), where=denominator > 0)
