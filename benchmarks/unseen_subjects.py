"""A harder yardstick for recipes of SVM and k-NN: subjects weighted equally, repeated, and a shift between batches.

    python -m benchmarks.unseen_subjects features.csv manifest.csv --repeats 3 --jobs 2

Each candidate is trained on the training part of each fold of repeated cross-validations over subject groups, which
`leukobench split --method kfold --repeats` makes; recipes select their settings inside the training part. The table has

    subjects      AUROC of cells within folds, all subject groups of a class weighted equally: mean over the repeats
    cells         the same with all cells weighted equally
    lowest fold   lowest AUROC of a fold, subject groups weighted equally
    lowest group  lowest AUROC of a subject group: its cells against those of the other class in its fold, subject
                  groups weighted equally; mean over the repeats, of the groups of at least 10 cells
    batch         trained on the early batch (normal subjects up to H24), tested on the later ones (H40, H46 and H48)
                  and as many subject groups with leukemia, subject groups weighted equally; mean and lowest of draws of
                  the latter

The candidates beside the recipes are fixed, not searched: what they add to the recipe `leukobench-svm` can be compared
with the row "SVM, fixed". Choose by the columns "subjects" and "batch"; a difference below 0.01 is chance here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.preprocessing import QuantileTransformer, StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from leukobench.classifiers.estimator import BlastClassifier
from leukobench.classifiers.whitening import fit_whitening
from leukobench.cohort.manifest import POSITIVE, read_manifest
from leukobench.cohort.partition import Repeats
from leukobench.cohort.splitting import split
from leukobench.comparison.auroc import auroc
from leukobench.comparison.weighted_metrics import Scored
from leukobench.results.feature_table import read_feature_table
from leukobench.results.weights import cell_weights

LATE = ("H40", "H46", "H48")
DRAWS = 5
FEWEST_CELLS = 10  # of a subject group whose own AUROC is shown
C, GAMMA = 3.0, 0.001
Model = Callable[[pd.DataFrame, np.ndarray, np.ndarray, pd.DataFrame], np.ndarray]


def recipe(name: str) -> Model:
    """A recipe of leukobench, with its search inside the training part."""

    def score(train: pd.DataFrame, positive: np.ndarray, group: np.ndarray, test: pd.DataFrame) -> np.ndarray:
        classifier = BlastClassifier(name, seed=0).fit(train, positive, groups=group)
        return classifier.predict_proba(test)[:, 1]

    return score


def fixed(*, quantiles: bool = False, between: float | None = None, weight: str = "class-subject") -> Model:
    """The SVM of `leukobench-svm` with fixed C and gamma, and with other steps before it.

    Args:
        quantiles: Whether each feature is mapped to a normal distribution by its quantiles, instead of standardised.
        between: Factor of the scatter between the subject groups of a class, beside that within them, in the covariance
            that whitens; None: the covariance within the classes, as in the recipe.
        weight: Weights of the cells, a name in `leukobench.classifiers.settings.WEIGHTS`.
    """

    def score(train: pd.DataFrame, positive: np.ndarray, group: np.ndarray, test: pd.DataFrame) -> np.ndarray:
        scaler = QuantileTransformer(n_quantiles=100, output_distribution="normal") if quantiles else StandardScaler()
        a, b = scaler.fit_transform(train.to_numpy()), scaler.transform(test.to_numpy())
        kept = a.std(axis=0) > 0
        a, b = a[:, kept], b[:, kept]
        if between is None:
            whitening = fit_whitening(a, positive)
            a, b = whitening.transform(a), whitening.transform(b)
        else:
            axes = _whitening_by_group(a, positive, group, between)
            a, b = a @ axes, b @ axes
        machine = SVC(C=C, gamma=GAMMA, cache_size=500).fit(a, positive, cell_weights(weight, positive, group))
        return machine.decision_function(b)

    return score


def _whitening_by_group(features: np.ndarray, positive: np.ndarray, group: np.ndarray, between: float) -> np.ndarray:
    """Return S^(-1/2) for the covariance within subject groups plus a multiple of that between them, shrunk by 10%."""
    names, number, count = np.unique(group, return_inverse=True, return_counts=True)
    means = np.stack([features[number == each].mean(axis=0) for each in range(len(names))])
    of_class = np.array([positive[number == each][0] for each in range(len(names))])
    residual = (features - means[number]) / np.sqrt(count[number])[:, None]
    large = count >= FEWEST_CELLS
    offset = np.concatenate([means[large & each] - means[large & each].mean(axis=0) for each in (of_class, ~of_class)])
    covariance = residual.T @ residual / len(names) + between * offset.T @ offset / len(offset)
    covariance = 0.9 * covariance + 0.1 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    variance, axes = np.linalg.eigh(covariance)
    return axes / np.sqrt(variance)


def extra_trees(train: pd.DataFrame, positive: np.ndarray, group: np.ndarray, test: pd.DataFrame) -> np.ndarray:
    """Extremely randomised trees, not tuned."""
    trees = ExtraTreesClassifier(300, min_samples_leaf=3, random_state=0)
    trees.fit(train.to_numpy(), positive, cell_weights("class-subject", positive, group))
    return trees.predict_proba(test.to_numpy())[:, 1]


CANDIDATES: dict[str, tuple[str, Model]] = {  # name -> feature columns (a regular expression) and model
    "leukobench-svm": ("", recipe("leukobench-svm")),
    "leukobench-knn": ("", recipe("leukobench-knn")),
    "SVM, fixed": ("", fixed()),
    "SVM, fixed, color only": ("^color_", fixed()),
    "SVM, fixed, texture only": ("^texture_", fixed()),
    "SVM, fixed, without geometry": ("^(?!geometry_)", fixed()),
    "SVM, fixed, classes weighted equally": ("", fixed(weight="class")),
    "SVM, fixed, quantiles": ("", fixed(quantiles=True)),
    "SVM, fixed, whitened within subjects": ("", fixed(between=0.0)),
    "SVM, fixed, whitened within + between subjects": ("", fixed(between=1.0)),
    "SVM, fixed, whitened within + 3 x between subjects": ("", fixed(between=3.0)),
    "extra trees": ("", extra_trees),
}


def batch_splits(positive: np.ndarray, group: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return training and test rows of each draw of the shift between batches."""
    late = np.isin(group, LATE)
    blasts = np.random.default_rng(0).permutation(np.unique(group[positive]))
    count = len(np.unique(group[late]))
    tested = [late | np.isin(group, blasts[draw * count : (draw + 1) * count]) for draw in range(DRAWS)]
    return [(np.flatnonzero(~of), np.flatnonzero(of)) for of in tested]


def weighted_auroc(positive: np.ndarray, score: np.ndarray, group: np.ndarray, fold: np.ndarray, equal: bool) -> float:
    """Return the AUROC of cells within folds."""
    number = pd.factorize(group)[0]
    return auroc(Scored(positive, score, number, int(number.max()) + 1, fold), equal=equal).value


def summary(
    positive: np.ndarray, group: np.ndarray, repeats: list[tuple[np.ndarray, np.ndarray]], shifts: list[float]
) -> str:
    """Return the columns of a line: of each repeat the score and the fold of each cell, and the AUROCs of the draws."""
    subjects = [weighted_auroc(positive, score, group, fold, True) for score, fold in repeats]
    cells = [weighted_auroc(positive, score, group, fold, False) for score, fold in repeats]
    lowest = [
        weighted_auroc(positive[of], score[of], group[of], fold[of], True)
        for score, fold in repeats
        for number in np.unique(fold)
        for of in [fold == number]
    ]
    large = [name for name, count in zip(*np.unique(group, return_counts=True), strict=True) if count >= FEWEST_CELLS]
    by_group = {
        name: np.mean([_auroc_of_group(positive, score, group, fold, name) for score, fold in repeats])
        for name in large
    }
    worst = min(by_group, key=lambda name: by_group[name])
    return (
        f"{np.mean(subjects):.3f} | {np.mean(cells):.3f} | {min(lowest):.3f} | {by_group[worst]:.3f} ({worst}) | "
        f"{np.mean(shifts):.3f} | {min(shifts):.3f}"
    )


def _auroc_of_group(positive: np.ndarray, score: np.ndarray, group: np.ndarray, fold: np.ndarray, name: str) -> float:
    own = group == name
    rows = own | ((fold == fold[own][0]) & (positive != positive[own][0]))
    return weighted_auroc(positive[rows], score[rows], group[rows], fold[rows], True)


def _scored(
    model: Model, values: pd.DataFrame, positive: np.ndarray, group: np.ndarray, rows: list[np.ndarray]
) -> np.ndarray:
    train, test = rows
    with threadpool_limits(1):
        return model(values.iloc[train], positive[train], group[train], values.iloc[test])


def main() -> None:
    """Evaluate every candidate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    manifest = read_manifest(arguments.manifest)
    values = read_feature_table(arguments.features).values
    cohort = manifest[manifest["path"].isin(values.index)].set_index("path")
    values = values.loc[cohort.index]
    positive, group = (cohort["label"] == POSITIVE).to_numpy(), cohort["subject_group"].to_numpy()
    made = split(manifest, "kfold", folds=5, repeats=arguments.repeats, seed=1)
    repeats = list(made.repeats.values()) if isinstance(made, Repeats) else [made]
    folds = [
        [[np.flatnonzero(parts == part) for part in ("train", "test")] for parts in _parts(repeat, cohort)]
        for repeat in repeats
    ]
    batches = batch_splits(positive, group)
    print(f"{len(cohort)} cells, {len(np.unique(group))} subject groups, {arguments.repeats} repeats of 5 folds\n")
    print("| model | columns | subjects | cells | lowest fold | lowest group | batch: mean | lowest |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    parallel = Parallel(n_jobs=arguments.jobs)
    for name, (columns, model) in CANDIDATES.items():
        own = values.filter(regex=columns) if columns else values
        tasks = [rows for repeat in folds for rows in repeat] + [list(rows) for rows in batches]
        found = parallel(delayed(_scored)(model, own, positive, group, rows) for rows in tasks)
        kept, place = [], 0
        for repeat in folds:
            score, fold = np.full(len(cohort), np.nan), np.zeros(len(cohort), int)
            for number, (_, test) in enumerate(repeat):
                score[test], fold[test] = found[place], number
                place += 1
            kept.append((score, fold))
        shifts = [
            weighted_auroc(positive[test], score, group[test], np.zeros(len(test), int), True)
            for (_, test), score in zip(batches, found[place:], strict=True)
        ]
        print(f"| {name} | {own.shape[1]} | {summary(positive, group, kept, shifts)} |", flush=True)


def _parts(folds: object, cohort: pd.DataFrame) -> list[np.ndarray]:
    """Return the part of each cell of the cohort, for each fold."""
    return [
        partition.rows.set_index("path")["part"].reindex(cohort.index).to_numpy()
        for _, partition in folds.by_fold()  # type: ignore[attr-defined]
    ]


if __name__ == "__main__":
    main()
