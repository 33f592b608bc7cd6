"""Probabilities from decision values, by people that the classifier has not seen."""

from __future__ import annotations

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline

from classifiers.search import Folds


def calibrate(
    pipeline: Pipeline, folds: Folds, features: np.ndarray, positive: np.ndarray
) -> tuple[CalibratedClassifierCV, str]:
    """Fit a pipeline, and Platt's sigmoid on the decision values of the subject groups that each fold leaves out.

    Where those groups scored below chance the sigmoid would fall and turn the order of the scores round. That says that
    there are too few people to calibrate by, not that the classifier should be read backwards: the plain logistic
    function of the decision value takes its place.

    Args:
        pipeline: Classifier with a decision function.
        folds: Pairs of training and held-out row numbers.
        features: Training rows. [shape=(n, columns)]
        positive: Which rows are blasts. [shape=(n,), bool]

    Returns:
        The fitted model, and a note where it is not calibrated, else "".
    """
    model = CalibratedClassifierCV(pipeline, cv=folds, ensemble=False).fit(features, positive)
    model.cv = len(folds)  # the folds themselves are row numbers of this table: of no use in the stored model
    sigmoid = model.calibrated_classifiers_[0].calibrators[0]
    if sigmoid.a_ < 0:  # p = 1 / (1 + exp(a f + b)) rises with the decision value f
        return model, ""
    sigmoid.a_, sigmoid.b_ = -1.0, 0.0
    return model, (
        "not calibrated: subject groups left out scored below chance, so that the calibration would have turned the "
        "scores round; the probability is the plain logistic function of the decision value"
    )
