"""Leave one subject group out: the training part is as large as it can be, and every subject is tested once.

    python -m benchmarks.leave_one_out features.csv manifest.csv --recipe leukobench-svm --jobs 2

Each subject group is scored by a recipe that was fitted, settings included, on all other groups. The test part of such
a fold has one class, so there is no AUROC within a fold, and `leukobench split` does not make these folds. The scores
of all folds are pooled, although they come from different models. Two things keep the pooled AUROC usable: the
probabilities are calibrated on the out-of-fold cells of each training part, so they have one scale; and classes and
subject groups have equal weights in training. Still, a training part lacks a group of the class that it is tested on,
which lowers a pooled AUROC a little (Parker, Guenter & Bedo 2007, BMC Bioinformatics 8:326). So the same recipe is
cross-validated in five folds beside it: within folds, and pooled in the same way.

Intervals are those of `leukobench.estimate_metric`; the AUROC of subjects has one value a subject group, the mean
score of its cells.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from benchmarks.unseen_subjects import recipe
from leukobench.cohort.manifest import LABELS, POSITIVE, read_manifest
from leukobench.cohort.splitting import assign_folds
from leukobench.comparison.scores import estimate_metric
from leukobench.results.feature_table import read_feature_table
from leukobench.results.metrics import THRESHOLD

FOLDS = 5
SHOWN = 8  # subject groups with the fewest correct cells


def scores(values: pd.DataFrame, cohort: pd.DataFrame, fold: np.ndarray, name: str, jobs: int) -> np.ndarray:
    """Return the probability of a blast of each cell, by a model that was fitted on the other folds. [shape=(n,)]"""
    positive, group = (cohort["label"] == POSITIVE).to_numpy(), cohort["subject_group"].to_numpy()
    model, numbers = recipe(name), np.unique(fold)
    found = Parallel(n_jobs=jobs, verbose=1)(
        delayed(model)(values[fold != each], positive[fold != each], group[fold != each], values[fold == each])
        for each in numbers
    )
    score = np.empty(len(cohort))
    for each, part in zip(numbers, found, strict=True):
        score[fold == each] = part
    return score


def by_group(cohort: pd.DataFrame, score: np.ndarray) -> pd.DataFrame:
    """Return one row a subject group: class, cells, mean score, and the share of its cells correct at 0.5."""
    positive = cohort["label"] == POSITIVE
    rows = cohort.assign(score=score, correct=(score >= THRESHOLD) == positive).groupby("subject_group")
    return rows.agg(
        label=("label", "first"), cells=("score", "size"), mean_score=("score", "mean"), correct=("correct", "mean")
    )


def line(name: str, cohort: pd.DataFrame, score: np.ndarray, fold: np.ndarray | None) -> str:
    """Return a line of the table: AUROC of subjects weighted equally, of cells and of subjects, and right subjects."""
    y, group, subjects = cohort["label"], cohort["subject_group"], by_group(cohort, score)
    of_cells = [estimate_metric(y, score, group, metric, folds=fold) for metric in ("subject_weighted_auroc", "auroc")]
    of_subject = cohort.assign(fold=fold).groupby("subject_group")["fold"].first() if fold is not None else None
    level = estimate_metric(
        subjects["label"], subjects["mean_score"], subjects.index, folds=None if of_subject is None else of_subject
    )
    right = (subjects["mean_score"] >= THRESHOLD) == (subjects["label"] == POSITIVE)
    shares = ", ".join(f"{right[subjects['label'] == of].sum()} of {(subjects['label'] == of).sum()}" for of in LABELS)
    return f"| {name} | {of_cells[0]} | {of_cells[1]} | {level} | {shares} |"


def main() -> None:
    """Score every subject group by a model without it, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--recipe", default="leukobench-svm")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    values = read_feature_table(arguments.features).values
    cohort = read_manifest(arguments.manifest).set_index("path").loc[values.index]
    one = pd.factorize(cohort["subject_group"])[0]
    five = assign_folds(cohort["subject_group"], cohort["label"], FOLDS, seed=1).to_numpy()
    begun = time.perf_counter()
    left_out = scores(values, cohort, one, arguments.recipe, arguments.jobs)
    seconds = time.perf_counter() - begun
    folded = scores(values, cohort, five, arguments.recipe, arguments.jobs)
    print(
        f"{arguments.recipe}: {len(cohort):,} cells of {one.max() + 1} subject groups; {one.max() + 1} fits in "
        f"{seconds:,.0f} s with {arguments.jobs} processes\n"
    )
    print("| folds | AUROC, subjects weighted equally | AUROC of cells | AUROC of subjects | subjects right at 0.5 |")
    print("|---|---|---|---|---|")
    print(line("one subject group left out, pooled", cohort, left_out, None))
    print(line(f"{FOLDS} folds, pooled", cohort, folded, None))
    print(line(f"{FOLDS} folds, within folds", cohort, folded, five))
    print(f"\n| subject group | class | cells | mean score | correct cells | in {FOLDS} folds |")
    print("|---|---|---|---|---|---|")
    subjects, others = by_group(cohort, left_out), by_group(cohort, folded)
    for name, row in subjects.sort_values("correct").head(SHOWN).iterrows():
        print(
            f"| {name} | {row['label']} | {row['cells']} | {row['mean_score']:.3f} | {row['correct']:.1%} | "
            f"{others.loc[name, 'correct']:.1%} |"
        )


if __name__ == "__main__":
    main()
