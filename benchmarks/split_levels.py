"""Coverage of the intervals of `leukobench leakage`: generated cohorts whose optimistic bias is known.

    python -m benchmarks.split_levels --cohorts 100 --jobs 2

A cohort has 48 people with 30 cells each; every fourth person has two subject IDs, half of them tied by an identical
image. A cell is a vector of 40 numbers: the effect of its class, a random effect of its person, and noise. For each
cohort, ten seeds of `paired_partitions` give the bias of each level and its interval. The true bias is the mean over
all cohorts. A 95% interval should contain it in 95% of the cohorts. The same is computed for two splits that are drawn
independently, as leukobench 0.2 did: an image-level and a subject-level split of the same size.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import rankdata
from tqdm import tqdm

from leukobench.cohort.identity import subject_groups
from leukobench.cohort.manifest import COLUMNS
from leukobench.cohort.partition import Partition
from leukobench.cohort.split_levels import REFERENCE, SplitLevel, level_units, paired_partitions
from leukobench.cohort.splitting import SplitOptions, split_by_image, split_by_subject
from leukobench.cohort.ties import KINDS, accepted
from leukobench.comparison.paired_tests import corrected_resampled_interval

PEOPLE, CELLS, FEATURES, SEEDS = 48, 30, 40, 10
CLASS_EFFECT, PERSON_EFFECT = 0.6, 0.5  # of the first four numbers; standard deviation of every number
INDEPENDENT = "image, drawn independently"

Model = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def ridge(features: np.ndarray, positive: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Ridge regression on the class: its predictions of other cells."""
    mean = features.mean(axis=0)
    centred = features - mean
    weights = np.linalg.solve(centred.T @ centred + 10 * np.eye(FEATURES), centred.T @ (positive - positive.mean()))
    return (others - mean) @ weights


def neighbors(features: np.ndarray, positive: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of positives among the 30 nearest cells."""
    distance = (features**2).sum(axis=1) - 2 * others @ features.T
    return positive[np.argpartition(distance, 30, axis=1)[:, :30]].mean(axis=1)


MODELS: tuple[Model, ...] = (ridge, neighbors)


def cohort(rng: np.random.Generator, number: int) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Draw the manifest, the ties and the features of a cohort."""
    person = np.repeat(np.arange(PEOPLE), CELLS)
    blast = person % 2 == 0
    effect = rng.normal(0, PERSON_EFFECT, (PEOPLE, FEATURES))
    features = effect[person] + rng.normal(size=(len(person), FEATURES))
    features[blast, :4] += CLASS_EFFECT
    two = person // 2 % 4 == 0  # two people of each eight, one of each class
    second = two & (np.arange(len(person)) % 2 == 1)
    subject = [f"{number}-{who}{'b' if other else ''}" for who, other in zip(person, second, strict=True)]
    rows = pd.DataFrame({"path": [f"{number}/{cell}" for cell in range(len(person))], "subject": subject})
    rows["label"] = np.where(blast, "all", "hem")
    pairs = rows[second].drop_duplicates("subject")["subject"]
    ties = pd.DataFrame({"subject": pairs.str[:-1], "other_subject": pairs, "accepted": "yes"})
    ties["kind"] = np.where(np.arange(len(ties)) // 2 % 2 == 0, KINDS[0], KINDS[2])
    rows["subject_group"] = subject_groups(rows["subject"], accepted(ties))
    return rows.reindex(columns=list(COLUMNS), fill_value=""), ties, features


def auroc(partition: Partition, features: np.ndarray, model: Model) -> float:
    """Train on one part of a partition, and return the AUROC of the other."""
    train, test = (partition.part(name) for name in ("train", "test"))
    score = model(features[train.index], (train["label"] == "all").to_numpy(), features[test.index])
    positive = (test["label"] == "all").to_numpy()
    number = positive.sum()
    return float((rankdata(score)[positive].sum() - number * (number + 1) / 2) / number / (len(test) - number))


def biases(number: int) -> dict[tuple[str, str], tuple[np.ndarray, float]]:
    """Return the bias in each seed of a cohort, by model and level, and the ratio of test to training subjects."""
    rows, ties, features = cohort(np.random.default_rng(number), number)
    units = level_units(rows, ties)
    found: dict[tuple[str, str], list[float]] = {}
    ratios = []
    for seed in range(SEEDS):
        made = paired_partitions(rows, units, 0.2, seed)
        apart = [method(rows, 0.2, SplitOptions(seed=seed)) for method in (split_by_image, split_by_subject)]
        for model in MODELS:
            values = {level: auroc(partition, features, model) for level, partition in made.items()}
            gaps: dict[str, float] = {level: values[level] - values[REFERENCE] for level in SplitLevel}
            gaps[INDEPENDENT] = auroc(apart[0], features, model) - auroc(apart[1], features, model)
            for level, gap in gaps.items():
                found.setdefault((model.__name__, level), []).append(gap)
        groups = [made[REFERENCE].part(part)["subject_group"].nunique() for part in ("test", "train")]
        ratios.append(groups[0] / groups[1])
    return {key: (np.array(gaps), float(np.mean(ratios))) for key, gaps in found.items() if key[1] != REFERENCE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    cohorts = tqdm(range(arguments.cohorts), disable=None)
    found = Parallel(arguments.jobs)(delayed(biases)(number) for number in cohorts)
    print("| model | level | bias | SD over seeds | half width of the interval | coverage | without the correction |")
    print("|---|---|---|---|---|---|---|")
    for model, level in found[0]:
        of_cohorts = [each[model, level] for each in found]
        gaps = np.array([each for each, _ in of_cohorts])
        intervals = np.array([corrected_resampled_interval(*each) for each in of_cohorts])
        plain = np.array([corrected_resampled_interval(each, 0) for each, _ in of_cohorts])
        true = gaps.mean()
        covered = [np.mean((low <= true) & (true <= high)) for low, high in (intervals.T, plain.T)]
        spread, width = gaps.std(axis=1, ddof=1).mean(), np.ptp(intervals, axis=1).mean() / 2
        print(f"| {model} | {level} | {true:.4f} | {spread:.4f} | {width:.4f} | {covered[0]:.0%} | {covered[1]:.0%} |")


if __name__ == "__main__":
    main()
