"""The classical recipes as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from leukobench.classifiers.cells import LabelledCells
from leukobench.classifiers.fitting import fit_if_few
from leukobench.classifiers.recipes import ClassicalRecipe, classical_recipe
from leukobench.classifiers.settings import ALL_SETTINGS, Value
from leukobench.cohort.manifest import LABELS, POSITIVE
from leukobench.core.errors import InputError
from leukobench.core.workers import Workers
from leukobench.results.metrics import THRESHOLD

Given = Value | Sequence[Value] | None  # of one setting


class UnusableData(InputError, ValueError):
    """Data that a classifier cannot be fitted on: an `InputError`, and the `ValueError` that scikit-learn expects."""


class BlastClassifier(ClassifierMixin, BaseEstimator):
    """A support vector machine or k nearest neighbours, with settings chosen over subject groups.

    The computation is that of `leukobench train-svm` and `leukobench train-knn`: the same data, recipe and seed give
    the same probabilities, before those of a run are calibrated on its validation part. `fit` divides the cells into up
    to five folds of whole subject groups, evaluates every combination of the recipe's settings by cross-validation,
    refits the best combination on all cells, and calibrates it on the out-of-fold decision values. Scaling, feature
    selection and projection belong to the model and are fitted inside each fold.

    With few cells, `fit` asks for less than the commands do. Where the folds have fewer cells than every number of
    neighbours to be searched, it uses as many neighbours as the smallest training fold has cells. Where a class has a
    single subject group, nothing can be held out: `fit` uses the first value of each setting and does not calibrate.
    `notes_` says so.

    Each of the parameters from `scaling` on is None (the recipe's values), a value, or a list of values among which the
    search chooses. An SVM recipe has no `n_neighbors`, `metric` and `neighbor_weight`; a k-NN recipe has no `kernel`,
    `C`, `gamma`, `degree`, `weight` and `approximate_above`.

    Args:
        recipe: Name of a recipe, see `leukobench recipes`.
        seed: Random seed of the folds and of the classifier.
        jobs: Number of parallel processes. The result does not depend on it.
        scaling: `standard` (mean 0 and standard deviation 1) or `minmax` (to [0, 1]).
        select: `none`, or `anova:N` or `mutual-information:N` for the N features with the highest score.
        projection: `none`, `whiten` (by the within-class covariance), or `pca:N` or `nca:N` for N components.
        kernel: `rbf`, `linear` or `poly`.
        C: Cost of a misclassified training cell.
        gamma: Coefficient of the kernels `rbf` and `poly`; a number or `scale`.
        degree: Degree of the kernel `poly`.
        weight: Sample weighting: `none`, or equal weight of each `class`, each `subject`, or both (`class-subject`).
        n_neighbors: Number of neighbours.
        metric: `euclidean`, `manhattan` or `cosine`.
        neighbor_weight: `uniform`, or `distance` for votes weighted by inverse distance.
        calibration: `sigmoid`, `isotonic` or `none`.
        criterion: Metric that the search maximises: `auroc`, `average-precision` or `balanced-accuracy`.
        approximate_above: Number of training cells above which an approximate kernel (Nystroem) is used.

    Attributes:
        classes_: The two classes, sorted. [shape=(2,)]
        positive_: The positive class: `all` of `all` and `hem`, otherwise the second class.
        n_features_in_: Number of features.
        feature_names_in_: Names of the features, where X was a DataFrame. [shape=(n_features,)]
        settings_: The chosen value of each setting.
        search_: One row a combination: its settings, the score of each fold, their mean and minimum.
        calibration_: The chosen calibration method, and Brier scores where there were several.
        notes_: What a reader of the results must know, one line each.

    Examples:
        Ten subjects with six cells each; every second subject has leukemia, and larger cells.

        >>> import numpy as np
        >>> from sklearn.model_selection import cross_val_predict
        >>> subject = np.repeat([f"{number}" for number in range(10)], 6)
        >>> blast = np.repeat(np.arange(10) % 2, 6)
        >>> X = np.random.default_rng(0).normal(size=(60, 3)) + 2 * blast[:, None]
        >>> classifier = BlastClassifier("leukobench-svm", C=[1, 3], gamma=0.01).fit(X, blast, groups=subject)
        >>> classifier.settings_["C"]
        1.0
        >>> float(classifier.score(X, blast)) > 0.9
        True

        For a nested cross-validation over subjects, give the subject groups twice: `groups` divides the cells into
        outer folds, and `params` hands them to `fit` for the inner ones. With classes coded 1 (blast) and 0, the second
        column is the probability of a blast.

        >>> from leukobench.cohort.splitters import SubjectKFold
        >>> probability = cross_val_predict(
        ...     BlastClassifier(C=1, gamma=0.01), X, blast, cv=SubjectKFold(5), groups=subject,
        ...     params={"groups": subject}, method="predict_proba")[:, 1]
        >>> bool(((probability >= 0.5) == blast).mean() > 0.9)
        True
    """

    def __init__(
        self,
        recipe: str = "leukobench-svm",
        *,
        seed: int = 0,
        jobs: int = 1,
        scaling: Given = None,
        select: Given = None,
        projection: Given = None,
        kernel: Given = None,
        C: Given = None,
        gamma: Given = None,
        degree: Given = None,
        weight: Given = None,
        n_neighbors: Given = None,
        metric: Given = None,
        neighbor_weight: Given = None,
        calibration: Given = None,
        criterion: str | None = None,
        approximate_above: int | None = None,
    ) -> None:
        self.recipe = recipe
        self.seed = seed
        self.jobs = jobs
        self.scaling = scaling
        self.select = select
        self.projection = projection
        self.kernel = kernel
        self.C = C
        self.gamma = gamma
        self.degree = degree
        self.weight = weight
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.neighbor_weight = neighbor_weight
        self.calibration = calibration
        self.criterion = criterion
        self.approximate_above = approximate_above

    def fit(self, X: Any, y: Any, groups: Any = None) -> BlastClassifier:
        """Choose the settings over subject groups, and fit on all cells.

        Args:
            X: Features, an array or a DataFrame. [shape=(n, features)]
            y: Class of each cell. The positive class is `all` of `all` and `hem`, otherwise the second of the sorted
                classes: 1 of 0 and 1, True of False and True. [shape=(n,)]
            groups: Subject group of each cell. None: every cell is a group of its own, so that cells of one subject
                are in training and held out at once, and the settings are chosen with an optimistic bias. [shape=(n,)]

        Returns:
            The classifier.

        Raises:
            InputError: an unknown recipe or setting. It is also a ValueError where the data cannot be used: not two
                classes, or every feature is constant.
            ValueError: X or y of another shape, or with values that are missing or infinite.
        """
        recipe = self._changed_recipe()
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        self.classes_ = _two_classes(y)
        self.positive_ = POSITIVE if self.classes_.tolist() == sorted(LABELS) else self.classes_[1]
        group = np.arange(len(y)) if groups is None else np.asarray(groups)
        check_consistent_length(X, group)
        cells = LabelledCells(X, y == self.positive_, group.astype(str))
        try:
            fitted = fit_if_few(recipe, cells, self.seed, Workers(self.jobs))
        except InputError as error:
            raise UnusableData(str(error)) from None
        self.model_ = fitted.model
        self.settings_ = fitted.settings
        self.search_ = fitted.tried
        self.calibration_ = fitted.calibration
        self.notes_ = fitted.notes
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, in the order of `classes_`. [shape=(n, 2)]

        Args:
            X: Features, in the columns that the classifier was fitted on. [shape=(n, features)]
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        probability = self.model_.predict_proba(X)  # of the negative class and of the positive one
        return probability if self.positive_ == self.classes_[1] else probability[:, ::-1]

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted class: the positive one where its probability is at least 0.5. [shape=(n,)]

        Args:
            X: Features, in the columns that the classifier was fitted on. [shape=(n, features)]
        """
        probability = self.predict_proba(X)
        positive = int(self.positive_ == self.classes_[1])
        return self.classes_[np.where(probability[:, positive] >= THRESHOLD, positive, 1 - positive)]

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that there are two classes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _changed_recipe(self) -> ClassicalRecipe:
        given = {name: getattr(self, name) for name in ALL_SETTINGS}
        return classical_recipe(self.recipe).changed({name: it for name, it in given.items() if it is not None})


def _two_classes(y: np.ndarray) -> np.ndarray:
    """Return the two classes of y, sorted."""
    check_classification_targets(y)
    classes = np.unique(y)
    if len(classes) > 2:
        raise UnusableData(
            f"Only binary classification is supported. The type of the target is {type_of_target(y)}: "
            f"y has {len(classes)} classes"
        )
    if len(classes) < 2:
        raise UnusableData(f"y has 1 class, {classes[0]!s}; a classifier needs two classes")
    return classes
