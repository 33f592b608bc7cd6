"""Curves of scored cells: ROC and precision-recall with pointwise bootstrap bands, reliability, and decision curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leukobench.comparison.intervals import LEVEL, SubjectGroups
from leukobench.comparison.weighted_metrics import Scored
from leukobench.results.metrics import CALIBRATION_BINS, calibration_bin
from leukobench.results.resampling import draw_counts

GRID = np.linspace(0, 1, 101)
BAND_RESAMPLES = 500  # enough for the edge of a band in a figure
_NO_BAND = np.full(len(GRID), np.nan)
_TAILS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]


@dataclass(frozen=True)
class Curve:
    """A curve and its band, on `GRID`.

    Attributes:
        x: Of the curve.
        y: Of the curve.
        low: Lower edge of the band; NaN without a band. [shape=(101,)]
        high: Upper edge. [shape=(101,)]
    """

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Reliability:
    """Predicted probabilities and observed shares, for each bin that has any row.

    Attributes:
        predicted: Mean probability of `all`. [shape=(bins,)]
        observed: Share of `all`. [shape=(bins,)]
        rows: Number of rows. [shape=(bins,)]
    """

    predicted: np.ndarray
    observed: np.ndarray
    rows: np.ndarray


def draw_group_counts(groups: SubjectGroups, seed: int = 0) -> np.ndarray:
    """Draw subject groups with replacement for the bands, as many of each class as there are. [shape=(500, groups)]"""
    return draw_counts(groups.positive, BAND_RESAMPLES, np.random.default_rng(seed))


def roc(rows: Scored, counts: np.ndarray | None = None) -> Curve:
    """Return sensitivity over 1 - specificity, with a band of the sensitivity at each 1 - specificity.

    Args:
        rows: The scored rows.
        counts: How often each group was drawn in each resample, for the band; None: no band. [shape=(k, groups)]
    """
    false, hit = _rates(rows, np.ones((1, rows.groups)))
    if counts is None:
        return Curve(false[0], hit[0], _NO_BAND, _NO_BAND)
    bands = [np.interp(GRID, x, y) for x, y in zip(*_rates(rows, counts), strict=True)]
    low, high = np.quantile(bands, _TAILS, axis=0)
    return Curve(false[0], hit[0], low, high)


def precision_recall(rows: Scored, counts: np.ndarray | None = None) -> Curve:
    """Return precision over recall, as steps, with a band of the precision at each recall; see `roc`."""
    share = rows.positive.mean()
    recall, precision = _precision(rows, np.ones((1, rows.groups)))
    if counts is None:
        return Curve(recall[0], precision[0], _NO_BAND, _NO_BAND)
    bands = []
    for x, y in zip(*_precision(rows, counts), strict=True):
        at = np.minimum(np.searchsorted(x, GRID), len(x) - 1)  # the first threshold that reaches this recall
        bands.append(y[at])
    low, high = np.nanquantile(np.nan_to_num(bands, nan=share), _TAILS, axis=0)
    return Curve(recall[0], precision[0], low, high)


def reliability(rows: Scored) -> Reliability:
    """Return the share of positives over the mean probability, bin by bin."""
    bins = calibration_bin(rows.score)
    size = np.bincount(bins, minlength=CALIBRATION_BINS)
    held = size > 0
    return Reliability(
        predicted=np.bincount(bins, rows.score, minlength=CALIBRATION_BINS)[held] / size[held],
        observed=np.bincount(bins, rows.positive, minlength=CALIBRATION_BINS)[held] / size[held],
        rows=size[held],
    )


def net_benefit(rows: Scored, threshold: np.ndarray) -> np.ndarray:
    """Return the net benefit at each threshold: TP/n - FP/n * threshold / (1 - threshold).

    It weighs a false positive by the odds of the threshold (Vickers & Elkin 2006, Med. Decis. Making 26:565). To
    predict nobody positive has a net benefit of 0.

    Args:
        rows: The scored rows.
        threshold: Thresholds in (0, 1). [shape=(k,)]
    """
    predicted = rows.score >= threshold[:, None]
    hit, false = (predicted & rows.positive).mean(axis=1), (predicted & ~rows.positive).mean(axis=1)
    return hit - false * threshold / (1 - threshold)


def _cumulated(rows: Scored, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many positives and how many negatives score at least each distinct score, the highest score first.

    [each of shape=(resamples, distinct scores + 1)]
    """
    order = np.argsort(-rows.score, kind="stable")
    last = np.flatnonzero(np.diff(rows.score[order], append=-np.inf))
    weights = counts[:, rows.group[order]]

    def cumulated(of_class: np.ndarray) -> np.ndarray:
        return np.pad(np.cumsum(weights * of_class, axis=1)[:, last], ((0, 0), (1, 0)))

    return cumulated(rows.positive[order]), cumulated(~rows.positive[order])


def _rates(rows: Scored, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hit, false = _cumulated(rows, counts)
    return false / np.maximum(false[:, -1:], 1), hit / np.maximum(hit[:, -1:], 1)


def _precision(rows: Scored, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hit, false = (each[:, 1:] for each in _cumulated(rows, counts))
    predicted = hit + false
    precision = np.divide(hit, predicted, out=np.full(hit.shape, np.nan), where=predicted > 0)
    return hit / np.maximum(hit[:, -1:], 1), precision
