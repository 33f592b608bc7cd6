"""Kernel matrices, and the decision values of a support vector machine by them.

libsvm computes the kernel of one pair of cells at a time. Computing the whole matrix by a matrix product is several
times as fast, and a search uses it for every C.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics.pairwise import linear_kernel, polynomial_kernel
from sklearn.svm import SVC

COEF0 = 1.0  # of the polynomial kernel (gamma x.y + 1)^degree: with 0 it has no terms of lower degree
BLOCK = 1000  # rows at a time, so that 10,000 cells against 10,000 support vectors take 80 MB


def resolve_gamma(gamma: float | str, features: np.ndarray) -> float:
    """Return gamma as a number: scikit-learn's `scale` is 1 / (columns * variance of all values)."""
    if gamma != "scale":
        return float(gamma)
    variance = features.var()
    return 1 / (features.shape[1] * variance) if variance > 0 else 1.0


def kernel_matrix(kernel: str, a: np.ndarray, b: np.ndarray, gamma: float = 1.0, degree: int = 1) -> np.ndarray:
    """Compute the kernel of every pair of rows.

    Args:
        kernel: `rbf`: exp(-gamma |x - y|^2). `linear`: x.y. `poly`: (gamma x.y + 1)^degree.
        a: [shape=(n, columns)]
        b: [shape=(m, columns)]
        gamma: Coefficient of `rbf` and `poly`.
        degree: Degree of `poly`.

    Returns:
        [shape=(n, m)]
    """
    if kernel == "linear":
        return linear_kernel(a, b)
    if kernel == "poly":
        return polynomial_kernel(a, b, degree=degree, gamma=gamma, coef0=COEF0)
    # -gamma |x - y|^2 = 2 gamma x.y - gamma |x|^2 - gamma |y|^2 as one product, its exponential in the same memory
    of_a, of_b = (-gamma * np.einsum("ij,ij->i", of, of)[:, None] for of in (a, b))
    left = np.hstack([2 * gamma * a, of_a, np.ones_like(of_a)])
    right = np.hstack([b, np.ones_like(of_b), of_b])
    exponent = left @ right.T
    return np.exp(exponent, out=exponent)


def decision_values(machine: SVC, features: np.ndarray) -> np.ndarray:
    """Compute `machine.decision_function` by whole kernel matrices. [shape=(n,)]

    Args:
        machine: A fitted two-class machine whose gamma is a number.
        features: Prepared rows. [shape=(n, columns)]
    """
    blocks = [
        kernel_matrix(
            machine.kernel, features[start : start + BLOCK], machine.support_vectors_, machine.gamma, machine.degree
        )
        @ machine.dual_coef_[0]
        for start in range(0, len(features), BLOCK)
    ]
    return np.concatenate(blocks) + machine.intercept_[0]
