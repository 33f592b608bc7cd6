"""Probabilities from out-of-fold decision values."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from leukobench.classifiers.settings import NO

Calibrator: TypeAlias = LogisticRegression | IsotonicRegression
Folds = list[tuple[np.ndarray, np.ndarray]]  # training and held-out row numbers

NOT_CALIBRATED = (
    "not calibrated within training: the scores of held-out subject groups were below chance, so that calibration "
    "would have reversed their order or made them all equal; the decision value is used without calibration"
)


def calibrate(
    methods: tuple[str, ...], decision: np.ndarray, positive: np.ndarray, folds: Folds, margin: bool = True
) -> tuple[Calibrator | None, dict[str, Any], str]:
    """Fit a calibration of decision values.

    Where the scores of held-out subject groups are below chance, Platt's sigmoid would decrease and reverse the order
    of the scores, and isotonic regression would make them all equal. This means that there are too few subjects for a
    calibration, not that the classifier should be inverted: the model is left without calibration.

    Args:
        methods: Of `sigmoid` (Platt), `isotonic` and `none`. Of several, the one with the lowest Brier score is used,
            each fold predicted by a calibration on the others.
        decision: Out-of-fold decision value of each training cell. [shape=(n,)]
        positive: Which cells are blasts. [shape=(n,), bool]
        folds: The folds.
        margin: See `probability`.

    Returns:
        The calibrator; the chosen method and the Brier scores; and a note where the calibration was left out, else
        "".
    """
    chosen, brier = methods[0], {}
    if len(methods) > 1:
        brier = {method: _brier(method, decision, positive, folds, margin) for method in methods}
        chosen = min(methods, key=brier.__getitem__)
    fitted = fit(chosen, decision, positive)
    lowest, highest = probability(fitted, np.array([decision.min(), decision.max()]), margin)
    if fitted is not None and highest <= lowest:
        return None, {"method": NO, "brier": brier}, NOT_CALIBRATED
    return fitted, {"method": chosen, "brier": brier}, ""


def fit(method: str, decision: np.ndarray, positive: np.ndarray) -> Calibrator | None:
    """Fit one calibration method; None for `none`.

    The sigmoid is that of Platt (1999), with the targets (n+ + 1) / (n+ + 2) and 1 / (n- + 2) instead of 1 and 0: each
    row enters twice, once as each class, weighted by its target.
    """
    if method == NO:
        return None
    if method == "isotonic":
        return IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(decision, positive)
    positives = int(positive.sum())
    target = np.where(positive, (positives + 1) / (positives + 2), 1 / (len(positive) - positives + 2))
    twice = np.repeat([True, False], len(decision))
    column = np.concatenate([decision, decision])[:, None]
    return LogisticRegression(C=np.inf).fit(column, twice, np.concatenate([target, 1 - target]))


def probability(calibrator: Calibrator | None, decision: np.ndarray, margin: bool) -> np.ndarray:
    """Return the probability of `all`.

    Args:
        calibrator: From `calibrate`.
        decision: Decision values. [shape=(n,)]
        margin: Whether they are margins around 0; shares of votes are probabilities already.

    Returns:
        In [0, 1]. Without a calibrator, the logistic function of a margin. [shape=(n,)]
    """
    if isinstance(calibrator, LogisticRegression):
        return calibrator.predict_proba(decision[:, None])[:, 1]
    if calibrator is not None:
        return calibrator.predict(decision)
    return expit(decision) if margin else decision


def _brier(method: str, decision: np.ndarray, positive: np.ndarray, folds: Folds, margin: bool) -> float:
    squares = []
    for train, held_out in folds:
        fitted = fit(method, decision[train], positive[train])
        squares.append((probability(fitted, decision[held_out], margin) - positive[held_out]) ** 2)
    return float(np.concatenate(squares).mean())
