"""Curves with bands: ROC, precision-recall, calibration. Bands are pointwise, from the resamples of subject groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leukobench.comparison.bootstrap import LEVEL
from leukobench.comparison.resampled_metrics import Scored
from leukobench.results.metrics import CALIBRATION_BINS, calibration_bin

GRID = np.linspace(0, 1, 101)
BAND_RESAMPLES = 500  # enough for the edge of a band in a figure
_TAILS = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]


@dataclass(frozen=True)
class Curve:
    """A curve and its band, on `GRID`.

    Attributes:
        x: Of the curve.
        y: Of the curve.
        low: Lower edge of the band. [shape=(101,)]
        high: Upper edge. [shape=(101,)]
    """

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """Predicted probabilities and observed shares, for each bin that has any row.

    Attributes:
        predicted: Mean probability of `all`. [shape=(bins,)]
        observed: Share of `all`. [shape=(bins,)]
        low: Lower edge of the band of the share. [shape=(bins,)]
        high: Upper edge. [shape=(bins,)]
        rows: Number of rows. [shape=(bins,)]
    """

    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rows: np.ndarray


def roc(rows: Scored, counts: np.ndarray) -> Curve:
    """Return sensitivity over 1 - specificity, with a band of the sensitivity at each 1 - specificity."""
    false, hit = _rates(rows, np.ones((1, rows.groups)))
    bands = [np.interp(GRID, x, y) for x, y in zip(*_rates(rows, counts[:BAND_RESAMPLES]), strict=True)]
    low, high = np.quantile(bands, _TAILS, axis=0)
    return Curve(false[0], hit[0], low, high)


def precision_recall(rows: Scored, counts: np.ndarray) -> Curve:
    """Return precision over recall, as steps, with a band of the precision at each recall."""
    share = rows.positive.mean()
    recall, precision = _precision(rows, np.ones((1, rows.groups)))
    bands = []
    for x, y in zip(*_precision(rows, counts[:BAND_RESAMPLES]), strict=True):
        at = np.minimum(np.searchsorted(x, GRID), len(x) - 1)  # the first threshold that reaches this recall
        bands.append(y[at])
    low, high = np.nanquantile(np.nan_to_num(bands, nan=share), _TAILS, axis=0)
    return Curve(recall[0], precision[0], low, high)


def calibration(rows: Scored, counts: np.ndarray) -> Calibration:
    """Return the share of positives over the mean probability, bin by bin, with a band of the share."""
    bins = calibration_bin(rows.score)
    cell = rows.group * CALIBRATION_BINS + bins
    length = rows.groups * CALIBRATION_BINS
    size = np.bincount(bins, minlength=CALIBRATION_BINS)
    held = size > 0
    number = np.bincount(cell, minlength=length).reshape(rows.groups, -1)[:, held]
    found = np.bincount(cell, rows.positive, minlength=length).reshape(rows.groups, -1)[:, held]
    drawn = counts[:BAND_RESAMPLES] @ number
    shares = np.divide(counts[:BAND_RESAMPLES] @ found, drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)
    low, high = np.nanquantile(shares, _TAILS, axis=0)
    return Calibration(
        predicted=np.bincount(bins, rows.score, minlength=CALIBRATION_BINS)[held] / size[held],
        observed=found.sum(axis=0) / size[held],
        low=low,
        high=high,
        rows=size[held],
    )


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
