"""SVM and k-NN at the size of C-NMC 2019: time of training, prediction and importance, compared with scikit-learn.

    python benchmarks/classical.py features.csv manifest.csv [--jobs 2] [--large 40000]

The table contains real cells. It is resampled to 10,661 rows of 73 subjects: 47 subjects with leukemia and 26 without
are drawn with replacement, then as many of their cells of each class as C-NMC has, and Gaussian noise is added (5% of
the standard deviation of each column). These rows are for timing only. The loss of the approximate kernel is measured
on the real rows.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from leukobench.classifiers.cells import LabelledCells, labelled_cells
from leukobench.classifiers.fitting import fit
from leukobench.classifiers.importance import permutation_importance
from leukobench.classifiers.model import Model
from leukobench.classifiers.pipelines import fit_pipeline
from leukobench.classifiers.recipes import RECIPES, ClassicalRecipe
from leukobench.classifiers.search import group_folds, search
from leukobench.cohort.manifest import labelled, read_manifest
from leukobench.results.feature_table import read_feature_table

SUBJECTS = {True: (47, 7272), False: (26, 3389)}  # of each class: subjects and images of the training phase
NOISE = 0.05
WIDE = 250  # columns of the importance of a large set


def resampled(cells: LabelledCells, size: int, seed: int = 0) -> LabelledCells:
    """Draw subjects and their cells with replacement, in the class proportions of C-NMC."""
    rng = np.random.default_rng(seed)
    rows, group = [], []
    for positive, (subjects, images) in SUBJECTS.items():
        known = np.unique(cells.group[cells.positive == positive])
        drawn = rng.choice(known, subjects)
        owner = rng.integers(0, subjects, round(images * size / 10_661))
        for subject in owner:
            own = np.flatnonzero((cells.group == drawn[subject]) & (cells.positive == positive))
            rows.append(rng.choice(own))
            group.append(f"{'all' if positive else 'hem'}{subject}")
    noise = rng.normal(scale=NOISE * cells.features.std(axis=0), size=(len(rows), cells.features.shape[1]))
    return LabelledCells(cells.features[rows] + noise, cells.positive[rows], np.array(group))


def timed(task: str, run: Callable[[], Any]) -> Any:
    """Run a step, and print its time and the load; a load above the number of cores inflates the time."""
    start = time.perf_counter()
    result = run()
    print(f"| {task:62} | {time.perf_counter() - start:7.2f} s | load {os.getloadavg()[0]:4.1f} |", flush=True)
    return result


def plain_search(recipe: ClassicalRecipe, cells: LabelledCells, jobs: int) -> GridSearchCV:
    """Run scikit-learn's own search over the same grid and folds, then its own calibration."""
    family = recipe.family
    grid = {f"classify__{name}": list(values) for name, values in recipe.grid.items()}
    if family == "svm":
        names, classifier = ("C", "gamma"), SVC(class_weight="balanced")
    else:
        grid["classify__weights"] = grid["classify__neighbor_weight"]
        names, classifier = ("n_neighbors", "metric", "weights"), KNeighborsClassifier()
    folds = group_folds(cells, 0)
    found = GridSearchCV(
        Pipeline([("scale", StandardScaler()), ("classify", classifier)]),
        {f"classify__{name}": grid[f"classify__{name}"] for name in names},
        scoring="roc_auc",
        cv=folds,
        n_jobs=jobs,
    ).fit(cells.features, cells.positive)
    if family == "svm":
        CalibratedClassifierCV(found.best_estimator_, cv=folds, ensemble=False).fit(cells.features, cells.positive)
    return found


def training_and_prediction(cells: LabelledCells, jobs: int) -> None:
    """Print the times of both families, and those of scikit-learn."""
    columns = [f"family{number % 5}_{number}" for number in range(cells.features.shape[1])]
    many = resampled(cells, 10_000, seed=1)
    for family in ("svm", "knn"):
        name = f"{family}, {len(cells):,} cells x {len(columns)}"
        recipe = RECIPES[f"leukobench-{family}"]
        default = timed(f"{name}: default search, fit", lambda r=recipe: fit(r, cells, 0, jobs)).model
        timed(f"{family}: predict 10,000 cells", lambda m=default: m.predict_proba(many.features))
        # settings that scikit-learn has too; its cosine distance differs, see `classifiers.pipelines.neighbors`
        plain_settings = {"projection": "none"} | ({"weight": "class"} if family == "svm" else {"metric": "euclidean"})
        plain_recipe = recipe.changed(plain_settings)
        ours = timed(f"{name}: without whitening", lambda r=plain_recipe: fit(r, cells, 0, jobs))
        theirs = timed(f"{name}: the same with GridSearchCV", lambda r=plain_recipe: plain_search(r, cells, jobs))
        difference = np.abs(np.sort(ours.tried["auroc_mean"]) - np.sort(theirs.cv_results_["mean_test_score"])).max()
        print(f"  chosen: {ours.settings}\n  by GridSearchCV: {theirs.best_params_}")
        print(f"  largest difference between the two in the mean AUROC of a combination: {difference:.1e}")
        probability = timed(
            f"{family}: predict 10,000 cells", lambda m=ours.model: m.predict_proba(many.features)[:, 1]
        )
        pipeline = ours.model.pipeline
        if family == "svm":
            plain = timed("svm: the same with scikit-learn", lambda p=pipeline: p.decision_function(many.features))
            difference = np.abs(plain - ours.model.decision(many.features)).max()
            print(f"  largest difference between the two in the decision value: {difference:.1e}")
        else:
            plain = timed("knn: the same with scikit-learn", lambda t=theirs: t.predict_proba(many.features)[:, 1])
            print(f"  largest difference between the two in the probability: {np.abs(plain - probability).max():.1e}")
        why = [(ours.model, many)]
        timed(
            f"{family}: importance, {len(columns)} columns", lambda w=why: permutation_importance(w, columns, 0, jobs)
        )
        wide_importance(family, cells, many, jobs)


def wide_importance(family: str, cells: LabelledCells, many: LabelledCells, jobs: int) -> None:
    """Print the time of importance for hundreds of columns: those of the table, repeated, with noise."""
    rng = np.random.default_rng(2)

    def widened(of: LabelledCells) -> LabelledCells:
        features = of.features[:, np.arange(WIDE) % of.features.shape[1]]
        return LabelledCells(
            features + rng.normal(scale=features.std(axis=0), size=features.shape), of.positive, of.group
        )

    settings = RECIPES[f"leukobench-{family}"].changed(
        {"C": 1, "gamma": "scale"} if family == "svm" else {"n_neighbors": 35, "metric": "manhattan"}
    )
    model = Model(fit_pipeline(settings.combinations()[0], widened(cells), 0))
    tested = [(model, widened(many))]
    columns = [f"family{number % 8}_{number}" for number in range(WIDE)]
    timed(f"{family}: importance, {WIDE} columns", lambda: permutation_importance(tested, columns, 0, jobs))


def sharing(cells: LabelledCells, columns: int) -> None:
    """Print the time of all C on one fold, with a shared kernel matrix and with GridSearchCV."""
    wide = LabelledCells(cells.features[:, np.arange(columns) % cells.features.shape[1]], cells.positive, cells.group)
    fold, gamma = group_folds(wide, 0)[:1], 1 / columns
    recipe = RECIPES["leukobench-svm"].changed({"gamma": gamma, "projection": "none", "weight": "class"})
    ours = timed(f"svm: 4 C on one fold, {columns} columns", lambda: search(recipe, wide, fold, 0, 1)[2])
    pipeline = Pipeline([("scale", StandardScaler()), ("classify", SVC(gamma=gamma, class_weight="balanced"))])
    plain = GridSearchCV(pipeline, {"classify__C": recipe.grid["C"]}, scoring="roc_auc", cv=fold, refit=False)
    timed("svm: the same with GridSearchCV", lambda: plain.fit(wide.features, wide.positive))
    difference = np.abs(ours["auroc_mean"] - plain.cv_results_["mean_test_score"]).max()
    print(f"  largest difference between the two in AUROC: {difference:.1e}")


def approximation(cells: LabelledCells, large: int) -> None:
    """Print AUROC and time of the exact and the approximate kernel."""
    changes = {"C": 1, "gamma": 0.03, "projection": "none", "weight": "class"}
    settings = RECIPES["leukobench-svm"].changed(changes).combinations()[0]
    for approximate in (False, True):
        scores, start = [], time.perf_counter()
        for train, held_out in group_folds(cells, 0):
            model = Model(fit_pipeline(settings, cells.take(train), 0, approximate))
            scores.append(roc_auc_score(cells.positive[held_out], model.decision(cells.features[held_out])))
        kind = "Nystroem" if approximate else "exact"
        print(
            f"  {kind}: AUROC {np.mean(scores):.4f} (folds {', '.join(f'{score:.4f}' for score in scores)}) on the "
            f"{len(cells):,} real cells, {time.perf_counter() - start:.1f} s"
        )
    for size in (10_661, 20_000, large):
        drawn = resampled(cells, size)
        for approximate in (False, True):
            kind = "Nystroem" if approximate else "exact"
            timed(
                f"svm: one fit of {size:,} cells, {kind}",
                lambda d=drawn, a=approximate: fit_pipeline(settings, d, 0, a),
            )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--large", type=int, default=40_000, help="number of cells of the largest fit")
    given = parser.parse_args()
    table = read_feature_table(given.features).values
    rows = labelled(read_manifest(given.manifest))
    rows = rows[rows["path"].isin(table.index)]
    real = labelled_cells(table.loc[rows["path"]], rows["label"], rows["subject_group"])
    print(
        f"Python {platform.python_version()}, scikit-learn {sklearn.__version__}, {platform.machine()}, "
        f"{os.cpu_count()} cores, --jobs {given.jobs}, load before {os.getloadavg()[0]:.1f}; "
        f"{len(real):,} real cells of {len(np.unique(real.group))} subject groups"
    )
    training_and_prediction(resampled(real, 10_661), given.jobs)
    for columns in (real.features.shape[1], WIDE):
        sharing(resampled(real, 10_661), columns)
    approximation(real, given.large)


if __name__ == "__main__":
    main()
