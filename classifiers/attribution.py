"""The contribution of each feature to the difference between the score of a cell and that of a reference cell.

The straight line from a reference cell to the cell is divided into equal steps. Within a step, the features change one
after another, in random order. The change of the score while a feature changes is that feature's contribution. The
contributions therefore add up exactly to the difference between both scores, and a feature that the model does not use
contributes nothing. No derivative is needed; the votes of k-NN have none.

With one step these are Shapley values by sampled orders (Strumbelj, E., & Kononenko, I. (2014). Explaining prediction
models and individual predictions with feature contributions. Knowledge and Information Systems 41(3)). With more
steps they converge to the values of Aumann and Shapley, the gradient integrated along the line (Sundararajan, M., Taly,
A., & Yan, Q. (2017). Axiomatic attribution for deep networks. ICML), averaged over references (Erion, G., et al.
(2021). Improving performance of deep learning models with axiomatic attribution priors and expected gradients. Nature
Machine Intelligence 3).

One step is not enough here. Features are correlated, and a vector with half of its features from one cell and half from
another resembles no cell: after whitening it is many times as far from both as they are from each other. There the RBF
kernel is zero and the score constant, so that every feature would get about the same contribution, and a family with
more features a larger one. The straight line between two cells stays near the cells.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PAIRS = 3  # of steps; with 347 features the error is that of the choice of reference cells, see benchmarks/


def contributions(
    score: Callable[[np.ndarray], np.ndarray],
    cell: np.ndarray,
    reference: np.ndarray,
    *,
    pairs: int = PAIRS,
    seed: int = 0,
) -> np.ndarray:
    """Compute each feature's contribution to the score of a cell, against each of some reference cells.

    With f the score, x the cell and r a reference cell, the contribution of feature j tends, as the steps become
    smaller, to (x_j - r_j) times the integral of df/dx_j at r + t (x - r) over t from 0 to 1. The second step of a pair
    uses the reversed order of the first, so that the interaction of two features is divided equally: without
    interactions of three or more features, one pair gives the integral exactly.

    Args:
        score: Scores cells. [shape=(n, features)] -> [shape=(n,)]
        cell: [shape=(features,)]
        reference: [shape=(references, features)]
        pairs: Pairs of steps.
        seed: Random seed of the orders.

    Returns:
        Each row adds up to the score of the cell less that of a reference cell. [shape=(references, features)]
    """
    rng = np.random.default_rng(seed)
    features = len(cell)
    contribution = np.zeros((len(reference), features))
    for number, start in enumerate(reference):
        orders = [order for _ in range(pairs) for order in _forward_and_backward(rng.permutation(features))]
        stops = np.linspace(start, cell, len(orders) + 1)
        steps = [_one_by_one(stops[at], stops[at + 1], order) for at, order in enumerate(orders)]
        changes = np.diff(score(np.concatenate(steps)).reshape(len(orders), features + 1))
        for order, change in zip(orders, changes, strict=True):
            contribution[number, order] += change
    return contribution


def _forward_and_backward(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return order, order[::-1]


def _one_by_one(start: np.ndarray, end: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the vectors between two cells while the features change in an order. [shape=(features + 1, features)]"""
    position = np.empty(len(order), int)
    position[order] = np.arange(len(order))
    return np.where(position < np.arange(len(order) + 1)[:, None], end, start)
