"""From settings to fitted scikit-learn pipelines: cleaning, scaling, selection, projection, classifier.

Every step is fitted on the training cells that it is given, and on nothing else.
"""

from __future__ import annotations

from typing import Any

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
from leukobench.classifiers.settings import WHITEN, applies, numbered
from leukobench.classifiers.whitening import fit_whitening
from leukobench.core.errors import InputError
from leukobench.results.weights import cell_weights

Settings = dict[str, Any]  # one combination of a recipe's grid

COMPONENTS = 500  # of the approximate kernel; benchmarks/classical.py measures what that costs
NCA_CELLS = 2000  # neighbourhood components compare every pair of cells in every step: more would take hours
CACHE_MB = 500  # of libsvm: holds the kernel of 11,000 cells, which its default of 200 does not


def fit_preparation(settings: Settings, cells: LabelledCells, seed: int) -> Pipeline:
    """Fit what comes before the classifier: constant columns dropped, scaling, selection, projection.

    Raises:
        InputError: every column is constant.
    """
    if not (np.ptp(cells.features, axis=0) > 0).any():
        raise InputError("every feature is constant over the training cells, so that nothing can be learned from them")
    steps: list[tuple[str, TransformerMixin]] = []
    features = cells.features

    def add(name: str, step: TransformerMixin, rows: np.ndarray | slice = slice(None)) -> None:
        nonlocal features
        features = step.fit(features[rows], cells.positive[rows]).transform(features)
        steps.append((name, step))

    add("drop_constant", VarianceThreshold())
    add("scale", StandardScaler() if settings["scaling"] == "standard" else MinMaxScaler())
    method, count = numbered(settings["select"])
    if count:
        add("select", _keep(_best_columns(method, count, features, cells.positive, seed)))
    if settings["projection"] == WHITEN:
        steps.append(("whiten", fit_whitening(features, cells.positive)))
    method, count = numbered(settings["projection"])
    dimensions = min(count, *features.shape)
    if method == "pca":
        add("project", PCA(dimensions, random_state=seed))
    elif method == "nca":
        rows = np.random.default_rng(seed).permutation(len(cells))[:NCA_CELLS]
        add("project", NeighborhoodComponentsAnalysis(dimensions, random_state=seed), rows)
    return Pipeline(steps)


def fit_pipeline(settings: Settings, cells: LabelledCells, seed: int, approximate: bool = False) -> Pipeline:
    """Fit every step, the classifier last.

    Args:
        settings: One combination of a recipe's grid.
        cells: The training cells.
        seed: For what draws: neighbourhood components, mutual information, the approximate kernel.
        approximate: Whether a support vector machine takes the approximate kernel.

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


def kernel_arguments(settings: Settings, prepared: np.ndarray) -> Settings:
    """Return kernel, degree and gamma as `kernel_matrix` takes them: gamma as a number."""
    return {
        "kernel": settings["kernel"],
        "gamma": resolve_gamma(settings.get("gamma", 1.0), prepared),
        "degree": settings.get("degree", 1),
    }


def approximate_kernel(settings: Settings, prepared: np.ndarray, seed: int) -> Nystroem:
    """Fit the approximate kernel: columns whose inner products are about the kernel, by Nystroem's method.

    A linear kernel has no more dimensions than there are columns, and so many components give it exactly.
    """
    arguments = kernel_arguments(settings, prepared)
    if arguments["kernel"] == "poly":
        arguments["coef0"] = COEF0
    own = {name: value for name, value in arguments.items() if applies(name, arguments)}
    components = min(COMPONENTS, *(prepared.shape if arguments["kernel"] == "linear" else prepared.shape[:1]))
    return Nystroem(n_components=components, random_state=seed, **own).fit(prepared)


def linear_machine(settings: Settings, seed: int) -> LinearSVC:
    """Return the linear machine that learns on the columns of the approximate kernel."""
    return LinearSVC(C=settings["C"], dual=False, random_state=seed)


def neighbors(settings: Settings) -> KNeighborsClassifier:
    """Return k nearest neighbours. In dozens of dimensions search trees are slower than comparing every pair.

    The cosine metric is the Euclidean one of rows scaled to length 1, which finds the same neighbours five times as
    fast as scikit-learn's own; the distance that weighs them is the chord, the root of twice the cosine distance.
    """
    return KNeighborsClassifier(
        n_neighbors=settings["n_neighbors"],
        metric="euclidean" if settings["metric"] == "cosine" else settings["metric"],
        weights=settings["neighbor_weight"],
        algorithm="brute",
    )


def possible(settings: Settings, cells: int, columns: int) -> bool:
    """Tell whether settings fit a table: no more neighbours than cells, no more columns kept than there are."""
    selected, projected = (numbered(settings[name])[1] for name in ("select", "projection"))
    return (
        settings.get("n_neighbors", 1) <= cells and selected <= columns and projected <= min(cells, selected or columns)
    )


def _best_columns(method: str, count: int, features: np.ndarray, positive: np.ndarray, seed: int) -> np.ndarray:
    """Return the numbers of the columns that tell the classes best, each by itself, ascending."""
    if method == "anova":
        score = f_classif(features, positive)[0]
    else:
        score = mutual_info_classif(features, positive, random_state=seed)
    return np.sort(np.argsort(-score, kind="stable")[:count])


def _keep(columns: np.ndarray) -> ColumnTransformer:
    # scikit-learn's SelectKBest would hold its scoring function, which has no place in a file without code
    return ColumnTransformer([("keep", "passthrough", columns.tolist())])
