"""The features of a co-occurrence matrix, with the definitions and names of the IBSI.

Source: Zwanenburg, A., et al. (2020). The Image Biomarker Standardization Initiative. Radiology 295(2), 328-338;
reference manual, section 3.6 (arXiv 1612.07003).
"""

from __future__ import annotations

import numpy as np

from leukobench.core.compiled import compiled

# name -> formula, unit and code in the manual; p(i, j) the joint probability of grey levels i, j = 1..N; p(i) its
# marginal, with mean m, variance v and entropy H; d(k) the probability that |i - j| = k; s(k) that i + j = k
MEASURES = {
    "joint_maximum": ("max p", "1", "GYBY"),
    "joint_average": ("m = sum i p", "levels", "60VM"),
    "joint_variance": ("v = sum (i - m)^2 p", "levels^2", "UR99"),
    "joint_entropy": ("-sum p log2 p", "bits", "TU9B"),
    "difference_average": ("sum k d(k); the same as dissimilarity", "levels", "TF7R"),
    "difference_variance": ("variance of k under d", "levels^2", "D3YU"),
    "difference_entropy": ("-sum d log2 d", "bits", "NTRS"),
    "sum_average": ("sum k s(k)", "levels", "ZGXS"),
    "sum_variance": ("variance of k under s; the same as cluster tendency", "levels^2", "OEEB"),
    "sum_entropy": ("-sum s log2 s", "bits", "P6QZ"),
    "angular_second_moment": ("sum p^2; Haralick's energy, the square of scikit-image's", "1", "8ZQL"),
    "contrast": ("sum (i - j)^2 p", "levels^2", "ACUI"),
    "dissimilarity": ("sum |i - j| p", "levels", "8S9J"),
    "inverse_difference": ("sum p / (1 + |i - j|)", "1", "IB1Z"),
    "normalised_inverse_difference": ("sum p / (1 + |i - j| / N)", "1", "NDRX"),
    "inverse_difference_moment": ("sum p / (1 + (i - j)^2); also called homogeneity", "1", "WF0Z"),
    "normalised_inverse_difference_moment": ("sum p / (1 + (i - j)^2 / N^2)", "1", "1QCO"),
    "inverse_variance": ("sum of p / (i - j)^2 where i is not j", "1", "E8JP"),
    "correlation": ("sum (i - m)(j - m) p / v; 1 where v = 0", "1", "NI2N"),
    "autocorrelation": ("sum i j p", "levels^2", "QWB0"),
    "cluster_tendency": ("sum (i + j - 2m)^2 p", "levels^2", "DG8W"),
    "cluster_shade": ("sum (i + j - 2m)^3 p", "levels^3", "7NFM"),
    "cluster_prominence": ("sum (i + j - 2m)^4 p", "levels^4", "AE86"),
    "information_correlation_1": ("(joint entropy - 2H) / H; 0 where H = 0", "1", "R8DG"),
    "information_correlation_2": ("sqrt(1 - exp(-2 (2H - joint entropy)))", "1", "JN9H"),
}


@compiled
def haralick_measures(counts: np.ndarray) -> np.ndarray:
    """Compute the features of one symmetric co-occurrence matrix, in the order of `MEASURES`. [shape=(25,)]

    Where the cell has a single grey level, correlation is 1 and both information correlations are 0.

    Args:
        counts: How often each pair of levels occurs, or its probability; not all 0. [shape=(levels, levels)]
    """
    marginal, differences, sums, maximum, energy, entropy = _distributions(counts)
    mean, variance = _mean_and_variance(marginal, 1)
    marginal_entropy = _entropy(marginal)
    difference_mean, difference_variance = _mean_and_variance(differences, 0)
    contrast = difference_variance + difference_mean**2
    inverse, inverse_n, inverse_moment, inverse_moment_n, inverse_variance = _inverses(differences)
    tendency, shade, prominence = _clusters(sums, mean)
    constant = marginal.max() >= 1 - 1e-12
    covariance = variance - contrast / 2  # of a symmetric matrix
    correlation = 1.0 if constant else covariance / variance
    shared = max(0.0, 2 * marginal_entropy - entropy)
    return np.array(
        [
            maximum,
            mean,
            variance,
            entropy,
            difference_mean,
            difference_variance,
            _entropy(differences),
            2 * mean,
            tendency,
            _entropy(sums),
            energy,
            contrast,
            difference_mean,
            inverse,
            inverse_n,
            inverse_moment,
            inverse_moment_n,
            inverse_variance,
            correlation,
            covariance + mean**2,
            tendency,
            shade,
            prominence,
            0.0 if constant else -shared / marginal_entropy,
            0.0 if constant else np.sqrt(1 - np.exp(-2 * shared)),
        ]
    )


@compiled
def _distributions(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float, float]:
    """Return the distributions of a level, of |i - j| and of i + j; and maximum, sum of squares and entropy of p."""
    number = len(counts)
    total, lowest, highest = 0.0, number, 0  # cells use few of the levels
    for i in range(number):
        row = counts[i].sum()
        if row > 0:
            total += row
            lowest, highest = min(lowest, i), i
    marginal = np.zeros(number)
    differences = np.zeros(number)
    sums = np.zeros(2 * number + 1)
    maximum = energy = entropy = 0.0
    for i in range(lowest, highest + 1):
        for j in range(i, highest + 1):  # of a symmetric matrix, one half is enough
            if counts[i, j] > 0:
                p = counts[i, j] / total
                times = 1 if i == j else 2
                marginal[i] += p
                if i != j:
                    marginal[j] += p
                differences[j - i] += times * p
                sums[i + j + 2] += times * p
                maximum = max(maximum, p)
                energy += times * p * p
                entropy -= times * p * np.log2(p)
    return marginal, differences, sums, maximum, energy, entropy


@compiled
def _inverses(differences: np.ndarray) -> tuple[float, float, float, float, float]:
    """Return inverse difference and its moment, each plain and normalised, and inverse variance."""
    number = len(differences)
    plain = normalised = moment = normalised_moment = variance = 0.0
    for k in range(number):
        plain += differences[k] / (1 + k)
        normalised += differences[k] / (1 + k / number)
        moment += differences[k] / (1 + k * k)
        normalised_moment += differences[k] / (1 + (k / number) ** 2)
        if k:
            variance += differences[k] / (k * k)
    return plain, normalised, moment, normalised_moment, variance


@compiled
def _clusters(sums: np.ndarray, mean: float) -> tuple[float, float, float]:
    """Return cluster tendency, shade and prominence."""
    tendency = shade = prominence = 0.0
    for k in range(len(sums)):
        deviation = k - 2 * mean
        tendency += deviation**2 * sums[k]
        shade += deviation**3 * sums[k]
        prominence += deviation**4 * sums[k]
    return tendency, shade, prominence


@compiled
def _mean_and_variance(probabilities: np.ndarray, first: int) -> tuple[float, float]:
    """Return mean and variance of the whole numbers from `first` on under their probabilities."""
    mean = 0.0
    for k in range(len(probabilities)):
        mean += (first + k) * probabilities[k]
    variance = 0.0
    for k in range(len(probabilities)):
        variance += (first + k - mean) ** 2 * probabilities[k]
    return mean, variance


@compiled
def _entropy(probabilities: np.ndarray) -> float:
    """Return -sum p log2 p, bits."""
    entropy = 0.0
    for p in probabilities:
        if p > 0:
            entropy -= p * np.log2(p)
    return entropy
