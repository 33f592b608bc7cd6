"""Model selection of the default recipe: features and settings, evaluated on unseen subjects.

    python benchmarks/default_recipe.py C-NMC_Leukemia --work selection --jobs 2

Every candidate is a feature table and a recipe. It is evaluated by repeated nested cross-validation over subject
groups: hyperparameters are selected within the training part of each outer fold, and the cells of the held-out fold are
scored. The table has the AUROC of all cells pooled within a repeat (mean over the repeats), the mean and the lowest
AUROC of the folds, and the AUROC of each subject group (its cells against all cells of the other class; median, 10th
percentile and lowest). The last line is the nested cross-validation estimate of the selection among the candidates:
each outer fold uses the candidate with the best inner score.

Feature tables are extracted into the folder --work and reused.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from leukobench.classifiers.estimator import BlastClassifier
from leukobench.cohort.indexing import scan_folder
from leukobench.cohort.manifest import POSITIVE, read_manifest, write_manifest
from leukobench.features.catalog import settings_of
from leukobench.features.extractor import extract
from leukobench.results.feature_table import read_feature_table

OUTER_FOLDS = 5
TABLES: dict[str, tuple[str, dict[str, Any]]] = {  # name -> feature set and settings
    "clinton19": ("clinton19", {}),
    "patel": ("patel", {}),
    "full": ("full", {}),
    "leukobench (blue)": ("leukobench", {}),
    "full, green": ("full", {"channel": "green"}),
    "full, red": ("full", {"channel": "red"}),
    "full, saturation": ("full", {"channel": "saturation"}),
    "blue, 16 levels": ("leukobench", {"levels": 16}),
    "blue, 32 levels by cell": ("leukobench", {"levels": 32, "quantisation": "cell"}),
    "blue, standardised": ("leukobench", {"stain": "standardised"}),
    "blue, Reinhard": ("leukobench", {"stain": "reinhard"}),
    "blue, Macenko": ("leukobench", {"stain": "macenko"}),
}
FAMILIES = ("color", "geometry", "texture", "statistics")
PLAIN = {"weight": "class", "C": [1, 10], "gamma": [0.001, 0.01]}
WHITE = {"projection": "whiten", "weight": "class-subject", "C": [1, 3], "gamma": [0.001, 0.003, 0.01]}
SVM, KNN = "leukobench-svm", "leukobench-knn"
MODELS: dict[str, tuple[str, dict[str, Any]]] = {  # name -> recipe and its changes
    "SVM": (SVM, PLAIN | {"projection": "none"}),
    "SVM, whitened": (SVM, WHITE | {"weight": "none"}),
    "SVM, whitened, classes weighted equally": (SVM, WHITE | {"weight": "class"}),
    "SVM, whitened, subjects weighted equally": (SVM, WHITE),
    "SVM, whitened, linear": (SVM, WHITE | {"kernel": "linear", "C": [0.0003, 0.001, 0.003]}),
    "SVM, whitened, polynomial": (SVM, WHITE | {"kernel": "poly", "degree": 2, "gamma": 0.001, "C": [0.1, 1]}),
    "SVM, 64 best columns": (SVM, PLAIN | {"select": "anova:64", "projection": "none"}),
    "k-NN": (KNN, {"projection": "none", "metric": "euclidean", "n_neighbors": [15, 35, 75]}),
    "k-NN, PCA": (KNN, {"projection": "pca:20", "metric": "euclidean", "n_neighbors": [15, 35, 75]}),
    "k-NN, whitened": (
        KNN,
        {"projection": "whiten", "metric": ["cosine", "euclidean"], "n_neighbors": [35, 75, 150, 300]},
    ),
}
BEST = "SVM, whitened, subjects weighted equally"  # evaluated on all tables
OWN = "leukobench (blue)"  # all models are evaluated on it


def candidates() -> list[tuple[str, str, str | None]]:
    """Return the candidates: table, model, and the feature family that is kept (None: all)."""
    return (
        [(table, BEST, None) for table in TABLES]
        + [(OWN, model, None) for model in MODELS if model != BEST]
        + [("patel", model, None) for model in ("SVM", "k-NN")]
        + [(OWN, BEST, family) for family in FAMILIES]
    )


def tables(images: Path, work: Path, jobs: int) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Extract the missing tables; return the rows of the manifest and the tables."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "manifest.csv").exists():
        write_manifest(scan_folder(images), work / "manifest.csv")
    found = {}
    for number, (name, (feature_set, changes)) in enumerate(TABLES.items()):
        path = work / f"{number:02}.parquet"
        if not path.exists():
            settings = settings_of(feature_set, **changes)
            extract(
                images, work / "manifest.csv", path, feature_set=feature_set, settings=settings, jobs=jobs, resume=True
            )
        found[name] = read_feature_table(path).values
    manifest = read_manifest(work / "manifest.csv").set_index("path")
    return manifest.loc[found["patel"].index], found


def outer_folds(label: np.ndarray, group: np.ndarray, repeat: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the folds of one repeat."""
    return list(StratifiedGroupKFold(OUTER_FOLDS, shuffle=True, random_state=repeat).split(label, label, group))


def evaluate(values: pd.DataFrame, model: str, cohort: pd.DataFrame, repeat: int) -> tuple[np.ndarray, list[float]]:
    """Return the score of each cell by models trained without its group, and the inner score of each fold."""
    recipe, changes = MODELS[model]
    label, group = cohort["label"].to_numpy(), cohort["subject_group"].to_numpy()
    score, inner = np.empty(len(label)), []
    for train, held_out in outer_folds(label, group, repeat):
        classifier = BlastClassifier(recipe, seed=repeat, **changes)
        classifier.fit(values.iloc[train], label[train] == POSITIVE, groups=group[train])
        score[held_out] = classifier.predict_proba(values.iloc[held_out])[:, 1]
        inner.append(float(classifier.search_["auroc_mean"].max()))
    return score, inner


def summary(scores: list[np.ndarray], cohort: pd.DataFrame) -> list[float]:
    """Return pooled AUROC; mean and lowest of the folds; median, 10th percentile and lowest of the subject groups."""
    positive, group = (cohort["label"] == POSITIVE).to_numpy(), cohort["subject_group"].to_numpy()
    pooled, single, subjects = [], [], []
    for repeat, score in enumerate(scores):
        pooled.append(roc_auc_score(positive, score))
        for _, held_out in outer_folds(cohort["label"].to_numpy(), group, repeat):
            single.append(roc_auc_score(positive[held_out], score[held_out]))
        subjects.append([_subject_auroc(score, positive, group == name) for name in np.unique(group)])
    subject = np.mean(subjects, axis=0)
    return [
        np.mean(pooled),
        np.mean(single),
        np.min(single),
        np.median(subject),
        np.quantile(subject, 0.1),
        subject.min(),
    ]


def _subject_auroc(score: np.ndarray, positive: np.ndarray, own: np.ndarray) -> float:
    """Return the AUROC of the cells of one subject group against all cells of the other class."""
    blast = positive[own].mean() >= 0.5
    others = positive != blast
    return roc_auc_score(np.repeat([blast, not blast], [own.sum(), others.sum()]), np.r_[score[own], score[others]])


def selected_inside(kept: list[list[tuple[np.ndarray, list[float]]]], cohort: pd.DataFrame) -> list[np.ndarray]:
    """Return the scores of each repeat, with the candidate of the best inner score in each outer fold.

    Args:
        kept: For each candidate and repeat, the score of each cell and the inner score of each fold.
        cohort: The manifest's rows.
    """
    selected = []
    for repeat in range(len(kept[0])):
        inner = np.array([of[repeat][1] for of in kept])  # [shape=(candidates, folds)]
        score = np.empty(len(cohort))
        folds = outer_folds(cohort["label"].to_numpy(), cohort["subject_group"].to_numpy(), repeat)
        for fold, (_, held_out) in enumerate(folds):
            score[held_out] = kept[int(inner[:, fold].argmax())][repeat][0][held_out]
        selected.append(score)
    return selected


def main() -> None:
    """Evaluate every candidate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder of the feature tables")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    cohort, found = tables(arguments.images, arguments.work, arguments.jobs)
    evaluated_models = candidates()
    inputs = [
        (found[table] if family is None else found[table].filter(regex=f"^{family}_"), model)
        for table, model, family in evaluated_models
    ]
    print(
        f"{len(cohort)} cells, {cohort['subject_group'].nunique()} subject groups; {arguments.repeats} times", end=" "
    )
    print(f"{OUTER_FOLDS} outer folds over subject groups\n")
    print("| features | columns | model | AUROC | folds: mean | lowest | subjects: median | 10th percentile | lowest |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    tasks = [(values, model, cohort, repeat) for values, model in inputs for repeat in range(arguments.repeats)]
    evaluated = Parallel(n_jobs=arguments.jobs, return_as="generator", batch_size=1)(
        delayed(evaluate)(*task) for task in tasks
    )
    kept = []
    for (table, model, family), (values, _) in zip(evaluated_models, inputs, strict=True):
        kept.append([next(evaluated) for _ in range(arguments.repeats)])
        name = table if family is None else f"{table}, {family} only"
        line = summary([score for score, _ in kept[-1]], cohort)
        print(f"| {name} | {values.shape[1]} | {model} | " + " | ".join(f"{x:.3f}" for x in line) + " |", flush=True)
    line = summary(selected_inside(kept, cohort), cohort)
    print("| selected in each outer fold | | by the inner score | " + " | ".join(f"{x:.3f}" for x in line) + " |")


if __name__ == "__main__":
    main()
