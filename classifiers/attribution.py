"""How much each feature of a cell moved its score away from that of other cells.

From a reference cell a straight way leads to the cell. It is walked in equal steps, and within a step one feature moves
after another, in random order; what the score gains while a feature moves is that feature's contribution. So the
contributions add up exactly to the difference between both scores, a feature that the model does not look at
contributes nothing, and no derivative is needed, which votes of neighbours do not have.

In one step these are Shapley values by sampled orders (Strumbelj, E., & Kononenko, I. (2014). Explaining prediction
models and individual predictions with feature contributions. Knowledge and Information Systems 41(3)). In ever more
steps they become the values of Aumann and Shapley, the gradient integrated along the way (Sundararajan, M., Taly, A., &
Yan, Q. (2017). Axiomatic attribution for deep networks. ICML), averaged over references (Erion, G., et al. (2021).
Improving performance of deep learning models with axiomatic attribution priors and expected gradients. Nature Machine
Intelligence 3).

One step would not do here. Features are correlated, and a cell that has half of them of another one resembles no cell:
whitened, it lies many times as far from both as they lie from each other. There the kernel of a support vector machine
is zero and its score the same for everything, so that every column would get much the same share, and a family the
more, the more columns it has. The straight way between two cells stays among cells.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PAIRS = 3  # of steps; with 347 features about as near to the integral as the error over references, see benchmarks/


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
    takes the order of the first backwards, so that what two features do together is shared evenly: where no more than
    two act together, one pair gives the integral exactly.

    Args:
        score: Scores cells. [shape=(n, features)] -> [shape=(n,)]
        cell: [shape=(features,)]
        reference: [shape=(references, features)]
        pairs: Pairs of steps.
        seed: For the orders; equal seeds give equal contributions.

    Returns:
        Each row adds up to the score of the cell less that of a reference cell. [shape=(references, features)]
    """
    rng = np.random.default_rng(seed)
    features = len(cell)
    moved = np.zeros((len(reference), features))
    for number, start in enumerate(reference):
        orders = [turn for _ in range(pairs) for turn in _there_and_back(rng.permutation(features))]
        stops = np.linspace(start, cell, len(orders) + 1)
        steps = [_one_after_another(stops[at], stops[at + 1], order) for at, order in enumerate(orders)]
        gained = np.diff(score(np.concatenate(steps)).reshape(len(orders), features + 1))
        for order, gain in zip(orders, gained, strict=True):
            moved[number, order] += gain
    return moved


def _there_and_back(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return order, order[::-1]


def _one_after_another(start: np.ndarray, end: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return every cell between two, of which the features change in an order. [shape=(features + 1, features)]"""
    turn = np.empty(len(order), int)
    turn[order] = np.arange(len(order))
    return np.where(turn < np.arange(len(order) + 1)[:, None], end, start)
