"""A trained classifier as an ONNX graph: every step of the pipeline in standard operators, in 64 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NeighborhoodComponentsAnalysis
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVC

from leukobench.classifiers.calibration import Calibrator
from leukobench.classifiers.model import Model
from leukobench.core.errors import InputError
from leukobench.results.onnx_graph import Graph, axes


def add_classifier(graph: Graph, model: Model, features: str) -> tuple[str, str]:
    """Add a classifier to a graph; return the names of its raw score and of its score. [shape=(n,) each]

    Args:
        graph: The graph.
        model: The classifier.
        features: Name of the features. [shape=(n, columns), 64 bits]

    Raises:
        InputError: the model has a step that no model of leukobench has.
    """
    value = features
    for _, step in model.pipeline.steps[:-1]:
        value = _transform(graph, step, value)
    decision = _decision(graph, model.classifier, value)
    margin = not isinstance(model.classifier, KNeighborsClassifier)
    raw_score = _probability(graph, model.calibrator, decision, margin)
    return raw_score, graph.calibrate(raw_score, model.on_validation)


def _columns(graph: Graph, value: str, columns: Any) -> str:
    return graph.add("Gather", value, graph.constant(np.asarray(columns, np.int64)), axis=1)


def _transform(graph: Graph, step: Any, value: str) -> str:
    if isinstance(step, VarianceThreshold):
        return _columns(graph, value, step.get_support(indices=True))
    if isinstance(step, ColumnTransformer):
        return _columns(graph, value, step.transformers_[0][2])
    if isinstance(step, StandardScaler):
        return graph.apply("Div", graph.apply("Sub", value, step.mean_), step.scale_)
    if isinstance(step, MinMaxScaler):
        return graph.apply("Add", graph.apply("Mul", value, step.scale_), step.min_)
    if isinstance(step, PCA):
        components = step.components_
        if step.whiten:
            components = components / np.sqrt(step.explained_variance_)[:, None]
        return graph.apply("MatMul", graph.apply("Sub", value, step.mean_), components.T)
    if isinstance(step, NeighborhoodComponentsAnalysis):
        return graph.apply("MatMul", value, step.components_.T)
    if isinstance(step, Normalizer):
        length = graph.add("ReduceL2", value, axes(graph, [1]))
        return graph.add("Div", value, graph.apply("Max", length, np.finfo(float).tiny))
    if isinstance(step, Nystroem):
        kernel = _kernel(graph, value, step.components_, step.kernel, step.gamma, step.degree, step.coef0)
        return graph.apply("MatMul", kernel, step.normalization_.T)
    raise InputError(f"{type(step).__name__}: is no step of a model of leukobench; train again")


def _squared_distances(graph: Graph, value: str, rows: np.ndarray) -> str:
    products = graph.apply("MatMul", value, -2 * rows.T)
    own = graph.add("ReduceSumSquare", value, axes(graph, [1]))
    squared = graph.apply("Add", graph.add("Add", products, own), (rows**2).sum(axis=1))
    return graph.apply("Max", squared, 0.0)


def _kernel(graph: Graph, value: str, rows: np.ndarray, kernel: str, gamma: Any, degree: Any, coef0: Any) -> str:
    if kernel == "rbf":
        return graph.add("Exp", graph.apply("Mul", _squared_distances(graph, value, rows), -gamma))
    products = graph.apply("MatMul", value, rows.T)
    if kernel == "linear":
        return products
    return graph.apply("Pow", graph.apply("Add", graph.apply("Mul", products, gamma), coef0), float(degree))


def _decision(graph: Graph, classifier: Any, value: str) -> str:
    if isinstance(classifier, KNeighborsClassifier):
        return _votes(graph, classifier, value)
    if isinstance(classifier, SVC):
        rows = classifier.support_vectors_
        value = _kernel(graph, value, rows, classifier.kernel, classifier.gamma, classifier.degree, classifier.coef0)
        weights = classifier.dual_coef_[0]
    else:
        weights = classifier.coef_[0]
    return graph.apply("Add", graph.apply("MatMul", value, weights), float(classifier.intercept_[0]))


def _votes(graph: Graph, classifier: KNeighborsClassifier, value: str) -> str:
    """Add the share of votes for `all` of the nearest neighbours."""
    rows = np.asarray(classifier._fit_X, float)
    if classifier.metric == "manhattan":
        distances = _manhattan(graph, value, rows)
    else:
        distances = graph.add("Sqrt", _squared_distances(graph, value, rows))
    nearest, numbers = f"{distances}_nearest", f"{distances}_numbers"
    count = graph.constant(np.array([classifier.n_neighbors], np.int64))
    graph.nodes.append(
        graph.onnx.helper.make_node("TopK", [distances, count], [nearest, numbers], axis=1, largest=0, name="nearest")
    )
    positive = np.asarray(classifier.classes_)[classifier._y].astype(np.float64)
    votes = graph.add("Gather", graph.constant(positive), numbers, axis=0)
    if classifier.weights == "uniform":
        return graph.add("ReduceMean", votes, axes(graph, [1]), keepdims=0)
    # a neighbour at distance 0 outweighs all others
    weights = graph.add("Reciprocal", graph.apply("Max", nearest, 1e-100))
    weighted = graph.add("ReduceSum", graph.add("Mul", votes, weights), axes(graph, [1]), keepdims=0)
    return graph.add("Div", weighted, graph.add("ReduceSum", weights, axes(graph, [1]), keepdims=0))


def _manhattan(graph: Graph, value: str, rows: np.ndarray) -> str:
    """Add the distances row by row, so that memory holds one table of differences at a time."""
    helper, double = graph.onnx.helper, graph.onnx.TensorProto.DOUBLE
    known, axis = graph.constant(rows), axes(graph, [1])
    body = helper.make_graph(
        [
            helper.make_node("Sub", [known, "cell"], ["difference"]),
            helper.make_node("Abs", ["difference"], ["absolute"]),
            helper.make_node("ReduceSum", ["absolute", axis], ["distances"], keepdims=0),
        ],
        "of_a_cell",
        [helper.make_tensor_value_info("cell", double, [rows.shape[1]])],
        [helper.make_tensor_value_info("distances", double, [len(rows)])],
    )
    return graph.add("Scan", value, body=body, num_scan_inputs=1)


def _probability(graph: Graph, calibrator: Calibrator | None, decision: str, margin: bool) -> str:
    """Add `leukobench.classifiers.calibration.probability`."""
    if isinstance(calibrator, LogisticRegression):
        slope, intercept = float(calibrator.coef_[0, 0]), float(calibrator.intercept_[0])
        return graph.add("Sigmoid", graph.apply("Add", graph.apply("Mul", decision, slope), intercept))
    if isinstance(calibrator, IsotonicRegression):
        return _interpolated(graph, decision, calibrator.X_thresholds_, calibrator.y_thresholds_)
    return graph.add("Sigmoid", decision) if margin else decision


def _interpolated(graph: Graph, value: str, x: np.ndarray, y: np.ndarray) -> str:
    """Add a piecewise linear function, constant outside: the sum of what each piece has risen."""
    if len(x) < 2:
        return graph.apply("Add", graph.apply("Mul", value, 0.0), float(y[0]))
    column = graph.add("Unsqueeze", value, axes(graph, [1]))
    passed = graph.apply("Div", graph.apply("Sub", column, x[:-1]), np.diff(x))
    limits = graph.constant(0.0, np.float64), graph.constant(1.0, np.float64)
    return graph.apply("Add", graph.apply("MatMul", graph.add("Clip", passed, *limits), np.diff(y)), float(y[0]))
