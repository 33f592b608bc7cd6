"""Every metric under many resamples at once.

Rows of one subject group always have the same weight, so most metrics follow from sums over groups: a resample is then
one row of a matrix product, not another pass over the cells. Where all counts are one, each metric equals the one of
that name in `leukobench.results.metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leukobench.results.metrics import CALIBRATION_BINS, calibration_bin
from leukobench.results.resampling import pairwise_wins

SCORE_METRICS = {  # of the score itself, and their names in tables
    "auroc": "AUROC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "calibration_error": "expected calibration error",
}
THRESHOLDED_METRICS = {  # of the class predicted at a threshold
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "weighted_f1": "weighted F1",
    "matthews": "Matthews correlation",
}
_CHUNK = 2_000_000  # numbers in a temporary array: small enough for the cache of a processor


@dataclass(frozen=True)
class Scored:
    """Scored rows: cells or subjects.

    Attributes:
        positive: Which rows are positive. [shape=(n,), bool]
        score: Probability of the positive class. [shape=(n,)]
        group: Number of each row's subject group, counted from 0. [shape=(n,), int]
        groups: Number of groups.
    """

    positive: np.ndarray
    score: np.ndarray
    group: np.ndarray
    groups: int

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return each group's sum of a value of the rows. [shape=(groups,)]"""
        return np.bincount(self.group, values, minlength=self.groups)

    def confusion(self, threshold: float) -> np.ndarray:
        """Return each group's true positives, false negatives, false positives, true negatives. [shape=(groups, 4)]"""
        predicted = self.score >= threshold
        cells = (
            self.positive & predicted,
            self.positive & ~predicted,
            ~self.positive & predicted,
            ~self.positive & ~predicted,
        )
        return np.stack([self.sums(cell) for cell in cells], axis=1)


def score_metrics(rows: Scored, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the metrics in `SCORE_METRICS` under each row of counts.

    Args:
        rows: The scored rows.
        counts: How often each group counts. [shape=(resamples, groups)]

    Returns:
        Each metric, NaN where a resample lacks a class that the metric needs. [shape=(resamples,)]
    """
    return {
        "auroc": auroc(rows, counts),
        "average_precision": average_precision(rows, counts),
        "brier": brier_score(rows, counts),
        "calibration_error": calibration_error(rows, counts),
    }


def thresholded_metrics(rows: Scored, counts: np.ndarray, threshold: float) -> dict[str, np.ndarray]:
    """Compute the metrics in `THRESHOLDED_METRICS` at a threshold under each row of counts; see `score_metrics`."""
    hit, missed, false, rejected = (counts @ rows.confusion(threshold)).T
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
        "precision": _ratio(hit, hit + false, 0.0),
        "f1": f1,
        "weighted_f1": _ratio(positives * f1 + negatives * f1_negative, positives + negatives),
        "matthews": _ratio(hit * rejected - false * missed, np.sqrt(product), 0.0),
    }


def auroc(rows: Scored, counts: np.ndarray) -> np.ndarray:
    """Compute the AUROC under each row of counts: the probability that a positive scores higher than a negative.

    AUROC = c W c / (c p)(c n). W[g, h] counts the pairs in which a positive of group g scores higher than a negative of
    group h (a tie counts half), p and n are the positives and negatives of each group, and c are the counts.
    """
    won = pairwise_wins(rows.score, rows.positive, rows.group, rows.groups)
    pairs = (counts @ rows.sums(rows.positive)) * (counts @ rows.sums(~rows.positive))
    return _ratio(((counts @ won) * counts).sum(axis=1), pairs)


def average_precision(rows: Scored, counts: np.ndarray) -> np.ndarray:
    """Compute the average precision under each row of counts: the sum of precision times gain in recall."""
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
    """Compute the Brier score, the mean squared error of the probability, under each row of counts."""
    return _ratio(counts @ rows.sums((rows.score - rows.positive) ** 2), _total(rows, counts))


def calibration_error(rows: Scored, counts: np.ndarray) -> np.ndarray:
    """Compute the expected calibration error under each row of counts."""
    bins = rows.group * CALIBRATION_BINS + calibration_bin(rows.score)
    excess = np.bincount(bins, rows.positive - rows.score, minlength=rows.groups * CALIBRATION_BINS)
    return _ratio(np.abs(counts @ excess.reshape(rows.groups, -1)).sum(axis=1), _total(rows, counts))


def one_metric(rows: Scored, counts: np.ndarray, name: str, threshold: float) -> np.ndarray:
    """Compute one metric, named in `SCORE_METRICS` or `THRESHOLDED_METRICS`, under each row of counts."""
    of_score = {
        "auroc": auroc,
        "average_precision": average_precision,
        "brier": brier_score,
        "calibration_error": calibration_error,
    }
    if name in of_score:
        return of_score[name](rows, counts)
    return thresholded_metrics(rows, counts, threshold)[name]


def _total(rows: Scored, counts: np.ndarray) -> np.ndarray:
    return counts @ rows.sums(np.ones(len(rows.score)))


def _ratio(numerator: np.ndarray, denominator: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """Divide, where the denominator is not zero."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), otherwise), where=denominator > 0)
