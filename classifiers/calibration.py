"""Probabilities from decision values, by people that the classifier has not seen."""

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
    "not calibrated: subject groups left out scored below chance, so that calibration would have turned the scores "
    "round or made them all the same; the decision value is used as it is"
)


def calibrate(
    methods: tuple[str, ...], decision: np.ndarray, positive: np.ndarray, folds: Folds, margin: bool = True
) -> tuple[Calibrator | None, dict[str, Any], str]:
    """Fit what makes probabilities of decision values.

    Where the groups that were left out scored below chance, Platt's sigmoid would fall and turn the order of the scores
    round, and isotonic regression would make them all the same. That says that there are too few people to calibrate
    by, not that the classifier should be read backwards: the model is left without calibration.

    Args:
        methods: Of `sigmoid` (Platt), `isotonic` and `none`. Of several, the one with the lowest Brier score is taken,
            each fold predicted by a calibration on the others.
        decision: Decision value of each training cell while its fold was left out. [shape=(n,)]
        positive: Which cells are blasts. [shape=(n,), bool]
        folds: The folds.
        margin: As `probability` takes it.

    Returns:
        What `probability` takes, what was chosen by which Brier scores, and a note where nothing was calibrated though
        it should have been, else "".
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
    """Fit one way of calibration; None for `none`.

    The sigmoid is Platt's (1999), with his targets (n+ + 1) / (n+ + 2) and 1 / (n- + 2) in place of 1 and 0: each row
    enters twice, once as each class, weighted by its target.
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
        calibrator: As `calibrate` made it.
        decision: Decision values. [shape=(n,)]
        margin: Whether they are margins round 0; shares of votes are probabilities as they are.

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
