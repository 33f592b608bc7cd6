"""Metrics of binary classification. The positive class is `all`; a score of at least 0.5 predicts `all`."""

from __future__ import annotations

import math

import numpy as np
from sklearn import metrics as sk

from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.core.errors import InputError

THRESHOLD = 0.5
CALIBRATION_BINS = 10  # of equal width; with more bins, some would be empty for a few hundred cells


def classification_metrics(
    label: np.ndarray, score: np.ndarray, threshold: float = THRESHOLD
) -> dict[str, float | None]:
    """Compute the metrics of scores.

    Args:
        label: `all` or `hem` of each row. [shape=(n,)]
        score: Probability of `all`. [shape=(n,)]
        threshold: A score of at least this predicts `all`.

    Returns:
        Accuracy, balanced accuracy, sensitivity (recall of `all`), specificity, precision, F1 of `all`, the weighted F1
        of the C-NMC challenge (of both classes, weighted by their sizes), Matthews correlation, AUROC, average
        precision and the Brier score, as scikit-learn defines them, and the expected calibration error. Precision is 0
        if no row is predicted `all`. A metric that needs both classes is None if only one is present.
    """
    truth = np.asarray(label) == POSITIVE
    score = np.asarray(score, float)
    predicted = score >= threshold
    both = truth.any() and not truth.all()
    metrics = {
        "accuracy": sk.accuracy_score(truth, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted) if both else None,
        "sensitivity": float(predicted[truth].mean()) if truth.any() else None,
        "specificity": float((~predicted[~truth]).mean()) if not truth.all() else None,
        "precision": sk.precision_score(truth, predicted, zero_division=0),
        "f1": sk.f1_score(truth, predicted, zero_division=0),
        "weighted_f1": sk.f1_score(truth, predicted, average="weighted", zero_division=0),
        "matthews": sk.matthews_corrcoef(truth, predicted) if both else None,
        "auroc": sk.roc_auc_score(truth, score) if both else None,
        "average_precision": sk.average_precision_score(truth, score) if both else None,
        "brier": np.mean((score - truth) ** 2),
        "calibration_error": expected_calibration_error(truth, score),
    }
    return {name: None if value is None else float(value) for name, value in metrics.items()}


def calibration_bin(score: np.ndarray) -> np.ndarray:
    """Return the bin of each probability: 0 for [0, 0.1), 1 for [0.1, 0.2), ..., 9 for [0.9, 1]. [shape=(n,), int]"""
    edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    return np.searchsorted(edges, np.asarray(score, float), side="right")


def expected_calibration_error(positive: np.ndarray, score: np.ndarray) -> float:
    """Compute the expected calibration error (ECE) of the probability of `all`, over ten bins of equal width.

    ECE = sum over bins of (rows of the bin / n) * abs(fraction of positives in it - mean probability in it). This is
    the binary form, of the probability of the positive class (Naeini, Cooper & Hauskrecht 2015, AAAI 29:2901).

    Args:
        positive: Which rows are positive. [shape=(n,), bool]
        score: Probability of `all`. [shape=(n,)]
    """
    excess = np.bincount(calibration_bin(score), np.asarray(positive, float) - score, minlength=CALIBRATION_BINS)
    return float(np.abs(excess).sum() / len(score))


def best_threshold(label: np.ndarray, score: np.ndarray) -> float:
    """Choose the threshold with the highest balanced accuracy.

    This is also the threshold with the highest Youden's J = sensitivity + specificity - 1.
    Candidate thresholds are the midpoints between neighbouring scores. Ties are resolved in favour of the threshold
    nearest to 0.5. Use the validation part for this, never the test part.

    Args:
        label: `all` or `hem` of each row; both must be present. [shape=(n,)]
        score: Probability of `all`. [shape=(n,)]
    """
    distinct, row = np.unique(np.asarray(score, float), return_inverse=True)
    truth = np.asarray(label) == POSITIVE
    below = np.cumsum(
        np.bincount(row, np.where(truth, -1 / truth.sum(), 1 / (~truth).sum()), minlength=len(distinct))
    )  # specificity minus (1 - sensitivity) if every score up to this one predicts `hem`
    if len(distinct) == 1:
        return THRESHOLD
    between = (distinct[1:] + distinct[:-1]) / 2
    good = between[below[:-1] >= below[:-1].max() - 1e-12]
    return float(good[np.argmin(np.abs(good - THRESHOLD))])


def threshold_at_sensitivity(label: np.ndarray, score: np.ndarray, sensitivity: float) -> float:
    """Choose the highest threshold with at least a sensitivity; it has the highest specificity of those that have it.

    With n blasts, this is the k-th highest score of a blast, k = sensitivity * n rounded up. Use the validation part
    for this, never the test part. On other subjects the sensitivity will differ.

    Args:
        label: `all` or `hem` of each row; `all` must be present. [shape=(n,)]
        score: Probability of `all`. [shape=(n,)]
        sensitivity: In (0, 1].

    Raises:
        InputError: a sensitivity outside (0, 1], or no row of the class `all`.

    >>> threshold_at_sensitivity(np.array(["all", "all", "all", "hem"]), np.array([0.9, 0.7, 0.2, 0.1]), 0.6)
    0.7
    """
    if not 0 < sensitivity <= 1:
        raise InputError(f"sensitivity={sensitivity}: is not above 0 and at most 1; give a share such as 0.95")
    of_blasts = np.sort(np.asarray(score, float)[np.asarray(label) == POSITIVE])[::-1]
    if not len(of_blasts):
        raise InputError(f"label: has no row of the class {POSITIVE}, so no sensitivity; give rows of both classes")
    reached = math.ceil(sensitivity * len(of_blasts) - 1e-9)  # 0.07 * 100 is a little more than 7
    return float(of_blasts[reached - 1])


def predicted_class(score: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """Return the predicted class of each score: `all` if it is at least the threshold, else `hem`."""
    return np.where(np.asarray(score) >= threshold, POSITIVE, NEGATIVE)
