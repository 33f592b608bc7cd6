"""Features in which cells of one class spread alike in every direction.

Stain, light and size differ between people of one class more than the classes differ; features that move together with
them count many times over. Whitening by the covariance within the classes takes their weight away (Hatch, A. O.,
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
        The map, as a principal component analysis of which axes and scales are those of S.
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
