"""Intervals and p-values of `leukobench leakage`: generated cohorts whose optimistic bias is known.

    python -m benchmarks.split_levels --cohorts 200 --jobs 2

A cohort has 48 people with 10 to 60 cells each, two thirds of them with blasts; every fourth person has two subject
IDs, half of them tied by an identical image. A cell is a vector of 40 numbers: the effect of its class, a random effect
of its person, and noise. In each cohort a model is cross-validated at each level (`level_folds`), and compared with the
reference by `level_biases`. The models are trained on

- `cohort`: the cells of the cohort, as `leakage` does. The true bias is the mean over all cohorts; an interval should
  contain it in 95% of them.
- `others`: cells of other people, as many people and cells as at the reference. Nothing leaks, the true bias is 0, and
  the p-value (of one level, so without Holm's correction) should be below 0.05 in 5% of the cohorts.
- `more others`: cells of other people, as many people and cells as at the level. Nothing leaks, but at the level
  `image` more people are trained on, with fewer cells each; this shows what that alone changes.
"""

from __future__ import annotations

import argparse
import gc
import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from leukobench.cohort.identity import subject_groups
from leukobench.cohort.manifest import COLUMNS
from leukobench.cohort.partition import Folds
from leukobench.cohort.split_levels import REFERENCE, SplitLevel, level_folds, level_units
from leukobench.cohort.ties import KINDS, accepted
from leukobench.comparison.intervals import Estimate
from leukobench.workflows.level_bias import level_biases

PEOPLE, FEWEST, MOST, FEATURES = 48, 10, 60, 40
CLASS_EFFECT, PERSON_EFFECT = 0.6, 0.5  # of the first four numbers; standard deviation of every number

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
TRAINING = ("others", "more others", "cohort")


def cohort(rng: np.random.Generator, number: int) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Draw the manifest, the ties and the person of each cell of a cohort."""
    person = np.repeat(np.arange(PEOPLE), rng.integers(FEWEST, MOST + 1, PEOPLE))
    two = person % 12 < 3  # three of each twelve people, two of them with blasts
    second = two & (np.arange(len(person)) % 2 == 1)
    subject = [f"{number}-{who}{'b' if other else ''}" for who, other in zip(person, second, strict=True)]
    rows = pd.DataFrame({"path": [f"{number}/{cell}" for cell in range(len(person))], "subject": subject})
    rows["label"] = np.where(person % 3 > 0, "all", "hem")
    pairs = rows[second].drop_duplicates("subject")["subject"]
    ties = pd.DataFrame({"subject": pairs.str[:-1], "other_subject": pairs, "accepted": "yes"})
    ties["kind"] = np.where(np.arange(len(ties)) // 3 % 2 == 0, KINDS[0], KINDS[2])
    rows["subject_group"] = subject_groups(rows["subject"], accepted(ties))
    return rows.reindex(columns=list(COLUMNS), fill_value=""), ties, person


def draw_cells(rng: np.random.Generator, person: np.ndarray) -> np.ndarray:
    """Draw the features of cells: new people with the same classes and numbers of cells."""
    features = rng.normal(0, PERSON_EFFECT, (PEOPLE, FEATURES))[person] + rng.normal(size=(len(person), FEATURES))
    features[person % 3 > 0, :4] += CLASS_EFFECT
    return features


def cross_validate(
    folds: Folds, trained: Folds, features: np.ndarray, training: Callable[[], np.ndarray], model: Model
) -> pd.DataFrame:
    """Return the test rows of all folds with their scores.

    Args:
        folds: The folds to test.
        trained: The folds whose training rows are trained on.
        features: The features of the cohort.
        training: Function that returns the features to train on.
        model: The model.
    """
    tested = []
    for fold, partition in folds.partitions.items():
        train, test = trained.partitions[fold].part("train"), partition.part("test")
        score = model(training()[train.index], (train["label"] == "all").to_numpy(), features[test.index])
        tested.append(test.assign(fold=fold, score=score))
    return pd.concat(tested)


def biases(number: int) -> dict[tuple[str, str, SplitLevel], tuple[Estimate, float]]:
    """Return the bias and its p-value in a cohort, by training cells, model and level."""
    gc.freeze()  # statsmodels collects garbage in each correction by Holm's method, which takes most of the time
    rng = np.random.default_rng(number)
    rows, ties, person = cohort(rng, number)
    features = draw_cells(rng, person)
    made = level_folds(rows, level_units(rows, ties), seed=number)
    found = {}
    for cells, model in itertools.product(TRAINING, MODELS):
        tested = {}
        for level, folds in made.items():
            trained = made[REFERENCE] if cells == "others" else folds
            draw = partial(draw_cells, rng, person) if cells != "cohort" else lambda: features
            tested[level] = [cross_validate(folds, trained, features, draw, model)]
        for level in tested:
            if level != REFERENCE:
                of_level = {level: tested[level], REFERENCE: tested[REFERENCE]}
                for each in level_biases(model.__name__, of_level):
                    if each.metric == "auroc":
                        found[cells, model.__name__, level] = each.bias, each.p
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    cohorts = tqdm(range(arguments.cohorts), disable=None)
    found = Parallel(arguments.jobs)(delayed(biases)(number) for number in cohorts)
    print("| training | model | level | bias | standard error | half width of the interval | coverage | p < 0.05 |")
    print("|---|---|---|---|---|---|---|---|")
    for key in found[0]:
        bias, low, high = np.array([(each[key][0].value, each[key][0].low, each[key][0].high) for each in found]).T
        true = bias.mean() if key[0] == "cohort" else 0.0
        error, width = bias.std(ddof=1) / len(bias) ** 0.5, (high - low).mean() / 2
        covered, rejected = np.mean((low <= true) & (true <= high)), np.mean([each[key][1] < 0.05 for each in found])
        cells = " | ".join(key)
        print(f"| {cells} | {bias.mean():+.4f} | {error:.4f} | {width:.4f} | {covered:.0%} | {rejected:.1%} |")


if __name__ == "__main__":
    main()
