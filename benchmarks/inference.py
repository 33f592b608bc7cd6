"""Coverage of the confidence intervals, and size of the tests, by simulation.

    python -m benchmarks.inference [--cohorts 1000] [--jobs 2]

A cohort has subject groups of one class each, whose sizes are drawn from those of C-NMC 2019 (with three tenths of
their cells). The score of a cell is normal: a share of its variance, the intra-subject correlation, is between
subjects; blasts lie higher by the shift that gives the stated AUROC. Its probability is the exact one, so that the
calibration intercept is 0 and the slope 1. A second model has the same AUROC and a correlation of 0.6 with the first.

For each number of groups, the tables give the smallest and the largest result over the intra-subject correlations
0.25 and 0.6 and the AUROCs 0.8 and 0.92. An interval covers if it contains the true value; a nominal level of 95%
should give 93 to 97 of 100. A test rejects if its p-value is at most 0.05; that should be 3 to 7 of 100, because both
models are equal. With 1,000 cohorts the standard error of a result is 0.7 of 100.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import time
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.special import expit
from scipy.stats import norm

from leukobench.cohort.manifest import NEGATIVE, POSITIVE, read_manifest
from leukobench.comparison.auroc import auroc, swap_contributions
from leukobench.comparison.intervals import UNDECIDED, Estimate, SubjectGroups
from leukobench.comparison.measuring import estimates, measure_classes, measure_score
from leukobench.comparison.paired_tests import delong, detectable, swap_test
from leukobench.comparison.weighted_metrics import Scored, average_precision, brier_score, thresholded_metrics
from leukobench.results.metrics import THRESHOLD
from leukobench.results.resampling import draw_counts, pairwise_wins

GROUPS = ((9, 3), (13, 7), (13, 15), (27, 13), (30, 12), (40, 20))  # 13 + 15: the preliminary test of C-NMC 2019
CORRELATIONS, AUROCS = (0.25, 0.6), (0.8, 0.92)
SECOND_MODEL = 0.6  # its correlation with the first, of subjects and of cells
CELLS = 0.3  # share of the cells of C-NMC 2019
RESAMPLES = 500  # of the bootstrap that is compared
FOLD_SHIFT = 0.5  # standard deviation of the scale of the folds' models, in those of a score


@dataclass(frozen=True)
class Setting:
    """The numbers of groups, the intra-subject correlation and the AUROC of a simulation."""

    positives: int
    negatives: int
    correlation: float
    auroc: float

    @property
    def shift(self) -> float:
        """Distance between the means of the classes, in standard deviations."""
        return float(np.sqrt(2) * norm.ppf(self.auroc))

    def probability(self, score: np.ndarray, sizes: dict[str, np.ndarray]) -> np.ndarray:
        """Return the probability of the positive class, at the expected numbers of cells."""
        odds = self.positives * sizes[POSITIVE].mean() / (self.negatives * sizes[NEGATIVE].mean())
        return expit(self.shift * (score - self.shift / 2) + np.log(odds))


def group_sizes() -> dict[str, np.ndarray]:
    """Return the number of cells of each subject group of C-NMC 2019, by class."""
    manifest = read_manifest()
    known = manifest[(manifest["label"] != "") & (manifest["subject_group"] != "")]
    return {
        label: np.maximum(2, (CELLS * rows.groupby("subject_group").size().to_numpy()).astype(int))
        for label, rows in known.groupby("label")
    }


def draw_cohort(
    setting: Setting, size: np.ndarray, positives: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return the group of each cell, which are positive, and the normal scores of both models."""
    group = np.repeat(np.arange(len(size)), size)
    positive = group < positives

    def correlated(number: int) -> list[np.ndarray]:
        first, other = rng.normal(size=(2, number))
        return [first, SECOND_MODEL * first + np.sqrt(1 - SECOND_MODEL**2) * other]

    subjects, cells = correlated(len(size)), correlated(len(group))
    between, within = np.sqrt(setting.correlation), np.sqrt(1 - setting.correlation)
    scores = [
        between * of_subject[group] + within * of_cell + setting.shift * positive
        for of_subject, of_cell in zip(subjects, cells, strict=True)
    ]
    return group, positive, scores


def true_values(setting: Setting, sizes: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the true value of each metric: by its definition, or on a population of 4,300 subjects."""
    number = 50
    size = np.concatenate([np.tile(sizes[POSITIVE], number), np.tile(sizes[NEGATIVE], number)])
    positives = number * len(sizes[POSITIVE])
    group, positive, (score, _) = draw_cohort(setting, size, positives, np.random.default_rng(0))
    rows = Scored(positive, setting.probability(score, sizes), group, len(size))
    share = np.where(
        np.arange(len(size)) < positives,
        setting.positives / positives,
        setting.negatives / (len(size) - positives),
    )[None]
    found = {name: float(values[0]) for name, values in thresholded_metrics(rows, share, THRESHOLD).items()}
    found |= {
        "brier": float(brier_score(rows, share)[0]),
        "average_precision": float(average_precision(rows, share)[0]),
    }
    exact = {"auroc": setting.auroc, "subject_weighted_auroc": setting.auroc}
    return found | exact | {"calibration_intercept": 0.0, "calibration_slope": 1.0}


def simulate(setting: Setting, cohorts: int, seed: int) -> dict[str, float]:
    """Return the share of cohorts in which an interval covers or a test rejects, and the detectable difference."""
    rng, sizes = np.random.default_rng(seed), group_sizes()
    truth = true_values(setting, sizes)
    found: dict[str, list[float]] = {}
    for _ in range(cohorts):
        size = np.concatenate(
            [rng.choice(sizes[POSITIVE], setting.positives), rng.choice(sizes[NEGATIVE], setting.negatives)]
        )
        group, positive, scores = draw_cohort(setting, size, setting.positives, rng)
        groups = SubjectGroups(pd.Index(range(len(size))), np.arange(len(size)) < setting.positives, size)
        first, second = (Scored(positive, setting.probability(score, sizes), group, len(size)) for score in scores)
        intervals = estimates(measure_score(first) | measure_classes(first, THRESHOLD), groups, [first])
        of_cohort = {f"covers {name}": _covers(intervals[name], value) for name, value in truth.items()}
        for name, equal in (("auroc", False), ("subject_weighted_auroc", True)):
            folded = _in_folds(first, scores[0], groups, rng)
            within = groups.logit_interval(auroc(folded, equal=equal), equal=equal, undecided=UNDECIDED)
            of_cohort[f"covers {name} in folds"] = _covers(within, setting.auroc)
            difference = auroc(first, equal=equal) - auroc(second, equal=equal)
            of_cohort[f"detectable {name}"] = detectable(difference, groups, equal=equal).difference
            of_cohort[f"covers difference {name}"] = _covers(groups.interval(difference, equal=equal), 0.0)
            swapped = swap_test(swap_contributions(first, second, equal=equal), seed=int(rng.integers(2**31)))
            of_cohort[f"rejects {name}"] = swapped <= 0.05
        of_cohort |= _alternatives(first, second, groups.positive, setting.auroc, rng)
        for name, value in of_cohort.items():
            found.setdefault(name, []).append(float(value))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _covers(estimate: Estimate, value: float) -> bool:
    return bool(estimate.low <= value <= estimate.high)


def _in_folds(rows: Scored, score: np.ndarray, groups: SubjectGroups, rng: np.random.Generator) -> Scored:
    """Divide the groups of each class into at most 5 folds, each with a scale of its own."""
    folds = min(5, *groups.of_class)
    fold = np.empty(len(groups), int)
    for members in (groups.positive, ~groups.positive):
        fold[members] = rng.permutation(np.arange(members.sum()) % folds)
    moved = score + FOLD_SHIFT * rng.normal(size=folds)[fold][rows.group]
    return replace(rows, score=moved, fold=fold[rows.group])


def _alternatives(
    first: Scored, second: Scored, positive_groups: np.ndarray, true: float, rng: np.random.Generator
) -> dict[str, bool]:
    """Return the same for what is often used: the cluster bootstrap with percentile intervals, and DeLong's test."""
    counts = draw_counts(positive_groups, RESAMPLES, rng)
    of_models = []
    for rows in (first, second):
        won = pairwise_wins(rows.score, rows.positive, rows.group, rows.groups)
        pairs = (counts @ rows.sums(rows.positive)) * (counts @ rows.sums(~rows.positive))
        of_models.append(((counts @ won) * counts).sum(axis=1) / pairs)
    low, high = np.quantile(of_models[0], [0.025, 0.975])
    least, most = np.quantile(of_models[0] - of_models[1], [0.025, 0.975])
    return {
        "covers bootstrap": bool(low <= true <= high),
        "rejects bootstrap": bool(least > 0 or most < 0),
        "rejects delong": delong(first.positive, first.score, second.score)[2] <= 0.05,
    }


TABLES = {
    "AUROC: 95% interval covers, in 100 cohorts": {
        "one model": "covers auroc",
        "one model, subjects weighted equally": "covers subject_weighted_auroc",
        "within folds": "covers auroc in folds",
        "within folds, subjects weighted equally": "covers subject_weighted_auroc in folds",
        "cluster bootstrap, percentile": "covers bootstrap",
    },
    "Two models of equal AUROC: the test rejects, or the interval of the difference covers 0, in 100 cohorts": {
        "swap test rejects": "rejects auroc",
        "swap test rejects, subjects weighted equally": "rejects subject_weighted_auroc",
        "interval covers": "covers difference auroc",
        "interval covers, subjects weighted equally": "covers difference subject_weighted_auroc",
        "cluster bootstrap, percentile: rejects": "rejects bootstrap",
        "DeLong over cells: rejects": "rejects delong",
    },
    "Two models: the mean difference in AUROC that a cohort would show with 80% power, times 100": {
        "every cell weighted equally": "detectable auroc",
        "subjects weighted equally": "detectable subject_weighted_auroc",
    },
    "Other metrics: 95% interval covers, in 100 cohorts": {
        name.replace("_", " "): f"covers {name}"
        for name in (
            *("average_precision", "brier", "calibration_intercept", "calibration_slope", "accuracy"),
            *("balanced_accuracy", "sensitivity", "specificity", "subject_sensitivity", "subject_specificity"),
            *("precision", "f1", "weighted_f1", "matthews"),
        )
    },
}


def main() -> None:
    """Simulate all settings and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    start = time.perf_counter()
    settings = [
        Setting(*groups, correlation, true)
        for groups, correlation, true in itertools.product(GROUPS, CORRELATIONS, AUROCS)
    ]
    # a seed for each setting, so that the settings are independent and the number of processes changes nothing
    results = Parallel(arguments.jobs)(
        delayed(simulate)(setting, arguments.cohorts, seed) for seed, setting in enumerate(settings)
    )
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"{arguments.cohorts:,} cohorts for each of {len(settings)} settings, {time.perf_counter() - start:.0f} s")
    for title, columns in TABLES.items():
        print(f"\n{title}\n")
        print(f"| groups (all + hem) | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
        for groups in GROUPS:
            of_groups = [
                result
                for setting, result in zip(settings, results, strict=True)
                if (setting.positives, setting.negatives) == groups
            ]
            ends = [[100 * result[key] for result in of_groups] for key in columns.values()]
            shown = (f"{min(values):.1f} to {max(values):.1f}" for values in ends)
            print(f"| {groups[0]} + {groups[1]} | {' | '.join(shown)} |")


if __name__ == "__main__":
    from benchmarks.inference import main  # by its name, so that the parallel processes can import its functions

    main()
