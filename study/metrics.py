"""Figures of merit for a two-class score. Positive class: `all`; a cell is called positive from 0.5 on."""

from __future__ import annotations

import numpy as np
from sklearn import metrics as sk

from study.manifest import NEGATIVE, POSITIVE

THRESHOLD = 0.5


def figures_of_merit(label: np.ndarray, score: np.ndarray, threshold: float = THRESHOLD) -> dict[str, float | None]:
    """Compute how well scores tell positives from negatives.

    Args:
        label: `all` or `hem` of each row. [shape=(n,)]
        score: Probability of `all`. [shape=(n,)]
        threshold: Scores of at least this are called positive.

    Returns:
        Accuracy, balanced accuracy, sensitivity (recall of `all`), specificity, precision, F1 of `all`, the C-NMC
        challenge's weighted F1 (of both classes, weighted by their sizes), Matthews correlation, AUROC, average
        precision, and the Brier score, as scikit-learn defines them. Precision is 0 where nothing is called
        positive. What needs both classes is None where only one is there.
    """
    truth = np.asarray(label) == POSITIVE
    score = np.asarray(score, float)
    called = score >= threshold
    both = truth.any() and not truth.all()
    figures = {
        "accuracy": sk.accuracy_score(truth, called),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, called) if both else None,
        "sensitivity": float(called[truth].mean()) if truth.any() else None,
        "specificity": float((~called[~truth]).mean()) if not truth.all() else None,
        "precision": sk.precision_score(truth, called, zero_division=0),
        "f1": sk.f1_score(truth, called, zero_division=0),
        "weighted_f1": sk.f1_score(truth, called, average="weighted", zero_division=0),
        "matthews": sk.matthews_corrcoef(truth, called) if both else None,
        "auroc": sk.roc_auc_score(truth, score) if both else None,
        "average_precision": sk.average_precision_score(truth, score) if both else None,
        "brier": np.mean((score - truth) ** 2),
    }
    return {name: None if value is None else float(value) for name, value in figures.items()}


def called(score: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """Return the class that a score is called, `all` or `hem`."""
    return np.where(np.asarray(score) >= threshold, POSITIVE, NEGATIVE)
