"""A trained classifier: a fitted pipeline, the calibration of its decision values, and that on the validation part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from leukobench.classifiers.calibration import Calibrator, probability
from leukobench.classifiers.kernels import decision_values
from leukobench.results.calibration import Calibration, calibrated


@dataclass
class Model:
    """A trained classifier.

    Attributes:
        pipeline: Fitted steps, the classifier last.
        calibrator: From `leukobench.classifiers.calibration`, or None.
        on_validation: Calibration of its probability on the validation part, or None. It is not stored with the model,
            but in `run.json`.
    """

    pipeline: Pipeline
    calibrator: Calibrator | None = None
    on_validation: Calibration | None = None

    @property
    def classifier(self) -> SVC | KNeighborsClassifier:
        """The pipeline's last step; a linear one where the kernel is approximate."""
        return self.pipeline.steps[-1][1]

    def decision(self, features: np.ndarray) -> np.ndarray:
        """Return the decision values: margins of an SVM, shares of votes of k-NN. [shape=(n,)]"""
        prepared = self.pipeline[:-1].transform(features)
        if isinstance(self.classifier, SVC):
            return decision_values(self.classifier, prepared)
        if isinstance(self.classifier, KNeighborsClassifier):
            return self.classifier.predict_proba(prepared)[:, 1]
        return self.classifier.decision_function(prepared)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of `hem` and of `all`.

        Args:
            features: Rows with the columns that were trained on, in their order. [shape=(n, columns)]

        Returns:
            [shape=(n, 2)]
        """
        margin = not isinstance(self.classifier, KNeighborsClassifier)
        positive = calibrated(probability(self.calibrator, self.decision(features), margin), self.on_validation)
        return np.column_stack([1 - positive, positive])
