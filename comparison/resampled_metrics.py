"""Every figure of merit under many resamples at once.

Rows of one subject group always count alike, so most figures follow from sums over groups: a resample is then one row
of a matrix product, not another pass over the cells. Where all counts are one, each equals its namesake in
`leukobench.results.metrics`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leukobench.results.metrics import CALIBRATION_BINS, calibration_bin
from leukobench.results.resampling import wins

SCORE_FIGURES = {  # of the score itself: what they are called in tables
    "auroc": "AUROC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "calibration_error": "expected calibration error",
}
CALL_FIGURES = {  # of the calls at a threshold
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "weighted_f1": "weighted F1",
    "matthews": "Matthews correlation",
}
_CHUNK = 2_000_000  # numbers in a temporary array: stays in the processor's cache, and in any memory


@dataclass(frozen=True)
class Scored:
    """What was scored: cells, or subjects.

    Attributes:
        positive: Which rows are positive. [shape=(n,), bool]
        score: Probability of the positive class. [shape=(n,)]
        group: Number of each row's subject group. [shape=(n,), int]
        groups: How many groups there are.
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
        called = self.score >= threshold
        cells = (
            self.positive & called,
            self.positive & ~called,
            ~self.positive & called,
            ~self.positive & ~called,
        )
        return np.stack([self.sums(cell) for cell in cells], axis=1)


def score_figures(rows: Scored, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the figures in `SCORE_FIGURES` under each row of counts.

    Args:
        rows: What was scored.
        counts: How often each group counts. [shape=(resamples, groups)]

    Returns:
        Each figure. [shape=(resamples,)], NaN where a resample lacks a class that it needs.
    """
    total = counts @ rows.sums(np.ones(len(rows.score)))
    bins = rows.group * CALIBRATION_BINS + calibration_bin(rows.score)
    excess = np.bincount(bins, rows.positive - rows.score, minlength=rows.groups * CALIBRATION_BINS)
    return {
        "auroc": auroc(rows, counts),
        "average_precision": average_precision(rows, counts),
        "brier": _ratio(counts @ rows.sums((rows.score - rows.positive) ** 2), total),
        "calibration_error": _ratio(np.abs(counts @ excess.reshape(rows.groups, -1)).sum(axis=1), total),
    }


def call_figures(rows: Scored, counts: np.ndarray, threshold: float) -> dict[str, np.ndarray]:
    """Compute the figures in `CALL_FIGURES` at a threshold under each row of counts; see `score_figures`."""
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
    """Compute the AUROC, the chance that a positive outscores a negative (ties half), under each row of counts.

    AUROC = c W c / (c p)(c n), where W[g, h] is how often the positives of group g win over the negatives of group h,
    p and n are the positives and negatives of each group, and c are the counts.
    """
    won = wins(rows.score, rows.positive, rows.group, rows.groups)
    pairs = (counts @ rows.sums(rows.positive)) * (counts @ rows.sums(~rows.positive))
    return _ratio(((counts @ won) * counts).sum(axis=1), pairs)


def average_precision(rows: Scored, counts: np.ndarray) -> np.ndarray:
    """Compute the sum of precision times the gain in recall, from the highest score down, under each row of counts."""
    order = np.argsort(-rows.score, kind="stable")
    group, positive, score = rows.group[order], rows.positive[order], rows.score[order]
    last = np.flatnonzero(np.diff(score, append=-np.inf))  # where each distinct score ends
    found = np.empty(len(counts))
    step = max(1, _CHUNK // len(score))
    for start in range(0, len(counts), step):
        weights = counts[start : start + step][:, group]
        called = np.cumsum(weights, axis=1)[:, last]
        hit = np.cumsum(weights * positive, axis=1)[:, last]
        gain = np.diff(hit, axis=1, prepend=0.0)
        found[start : start + step] = _ratio((gain * _ratio(hit, called, 0.0)).sum(axis=1), hit[:, -1])
    return found


def _ratio(numerator: np.ndarray, denominator: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """Divide, where the denominator is not zero."""
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), otherwise), where=denominator > 0)
