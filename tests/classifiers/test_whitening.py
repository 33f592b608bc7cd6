from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from leukobench.classifiers.whitening import fit_whitening


@pytest.fixture
def correlated() -> tuple[np.ndarray, np.ndarray]:
    """4,000 cells of two classes that differ along one direction, and spread unequally."""
    random = np.random.default_rng(0)
    positive = random.random(4000) < 0.6
    mixing = random.normal(size=(6, 6))
    return random.normal(size=(4000, 6)) * [3, 1, 1, 1, 1, 0.5] @ mixing + np.outer(positive, np.arange(6)), positive


def test_it_is_the_inverse_root_of_the_shrunk_covariance_within_the_classes(
    correlated: tuple[np.ndarray, np.ndarray],
) -> None:
    features, positive = correlated
    whitening = fit_whitening(features, positive)
    within = features.copy()
    for of_class in (positive, ~positive):
        within[of_class] -= features[of_class].mean(axis=0)
    shrunk, _ = ledoit_wolf(within, assume_centered=True)
    root = whitening.components_.T / np.sqrt(whitening.explained_variance_)
    assert root @ root.T == pytest.approx(np.linalg.inv(shrunk), rel=0.01)  # n - 1 there, n here
    assert whitening.transform(features).mean(axis=0) == pytest.approx(np.zeros(6), abs=1e-9)


def test_the_difference_of_means_is_then_the_discriminant_direction(correlated: tuple[np.ndarray, np.ndarray]) -> None:
    features, positive = correlated
    white = fit_whitening(features, positive).transform(features)
    score = white @ (white[positive].mean(axis=0) - white[~positive].mean(axis=0))
    analysis = LinearDiscriminantAnalysis(solver="lsqr").fit(features, positive)
    assert np.corrcoef(score, analysis.decision_function(features))[0, 1] > 0.999


def test_fewer_cells_than_columns_are_whitened_in_the_directions_that_they_have() -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(10, 30))
    assert np.isfinite(fit_whitening(features, np.arange(10) < 5).transform(random.normal(size=(4, 30)))).all()
