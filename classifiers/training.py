"""Training a classical recipe: feature table + partition -> run folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline

from classifiers.calibration import calibrate
from classifiers.recipes import ClassicalRecipe, recipe_named
from classifiers.search import group_folds, search
from classifiers.storage import save_model
from study.cell import BACKGROUNDS
from study.errors import StudyError
from study.feature_table import FeatureTable, read_feature_table
from study.files import refuse_existing, sha256_of, write_csv
from study.manifest import POSITIVE
from study.partition import read_partitions
from study.run import Run, predictions_table, split_facts, write_run

LIBRARIES = ("numpy", "pandas", "scikit-learn", "skops")


def train(
    table_path: Path,
    partition_path: Path,
    out: Path,
    *,
    family: str,
    recipe: str | None = None,
    seed: int = 0,
    jobs: int = 1,
) -> Run:
    """Fit a classifier on the training part, predict every part, and write the run folder.

    Settings are chosen on the training part alone, over subject groups; the scaler is fitted there too. The
    validation part, where there is one, is predicted but not trained on, so that both families train on the same rows.

    Given a folder of partitions, the predictions are those of each fold's test part, and a model fitted on every image
    is kept beside those of the folds.

    Args:
        table_path: Feature table.
        partition_path: Partition, or folder of partitions.
        out: Run folder to write.
        family: `svm` or `knn`.
        recipe: Name of a recipe of the family; by default our own.
        seed: For the folds and the classifier.
        jobs: Processes for the search.

    Raises:
        StudyError: a file is malformed, the partition names images that the table lacks, or `out` exists.
    """
    chosen = recipe_named(recipe or f"leukobench-{family}", family)
    refuse_existing(out)
    partitions = read_partitions(partition_path)
    table = read_feature_table(table_path)
    facts = split_facts(partitions, partition_path)
    facts["checksums"]["features"] = sha256_of(table_path)
    excluded: dict[str, str] = {}
    fits: dict[str, _Fit] = {}
    predictions = []
    for fold, partition in partitions.items():
        rows, lacking = _rows_with_features(partition, table, partition_path, table_path)
        excluded |= lacking
        fits[fold] = _fit(chosen, table, rows, rows["part"] == "train", seed, jobs, str(partition_path))
        predictions.append(predictions_table(rows, fits[fold].score, fold))
    if len(fits) > 1:  # the model to use on new images: fitted on everything, tested by the folds
        fits[""] = _fit(chosen, table, rows, rows["part"] != "", seed, jobs, str(partition_path))
    info = {
        "family": family,
        "recipe": chosen.name,
        "parameters": _parameters(chosen, fits, table),
        "background": table.facts.get("background", BACKGROUNDS[0]),
        "seed": seed,
        **facts,
        "excluded": excluded,
        "note": "; ".join(dict.fromkeys(fit.note for fit in fits.values() if fit.note)),
        "seconds": {
            "fit": sum(fit.seconds_fit for fit in fits.values()),
            "predict": sum(fit.seconds_predict for fit in fits.values()),
        },
    }

    def save(folder: Path) -> None:
        for fold, fit in fits.items():
            save_model(fit.model, folder / (f"model_fold_{fold}.skops" if fold else "model.skops"))
        write_csv(pd.concat([fit.tried.assign(fold=fold) for fold, fit in fits.items()]), folder / "search.csv")

    return write_run(out, info, pd.concat(predictions, ignore_index=True), save, libraries=LIBRARIES)


@dataclass(frozen=True)
class _Fit:
    """A fitted model, the scores of all rows, what was tried to find its settings, and what it took."""

    model: CalibratedClassifierCV | Pipeline
    settings: dict[str, Any]
    score: np.ndarray
    tried: pd.DataFrame
    note: str
    seconds_fit: float
    seconds_predict: float


def _fit(
    recipe: ClassicalRecipe,
    table: FeatureTable,
    rows: pd.DataFrame,
    training: pd.Series,
    seed: int,
    jobs: int,
    name: str,
) -> _Fit:
    """Choose settings and fit on the training rows alone; score all rows."""
    features = table.values.loc[rows["path"]].to_numpy()
    chosen, labels = training.to_numpy(), (rows["label"] == POSITIVE).to_numpy()
    seen, positive = features[chosen], labels[chosen]
    start = time.perf_counter()
    folds = group_folds(positive, rows["subject_group"].to_numpy()[chosen], seed, name)
    best, tried = search(recipe, seen, positive, folds, seed, jobs)
    model, note = calibrate(best, folds, seen, positive) if recipe.calibrated else (best.fit(seen, positive), "")
    fitted = time.perf_counter()
    score = model.predict_proba(features)[:, 1]
    settings = best.named_steps["classify"].get_params()
    return _Fit(model, settings, score, tried, note, fitted - start, time.perf_counter() - fitted)


def _rows_with_features(
    partition: pd.DataFrame, table: FeatureTable, partition_path: Path, table_path: Path
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the partition less the images listed as failed beside the table, and those with their reasons.

    Raises:
        StudyError: the partition names an image that is neither in the table nor listed as failed.
    """
    lacking = partition["path"][~partition["path"].isin(table.values.index)]
    excluded = {path: table.failed[path] for path in lacking if path in table.failed}
    unknown = [path for path in lacking if path not in excluded]
    if unknown:
        raise StudyError(
            f"{partition_path}: names {len(unknown)} of {len(partition)} images that {table_path} lacks "
            f"(first: {unknown[0]}); extract features by the manifest that was split"
        )
    return partition[~partition["path"].isin(list(excluded))], excluded


def _parameters(recipe: ClassicalRecipe, fits: dict[str, _Fit], table: FeatureTable) -> dict[str, Any]:
    return {
        "calibrated": recipe.calibrated,
        "grid": {key: list(values) for key, values in recipe.grid.items()},
        "classifier": {fold or "all": fit.settings for fold, fit in fits.items()},
        "search_auroc": {fold or "all": float(fit.tried["auroc_mean"].max()) for fold, fit in fits.items()},
        "features": list(table.values.columns),
        "table": table.facts,
    }
