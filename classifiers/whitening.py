"""Whitening of features by the within-class covariance.

Stain, illumination and cell size vary between subjects of one class more than between the classes, and many correlated
features vary with them. Whitening by the within-class covariance removes the weight of this variation (Hatch, A. O.,
Kajarekar, S., & Stolcke, A. (2006). Within-class covariance normalization for SVM-based speaker recognition. ICSLP).
"""

from __future__ import annotations

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.decomposition import PCA


def fit_whitening(features: np.ndarray, positive: np.ndarray) -> PCA:
    """Fit the map x -> S^(-1/2) (x - mean), S the covariance within the classes.

    S is shrunk towards a multiple of the identity as Ledoit, O., & Wolf, M. (2004), J. Multivar. Anal. 88(2) do.

    Args:
        features: Training cells. [shape=(n, columns)]
        positive: Their class. [shape=(n,), bool]

    Returns:
        The map, as a principal component analysis with the axes and scales of S.
    """
    within = (
        features - np.stack([features[~positive].mean(axis=0), features[positive].mean(axis=0)])[positive.astype(int)]
    )
    shrinkage = ledoit_wolf_shrinkage(within, assume_centered=True)
    whitening = PCA(whiten=True, svd_solver="covariance_eigh").fit(within)
    mean_variance = whitening.explained_variance_.sum() / features.shape[1]
    whitening.explained_variance_ = (1 - shrinkage) * whitening.explained_variance_ + shrinkage * mean_variance
    whitening.mean_ = features.mean(axis=0)
    return whitening
