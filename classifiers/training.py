"""Training a classical recipe: feature table + split -> run folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leukobench.cells.cell import BACKGROUNDS
from leukobench.classifiers.cells import LabelledCells, labelled_cells
from leukobench.classifiers.fitting import Fitted, fit
from leukobench.classifiers.importance import Importance, permutation_importance
from leukobench.classifiers.plots import importance_figure, search_figure
from leukobench.classifiers.recipes import ClassicalRecipe, classical_recipe
from leukobench.classifiers.reference import REFERENCE, choose_reference
from leukobench.classifiers.settings import ALL_SETTINGS, Value, Values
from leukobench.classifiers.storage import save_model
from leukobench.cohort.partition import Folds, Partition, Split, read_split
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, refuse_existing, sha256_of, write_csv
from leukobench.core.plotting import save_figure
from leukobench.core.workers import BACKENDS, ClusterError, Workers, check_backend, open_workers
from leukobench.results.calibration import Calibration, calibrate_on_validation, notes_by_fold
from leukobench.results.feature_table import FeatureTable, facts_path, read_feature_table
from leukobench.results.novelty import Novelty, novelty_of, save_novelty
from leukobench.results.run import RunFolder, model_name, predictions_table, write_run
from leukobench.results.run_info import RunInfo, by_fold, command_line, split_facts

LOG = logging.getLogger(__name__)
LIBRARIES = ("numpy", "pandas", "scikit-learn", "skops")
LARGEST = 1e100  # of a feature: a sum of squares of larger ones need not be finite


def train_classifier(
    features: str | os.PathLike[str],
    split: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    recipe: str = "leukobench-svm",
    settings: Mapping[str, Value | Sequence[Value]] | None = None,
    importance: bool = True,
    seed: int = 0,
    jobs: int = 1,
    backend: str = BACKENDS[0],
    scheduler: str | None = None,
) -> RunFolder:
    """Train a support vector machine or k nearest neighbours on a feature table, and write the run folder.

    Settings are chosen on the training part alone, by cross-validation over subject groups, and every step of the
    pipeline is fitted on the training part. The model predicts every part. The validation part, if there is one, is not
    used for training, so that classifiers and networks train on the same images; the probabilities are calibrated on
    it, as those of networks are (`leukobench.results.calibration`). Given a cross-validation, each fold has a model
    that predicts its validation and test parts, and the final model is fitted on every image. It has no validation
    part: its probabilities are calibrated on out-of-fold decision values only.

    Beside the files of every run folder there are `search.csv` with its figure, `importance.csv` and
    `importance_by_family.csv` with theirs, and the reference cells of explanations, `reference.csv`.

    Args:
        features: Feature table (.csv or .parquet).
        split: Partition, or a folder of partitions for a cross-validation.
        out: Run folder to write.
        recipe: Name of the recipe, which says the family (SVM or k-NN).
        settings: Values that replace the recipe's, by name of the setting, such as `{"C": [1, 3], "select":
            "anova:16"}`. Of a list of values, the search chooses one.
        importance: Whether to compute permutation importance on the test part.
        seed: Random seed of the folds, of the classifier, and of the permutations.
        jobs: Number of parallel processes on this machine. The result does not depend on it.
        backend: Execution backend of the search for settings: `loky` (this machine), `dask` or `ray`.
        scheduler: Address of the cluster, for `dask` (`tcp://host:8786`) and `ray` (`host:6379`).

    Returns:
        The run folder.

    Raises:
        ClusterError: an InputError; the cluster does not answer, or it failed.
        InputError: an unknown recipe or setting, a malformed file, a split with images that the table lacks, a table of
            another feature set than the recipe requires, too few subject groups, `out` exists, or another process
            is writing it.

    Example:
        >>> import pandas as pd
        >>> from leukobench.cohort.partition import Partition, write_split
        >>> subject = [f"{number:02}" for number in range(8) for _ in range(5)]
        >>> blast = [int(name) % 2 == 0 for name in subject]
        >>> rows = pd.DataFrame({"path": [f"{number}.bmp" for number in range(40)], "subject": subject})
        >>> rows["label"] = ["all" if each else "hem" for each in blast]
        >>> area = [1000.0 + 100 * each + 7 * (number % 5) for number, each in enumerate(blast)]
        >>> rows[["path"]].assign(geometry_area=area).to_csv("features.csv", index=False)
        >>> part = ["test" if name in ("06", "07") else "train" for name in subject]
        >>> split = Partition(rows.assign(part=part, subject_group=subject), "subject by hand", "")
        >>> write_split(split, "split.csv")
        >>> run = train_classifier("features.csv", "split.csv", "knn", recipe="leukobench-knn",
        ...                        settings={"n_neighbors": 5, "metric": "euclidean"}, importance=False)
        >>> run.metrics["test"]["auroc"]
        1.0
        >>> run.info.changed
        ('n_neighbors=5', 'metric=euclidean')

    Source: the recipes name theirs, see `leukobench recipes`.
    """
    original = classical_recipe(recipe)
    chosen = original.changed(settings or {})
    changes = chosen.changes_from(original)
    out = Path(out)
    refuse_existing(out)
    check_backend(jobs, backend, scheduler)
    inputs = _read_inputs(chosen, Path(features), Path(split))
    with only_writer(out):
        try:
            with open_workers(jobs, backend, scheduler) as workers:
                fits = _fit_models(chosen, inputs, seed, workers)
        except ClusterError:
            raise
        except InputError as error:
            raise InputError(f"{split}: {error}") from None
        why = _importance(fits, inputs, seed, jobs) if importance else None
        options: dict[str, Any] = {"--split": os.fspath(split), "--recipe": recipe, **_as_options(changes)}
        options |= {"--no-importance": not importance, "--seed": seed, "--jobs": jobs}
        options |= {"--backend": backend if scheduler else None, "--scheduler": scheduler, "--out": os.fspath(out)}
        command = command_line(f"train-{chosen.family}", [os.fspath(features)], options)
        info = _run_info(chosen, inputs, fits, why, seed, command, changes)
        reference = choose_reference(inputs.table.values, inputs.final_rows, seed)
        scored = [
            predictions_table(rows, fits[fold].raw_score, fold, fits[fold].calibration)
            for fold, rows in inputs.rows.items()
        ]
        predictions = pd.concat(scored, ignore_index=True)
        return write_run(out, info, predictions, lambda folder: _save(folder, fits, why, reference), None, LIBRARIES)


@dataclass(frozen=True)
class _Inputs:
    """What a training reads.

    Attributes:
        table: The feature table.
        split: The split.
        rows: Rows with features of each partition, by fold.
        excluded: Reason of each image that has no features, by path.
        facts: What `run.json` says of the split, with the checksum of the table.
    """

    table: FeatureTable
    split: Split
    rows: dict[int | None, pd.DataFrame]
    excluded: dict[str, str]
    facts: dict[str, Any]

    @property
    def final_rows(self) -> pd.DataFrame:
        """The rows that the final model is fitted on: every image of a cross-validation, else the training part."""
        if isinstance(self.split, Folds):
            return pd.concat(self.rows.values()).drop_duplicates("path")
        return self.rows[None][self.rows[None]["part"] == "train"]

    def cells(self, rows: pd.DataFrame) -> LabelledCells:
        """Return the labelled cells of some rows."""
        return labelled_cells(self.table.values.loc[rows["path"]], rows["label"], rows["subject_group"])


@dataclass(frozen=True)
class _Fit:
    """A model fitted on some rows.

    Attributes:
        fitted: The model, and how it was chosen.
        constant: Names of the columns that are constant over the training cells.
        raw_score: Its probability of `all` of each row, before the calibration on the validation part. [shape=(n,)]
        calibration: The calibration on the validation part; None if there was none.
        not_calibrated: Why there is no calibration, else "".
        novelty: How unlike its training cells others are; None where they are of one subject group.
        seconds_fit: Duration of the fit, in s.
        seconds_predict: Duration of the prediction, in s.
    """

    fitted: Fitted
    constant: list[str]
    raw_score: np.ndarray
    calibration: Calibration | None
    not_calibrated: str
    novelty: Novelty | None
    seconds_fit: float
    seconds_predict: float


def _read_inputs(recipe: ClassicalRecipe, table_path: Path, split_path: Path) -> _Inputs:
    split = read_split(split_path)
    table = read_feature_table(table_path)
    _refuse_other_set(recipe, table, table_path)
    _refuse_large_values(table, table_path)
    facts = split_facts(split)
    facts["checksums"]["features"] = sha256_of(table_path)
    rows: dict[int | None, pd.DataFrame] = {}
    excluded: dict[str, str] = {}
    for fold, partition in split.by_fold():
        rows[fold], without_features = _rows_with_features(partition, table, split_path, table_path)
        excluded |= without_features
        _refuse_missing_parts(rows[fold], split_path)
    return _Inputs(table, split, rows, excluded, facts)


def _fit_models(recipe: ClassicalRecipe, inputs: _Inputs, seed: int, workers: Workers) -> dict[int | None, _Fit]:
    """Fit a model on each training part; of a cross-validation also the final model (None) on every image."""
    fits: dict[int | None, _Fit] = {}
    for fold, rows in inputs.rows.items():
        fits[fold] = _fit(recipe, inputs, rows, rows["part"] == "train", fold, seed, workers)
    if isinstance(inputs.split, Folds):
        rows = inputs.final_rows
        fits[None] = _fit(recipe, inputs, rows, pd.Series(True, index=rows.index), None, seed, workers)
    return fits


def _fit(
    recipe: ClassicalRecipe,
    inputs: _Inputs,
    rows: pd.DataFrame,
    training: pd.Series,
    fold: int | None,
    seed: int,
    workers: Workers,
) -> _Fit:
    """Choose settings and fit on the training rows alone; score all rows, and calibrate on validation rows."""
    cells = inputs.cells(rows)
    training_cells = cells.take(training.to_numpy())
    constant = inputs.table.values.columns[np.ptp(training_cells.features, axis=0) == 0].tolist()
    start = time.perf_counter()
    fitted = fit(recipe, training_cells, seed, workers)
    done = time.perf_counter()
    raw_score = fitted.model.predict_proba(cells.features)[:, 1]
    validating, development = ~training & (rows["part"] == "validation"), rows[rows["part"] != "test"]
    calibration, reason = calibrate_on_validation(rows, raw_score, validating, development)
    predicted = time.perf_counter()
    novelty = novelty_of(cells.features, rows, training.to_numpy(), fold)
    chosen = ", ".join(f"{name} {value}" for name, value in fitted.settings.items())
    LOG.info("%s: %s; fitted to %d cells in %.1f s", model_name("", fold), chosen, len(training_cells), done - start)
    return _Fit(fitted, constant, raw_score, calibration, reason, novelty, done - start, predicted - done)


def _importance(fits: dict[int | None, _Fit], inputs: _Inputs, seed: int, jobs: int) -> Importance | None:
    """Compute the importance on the test part; of a cross-validation, on those of all folds, each by its own model."""
    tested = [
        (
            replace(fits[fold].fitted.model, on_validation=fits[fold].calibration),
            inputs.cells(rows[rows["part"] == "test"]),
        )
        for fold, rows in inputs.rows.items()
    ]
    return permutation_importance(tested, inputs.table.values.columns.tolist(), seed, jobs)


def _run_info(
    recipe: ClassicalRecipe,
    inputs: _Inputs,
    fits: dict[int | None, _Fit],
    why: Importance | None,
    seed: int,
    command: tuple[str, ...],
    changes: Mapping[str, Values],
) -> RunInfo:
    facts = inputs.table.facts
    return RunInfo(
        family=recipe.family,
        recipe=recipe.name,
        parameters=_parameters(recipe, fits, inputs.table),
        background=facts.background if facts else BACKGROUNDS[0],
        seed=seed,
        **inputs.facts,
        seconds={
            "fit": sum(of.seconds_fit for of in fits.values()),
            "predict": sum(of.seconds_predict for of in fits.values()),
        },
        command=command,
        changed=tuple(f"{name}={','.join(map(str, values))}" for name, values in changes.items()),
        excluded=inputs.excluded,
        calibration=by_fold({fold: of.calibration for fold, of in fits.items()}),
        novelty=by_fold({fold: of.novelty.facts if of.novelty else None for fold, of in fits.items()}),
        importance=why.facts if why else None,
        note=_note(fits, inputs),
    )


def _save(folder: Path, fits: dict[int | None, _Fit], why: Importance | None, reference: pd.DataFrame) -> None:
    write_csv(reference, folder / REFERENCE)
    save_novelty(folder, {fold: of.novelty for fold, of in fits.items()})
    for fold, of in fits.items():
        save_model(of.fitted.model, folder / model_name(".skops", fold))
    tried = [
        of.fitted.tried.assign(fold=pd.array([fold] * len(of.fitted.tried), dtype="Int64")) for fold, of in fits.items()
    ]
    write_csv(pd.concat(tried), folder / "search.csv")
    surface = search_figure(fits[None].fitted.tried)
    if surface is not None:
        save_figure(surface, folder / "search")
    if why is not None:
        write_csv(why.by_feature, folder / "importance.csv")
        write_csv(why.by_family, folder / "importance_by_family.csv")
        save_figure(importance_figure(why), folder / "importance")


def _refuse_other_set(recipe: ClassicalRecipe, table: FeatureTable, path: Path) -> None:
    """Raise InputError where a recipe requires one feature set and the table is not known to be of it."""
    found = table.facts.feature_set if table.facts else None
    if recipe.feature_set not in (None, found):
        what = (
            f"is of the feature set {found}" if found else f"has no {facts_path(path).name} that says its feature set"
        )
        raise InputError(
            f"{path}: {what}; the recipe {recipe.name} requires {recipe.feature_set}: extract that feature set"
        )


def _refuse_large_values(table: FeatureTable, path: Path) -> None:
    large = table.values.abs().max() >= LARGEST
    if large.any():
        raise InputError(
            f"{path}: the column {large.idxmax()!r} has values of {LARGEST:g} or more; fix it or remove it"
        )


def _refuse_missing_parts(rows: pd.DataFrame, path: Path) -> None:
    for part in ("train", "test"):
        if not (rows["part"] == part).any():
            raise InputError(f"{path}: has no image with features in the {part} part; run `leukobench split` again")


def _rows_with_features(
    partition: Partition, table: FeatureTable, split_path: Path, table_path: Path
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the rows of the partition that have features, and the reason of each image that failed, by path.

    Raises:
        InputError: the partition contains an image that is neither in the table nor listed as failed.
    """
    rows = partition.rows
    lacking = rows["path"][~rows["path"].isin(table.values.index)]
    excluded = {path: table.failed[path] for path in lacking if path in table.failed}
    unknown = [path for path in lacking if path not in excluded]
    if unknown:
        raise InputError(
            f"{split_path}: names {len(unknown)} of {len(rows)} images that {table_path} lacks "
            f"(first: {unknown[0]}); extract features with the manifest that was split"
        )
    return rows[~rows["path"].isin(list(excluded))], excluded


def _as_options(changes: Mapping[str, Values]) -> dict[str, Values]:
    return {ALL_SETTINGS[name].option: values for name, values in changes.items()}


def _parameters(recipe: ClassicalRecipe, fits: dict[int | None, _Fit], table: FeatureTable) -> dict[str, Any]:
    """Return every value of the recipe as it was run, and what was chosen in each fold."""
    described = recipe.as_json()
    return {
        **{key: described[key] for key in ("source", "reported", "notes")},
        **{key: described[key] for key in ("grid", "calibration", "criterion", "approximate_above")},
        "chosen": by_fold({fold: of.fitted.settings for fold, of in fits.items()}),
        "chosen_calibration": by_fold({fold: of.fitted.calibration for fold, of in fits.items()}),
        "search_score": by_fold({fold: of.fitted.search_score for fold, of in fits.items()}),
        "support_vectors": by_fold({fold: of.fitted.support_vectors for fold, of in fits.items()}),
        "constant": by_fold({fold: of.constant for fold, of in fits.items()}),
        "features": list(table.values.columns),
        "table": table.facts.to_json() if table.facts else None,
    }


def _note(fits: dict[int | None, _Fit], inputs: _Inputs) -> str:
    """Return what a reader of the run's metrics must know."""
    notes = []
    if inputs.split.leaky:
        shared = len(inputs.split.shared_groups)
        notes.append(
            f"the split leaks: {shared} subject groups are in more than one part, so the metrics do not apply to "
            "unseen subjects"
        )
    constant = list(dict.fromkeys(column for of in fits.values() for column in of.constant))
    if constant:
        shown = ", ".join(constant[:5]) + ", ..." * (len(constant) > 5)
        plural = "s" * (len(constant) > 1)
        notes.append(f"{len(constant)} column{plural} left out, constant over the training cells: {shown}")
    notes += [note for of in fits.values() for note in of.fitted.notes]
    notes += notes_by_fold({fold: fits[fold].not_calibrated for fold in inputs.rows})
    return "; ".join(dict.fromkeys(notes))
