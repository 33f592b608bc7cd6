"""Fitted scikit-learn pipelines: constant columns dropped, scaling, feature selection, projection, classifier.

Every step is fitted on the training cells alone.
"""

from __future__ import annotations

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold, f_classif, mutual_info_classif
from sklearn.kernel_approximation import Nystroem
from sklearn.neighbors import KNeighborsClassifier, NeighborhoodComponentsAnalysis
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler, normalize
from sklearn.svm import SVC, LinearSVC

from leukobench.classifiers.cells import LabelledCells
from leukobench.classifiers.kernels import COEF0, resolve_gamma
from leukobench.classifiers.settings import WHITEN, Combination, applies, name_and_number
from leukobench.classifiers.whitening import fit_whitening
from leukobench.core.errors import InputError
from leukobench.results.weights import cell_weights

COMPONENTS = 500  # of the approximate kernel; benchmarks/classical.py measures the loss of accuracy
NCA_CELLS = 2000  # neighbourhood components analysis compares every pair of cells in every step; more take hours
CACHE_MB = 500  # of libsvm: enough for the kernel matrix of 11,000 cells; its default is 200


def fit_preparation(settings: Combination, cells: LabelledCells, seed: int) -> Pipeline:
    """Fit the steps before the classifier: constant columns dropped, scaling, feature selection, projection.

    Raises:
        InputError: every column is constant.
    """
    if not (np.ptp(cells.features, axis=0) > 0).any():
        raise InputError("every feature is constant over the training cells")
    steps: list[tuple[str, TransformerMixin]] = []
    features = cells.features

    def add(name: str, step: TransformerMixin, rows: np.ndarray | slice = slice(None)) -> None:
        nonlocal features
        features = step.fit(features[rows], cells.positive[rows]).transform(features)
        steps.append((name, step))

    add("drop_constant", VarianceThreshold())
    add("scale", StandardScaler() if settings["scaling"] == "standard" else MinMaxScaler())
    method, count = name_and_number(settings["select"])
    if count:
        add("select", _keep(_best_columns(method, count, features, cells.positive, seed)))
    if settings["projection"] == WHITEN:
        steps.append(("whiten", fit_whitening(features, cells.positive)))
    method, count = name_and_number(settings["projection"])
    dimensions = min(count, *features.shape)
    if method == "pca":
        add("project", PCA(dimensions, random_state=seed))
    elif method == "nca":
        rows = np.random.default_rng(seed).permutation(len(cells))[:NCA_CELLS]
        add("project", NeighborhoodComponentsAnalysis(dimensions, random_state=seed), rows)
    return Pipeline(steps)


def fit_pipeline(settings: Combination, cells: LabelledCells, seed: int, approximate: bool = False) -> Pipeline:
    """Fit every step, the classifier last.

    Args:
        settings: One combination of a recipe's grid.
        cells: The training cells.
        seed: Random seed of neighbourhood components analysis, mutual information and the approximate kernel.
        approximate: Whether a support vector machine uses the approximate kernel.

    Raises:
        InputError: every column is constant.
    """
    preparation = fit_preparation(settings, cells, seed)
    prepared = preparation.transform(cells.features)
    if "kernel" not in settings:
        steps = list(preparation.steps)
        if settings["metric"] == "cosine":
            steps.append(("directions", Normalizer()))
            prepared = normalize(prepared)
        return Pipeline([*steps, ("classify", neighbors(settings).fit(prepared, cells.positive))])
    weights = cell_weights(settings["weight"], cells.positive, cells.group)
    if not approximate:
        machine = SVC(C=settings["C"], coef0=COEF0, cache_size=CACHE_MB, **kernel_arguments(settings, prepared))
        return Pipeline([*preparation.steps, ("classify", machine.fit(prepared, cells.positive, weights))])
    mapping = approximate_kernel(settings, prepared, seed)
    machine = linear_machine(settings, seed).fit(mapping.transform(prepared), cells.positive, weights)
    return Pipeline([*preparation.steps, ("approximate_kernel", mapping), ("classify", machine)])


def kernel_arguments(settings: Combination, prepared: np.ndarray) -> Combination:
    """Return the arguments of `kernel_matrix`: kernel, degree, and gamma as a number."""
    return {
        "kernel": settings["kernel"],
        "gamma": resolve_gamma(settings.get("gamma", 1.0), prepared),
        "degree": settings.get("degree", 1),
    }


def approximate_kernel(settings: Combination, prepared: np.ndarray, seed: int) -> Nystroem:
    """Fit Nystroem's approximation of a kernel: columns whose inner products approximate the kernel.

    A linear kernel has as many dimensions as there are columns, so that this number of components is exact.
    """
    arguments = kernel_arguments(settings, prepared)
    if arguments["kernel"] == "poly":
        arguments["coef0"] = COEF0
    own = {name: value for name, value in arguments.items() if applies(name, arguments)}
    components = min(COMPONENTS, *(prepared.shape if arguments["kernel"] == "linear" else prepared.shape[:1]))
    return Nystroem(n_components=components, random_state=seed, **own).fit(prepared)


def linear_machine(settings: Combination, seed: int) -> LinearSVC:
    """Return the linear support vector machine for the columns of the approximate kernel."""
    return LinearSVC(C=settings["C"], dual=False, random_state=seed)


def neighbors(settings: Combination) -> KNeighborsClassifier:
    """Return k nearest neighbours by brute force, which is faster than search trees in dozens of dimensions.

    The cosine metric is computed as the Euclidean distance of rows scaled to length 1. It finds the same neighbours
    five times as fast as scikit-learn's cosine metric. Weights by distance use this chord length, the square root of
    twice the cosine distance.
    """
    return KNeighborsClassifier(
        n_neighbors=settings["n_neighbors"],
        metric="euclidean" if settings["metric"] == "cosine" else settings["metric"],
        weights=settings["neighbor_weight"],
        algorithm="brute",
    )


def possible(settings: Combination, cells: int, columns: int) -> bool:
    """Return whether a table has enough cells for the neighbours and enough columns for selection and projection."""
    selected, projected = (name_and_number(settings[name])[1] for name in ("select", "projection"))
    return (
        settings.get("n_neighbors", 1) <= cells and selected <= columns and projected <= min(cells, selected or columns)
    )


def _best_columns(method: str, count: int, features: np.ndarray, positive: np.ndarray, seed: int) -> np.ndarray:
    """Return the positions of the columns with the highest univariate scores, ascending."""
    if method == "anova":
        score = f_classif(features, positive)[0]
    else:
        score = mutual_info_classif(features, positive, random_state=seed)
    return np.sort(np.argsort(-score, kind="stable")[:count])


def _keep(columns: np.ndarray) -> ColumnTransformer:
    # scikit-learn's SelectKBest stores its scoring function, and a model file must not contain code
    return ColumnTransformer([("keep", "passthrough", columns.tolist())])
