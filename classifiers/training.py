"""Training a classical recipe: feature table + partition -> run folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leukobench.cells.cell import BACKGROUNDS
from leukobench.classifiers.cells import LabelledCells, labelled_cells
from leukobench.classifiers.fitting import Fitted, fit
from leukobench.classifiers.importance import Importance, permutation_importance
from leukobench.classifiers.plots import importance_figure, search_figure
from leukobench.classifiers.recipes import ClassicalRecipe, recipe_named
from leukobench.classifiers.reference import REFERENCE, choose_reference
from leukobench.classifiers.storage import save_model
from leukobench.cohort.partition import read_partitions
from leukobench.core.errors import InputError
from leukobench.core.files import refuse_existing, sha256_of, write_csv
from leukobench.core.plotting import save_figure
from leukobench.results.feature_table import FeatureTable, facts_path, read_feature_table
from leukobench.results.run import Run, predictions_table, split_facts, write_run

LIBRARIES = ("numpy", "pandas", "scikit-learn", "skops")
EVERYTHING = "all"  # in run.json, the model that was fitted on every image of a cross-validation, or the only one


def train(
    table_path: Path,
    partition_path: Path,
    out: Path,
    *,
    family: str,
    recipe: str | None = None,
    changes: Mapping[str, str] | None = None,
    importance: bool = True,
    seed: int = 0,
    jobs: int = 1,
) -> Run:
    """Fit a classifier on the training part, predict every part, and write the run folder.

    Settings are chosen on the training part alone, over subject groups; every step of the pipeline is fitted there too.
    The validation part, where there is one, is predicted but not trained on, so that both families train on the same
    rows. Given a folder of partitions, the predictions are those of each fold's test part, and a model fitted on every
    image is kept beside those of the folds.

    Beyond what every run folder holds, there are `search.csv` with its figure, `importance.csv`,
    `importance_by_family.csv` with theirs, and the cells to explain others by, see `leukobench.classifiers.reference`.

    Args:
        table_path: Feature table.
        partition_path: Partition, or folder of partitions.
        out: Run folder to write.
        family: `svm` or `knn`.
        recipe: Name of a recipe of the family; by default our own.
        changes: Values in place of the recipe's, as text; see `ClassicalRecipe.changed`.
        importance: Whether to compute permutation importance on the test part.
        seed: For the folds and whatever draws.
        jobs: Processes.

    Raises:
        InputError: a file is malformed, the partition names images that the table lacks, the table is not of the set
            that the recipe is of, there are too few subject groups, or `out` exists.
    """
    chosen = recipe_named(recipe or f"leukobench-{family}", family).changed(changes or {})
    refuse_existing(out)
    partitions = read_partitions(partition_path)
    table = read_feature_table(table_path)
    _refuse_other_set(chosen, table, table_path)
    facts = split_facts(partitions, partition_path)
    facts["checksums"]["features"] = sha256_of(table_path)
    excluded: dict[str, str] = {}
    parts: dict[str, pd.DataFrame] = {}
    for fold, partition in partitions.items():
        parts[fold], lacking = _rows_with_features(partition, table, partition_path, table_path)
        excluded |= lacking
        _refuse_missing_parts(parts[fold], partition_path)
    everything = pd.concat(parts.values()).drop_duplicates("path")
    try:
        fits = {fold: _fit(chosen, table, rows, rows["part"] == "train", seed, jobs) for fold, rows in parts.items()}
        if len(fits) > 1:  # the model to use on new images: fitted on everything, tested by the folds
            fits[""] = _fit(chosen, table, everything, everything["part"] != "", seed, jobs)
    except InputError as error:
        raise InputError(f"{partition_path}: {error}") from None
    why = _importance(fits, parts, table, seed, jobs) if importance else None
    seen = everything if len(parts) > 1 else everything[everything["part"] == "train"]
    reference = choose_reference(table.values, seen, seed)
    info = {
        "family": family,
        "recipe": chosen.name,
        "parameters": _parameters(chosen, fits, table),
        "background": table.facts.get("background", BACKGROUNDS[0]),
        "seed": seed,
        **facts,
        "excluded": excluded,
        "importance": why.facts if why else None,
        "note": _note(fits, facts),
        "seconds": {
            "fit": sum(of.seconds_fit for of in fits.values()),
            "predict": sum(of.seconds_predict for of in fits.values()),
        },
    }
    predictions = pd.concat(
        [predictions_table(rows, fits[fold].score, fold) for fold, rows in parts.items()], ignore_index=True
    )
    return write_run(out, info, predictions, lambda folder: _save(folder, fits, why, reference), libraries=LIBRARIES)


@dataclass(frozen=True)
class _Fit:
    """What was fitted on some rows of a partition, the scores of all its rows, and what it took."""

    fitted: Fitted
    constant: list[str]
    score: np.ndarray
    seconds_fit: float
    seconds_predict: float


def _cells(table: FeatureTable, rows: pd.DataFrame) -> LabelledCells:
    return labelled_cells(table.values.loc[rows["path"]], rows["label"], rows["subject_group"])


def _fit(
    recipe: ClassicalRecipe, table: FeatureTable, rows: pd.DataFrame, training: pd.Series, seed: int, jobs: int
) -> _Fit:
    """Choose settings and fit on the training rows alone; score all rows."""
    cells = _cells(table, rows)
    seen = cells.take(training.to_numpy())
    constant = table.values.columns[np.ptp(seen.features, axis=0) == 0].tolist()
    start = time.perf_counter()
    fitted = fit(recipe, seen, seed, jobs)
    done = time.perf_counter()
    score = fitted.model.predict_proba(cells.features)[:, 1]
    return _Fit(fitted, constant, score, done - start, time.perf_counter() - done)


def _importance(
    fits: dict[str, _Fit], parts: dict[str, pd.DataFrame], table: FeatureTable, seed: int, jobs: int
) -> Importance | None:
    """Compute the importance on the test part; of a cross-validation, on those of all folds, each by its own model."""
    tested = [(fits[fold].fitted.model, _cells(table, rows[rows["part"] == "test"])) for fold, rows in parts.items()]
    return permutation_importance(tested, table.values.columns.tolist(), seed, jobs)


def _save(folder: Path, fits: dict[str, _Fit], why: Importance | None, reference: pd.DataFrame) -> None:
    write_csv(reference, folder / REFERENCE)
    for fold, of in fits.items():
        save_model(of.fitted.model, folder / (f"model_fold_{fold}.skops" if fold else "model.skops"))
    tried = [of.fitted.tried.assign(fold=fold) for fold, of in fits.items()]
    write_csv(pd.concat(tried), folder / "search.csv")
    surface = search_figure(fits[""].fitted.tried)
    if surface is not None:
        save_figure(surface, folder / "search")
    if why is not None:
        write_csv(why.by_feature, folder / "importance.csv")
        write_csv(why.by_family, folder / "importance_by_family.csv")
        save_figure(importance_figure(why), folder / "importance")


def _refuse_other_set(recipe: ClassicalRecipe, table: FeatureTable, path: Path) -> None:
    """Raise InputError where a recipe is of one feature set and the table is not known to be."""
    found = table.facts.get("feature_set")
    if recipe.feature_set not in (None, found):
        is_of = (
            f"is of the feature set {found}" if found else f"has no {facts_path(path).name} that says its feature set"
        )
        raise InputError(
            f"{path}: {is_of}; the recipe {recipe.name} is of {recipe.feature_set}: "
            f"`leukobench extract --set {recipe.feature_set}` makes it"
        )


def _refuse_missing_parts(rows: pd.DataFrame, path: Path) -> None:
    for part in ("train", "test"):
        if not (rows["part"] == part).any():
            raise InputError(f"{path}: has no image with features in the {part} part; make it with `leukobench split`")


def _rows_with_features(
    partition: pd.DataFrame, table: FeatureTable, partition_path: Path, table_path: Path
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the partition less the images listed as failed beside the table, and those with their reasons.

    Raises:
        InputError: the partition names an image that is neither in the table nor listed as failed.
    """
    lacking = partition["path"][~partition["path"].isin(table.values.index)]
    excluded = {path: table.failed[path] for path in lacking if path in table.failed}
    unknown = [path for path in lacking if path not in excluded]
    if unknown:
        raise InputError(
            f"{partition_path}: names {len(unknown)} of {len(partition)} images that {table_path} lacks "
            f"(first: {unknown[0]}); extract features by the manifest that was split"
        )
    return partition[~partition["path"].isin(list(excluded))], excluded


def _parameters(recipe: ClassicalRecipe, fits: dict[str, _Fit], table: FeatureTable) -> dict[str, Any]:
    """Return every value of the recipe as it was run, and what was chosen in each fold."""
    by_fold = {fold or EVERYTHING: of for fold, of in fits.items()}
    described = recipe.as_json()
    return {
        **{key: described[key] for key in ("source", "reported", "notes")},
        **{key: described[key] for key in ("grid", "calibration", "criterion", "approximate_above")},
        "chosen": {fold: of.fitted.settings for fold, of in by_fold.items()},
        "chosen_calibration": {fold: of.fitted.calibration for fold, of in by_fold.items()},
        "search_score": {fold: of.fitted.search_score for fold, of in by_fold.items()},
        "support_vectors": {fold: of.fitted.support_vectors for fold, of in by_fold.items()},
        "constant": {fold: of.constant for fold, of in by_fold.items()},
        "features": list(table.values.columns),
        "table": table.facts,
    }


def _note(fits: dict[str, _Fit], facts: dict[str, Any]) -> str:
    """Say what the reader of the run's figures must know."""
    notes = []
    if facts["leaky"]:
        notes.append(
            f"the split leaks: {facts['shared_subject_groups']} subject groups stand in more than one part, so that "
            "the figures say nothing about people never seen"
        )
    constant = list(dict.fromkeys(column for of in fits.values() for column in of.constant))
    if constant:
        shown = ", ".join(constant[:5]) + ", ..." * (len(constant) > 5)
        plural = "s" * (len(constant) > 1)
        notes.append(f"{len(constant)} column{plural} left out, constant over the training cells: {shown}")
    notes += [note for of in fits.values() for note in of.fitted.notes]
    return "; ".join(dict.fromkeys(notes))
