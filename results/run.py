"""The run folder: a trained model, its predictions, and the arguments that repeat the run.

    run.json         what was trained, see `leukobench.results.run_info.RunInfo`
    model.skops      the model (of a network: model.keras); of a cross-validation also model_fold_0.skops and so on
    predictions.csv  see `PREDICTION_COLUMNS`; `raw_score` is the model's probability of `all`, `score` the one after
                     calibration on the validation part (`leukobench.results.calibration`), `predicted` its class at
                     the threshold 0.5. Of a cross-validation, each image is tested in one fold, and may be a
                     validation image of others: path and fold together name a row
    metrics.json     metrics of each part
    history.csv      networks only: one row an epoch
    novelty.npz      distribution of the training cells of each model, with the threshold above which a cell is
                     out-of-distribution (`leukobench.results.novelty`); novelty_fold_0.npz and so on
    novelty.csv      the novelty of the cells of predictions.csv
    reference.csv    SVM and k-NN only: the training cells that explanations compare a cell with
    members/         combined runs only: the run folders that are combined (`leukobench.workflows.combination`)
    README.md        the model card, for people (`leukobench.results.model_card`); it may be changed

A run folder is written under a temporary name and then renamed, so it is complete or absent. `run.json` contains the
checksums of the other files but the model card, so a folder that was changed later is refused.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leukobench.cohort.manifest import LABELS
from leukobench.cohort.partition import LEAKY, PARTS
from leukobench.core.errors import InputError
from leukobench.core.files import (
    checksums_of,
    read_csv_columns,
    read_json,
    sha256_of,
    whole_folder,
    write_csv,
    write_json,
)
from leukobench.core.text import counted
from leukobench.results.calibration import DECIMALS, Calibration, calibrated
from leukobench.results.metrics import classification_metrics, predicted_class
from leukobench.results.model_card import CARD, model_card
from leukobench.results.run_info import RunInfo, library_versions, read_run_info

PREDICTION_COLUMNS = (
    "path",
    "subject",
    "subject_group",
    "label",
    "part",
    "fold",
    "raw_score",
    "score",
    "predicted",
)
MOST_FOLDS = 10**6  # a larger number is no fold, and may not be one that pandas can hold


@dataclass(frozen=True)
class RunFolder:
    """A complete run folder, as read.

    Attributes:
        folder: The folder.
        info: The content of `run.json`.
        predictions: One row a predicted image, see `PREDICTION_COLUMNS`; of a cross-validation, one row for each fold
            that tests an image or validates on it. `fold` is missing (NA) without cross-validation.
        metrics: Metrics by part.
        history: One row an epoch; None for SVM and k-NN.
    """

    folder: Path
    info: RunInfo
    predictions: pd.DataFrame
    metrics: dict[str, dict[str, float | None]]
    history: pd.DataFrame | None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def recipe(self) -> str:
        """The recipe's name in tables, with a mark if values of the recipe were changed for this run."""
        return self.info.recipe + (" (changed)" if self.info.changed else "")

    @property
    def folds(self) -> list[int]:
        """Numbers of the folds; empty without cross-validation."""
        return sorted(int(fold) for fold in self.predictions["fold"].dropna().unique())

    def part(self, name: str, fold: int | None = None) -> pd.DataFrame:
        """Return the predictions of one part, of all folds or of one."""
        rows = self.predictions[self.predictions["part"] == name]
        return rows if fold is None else rows[rows["fold"] == fold]

    def count(self, name: str) -> int:
        """Return a parameter of the recipe that is a whole number above 0.

        Raises:
            InputError: there is no such parameter, or it is another value.
        """
        value = self.info.parameters.get(name)
        if type(value) is not int or value < 1:
            raise InputError(f"{self.folder / 'run.json'}: the parameter {name} is no whole number; train again")
        return value

    def model_file(self, suffix: str, fold: int | None = None) -> Path:
        """Return the path of the model; of a cross-validation, that of the final model or of a fold.

        Raises:
            InputError: there is no such model.
        """
        file = self.folder / model_name(suffix, fold)
        if not file.is_file():
            folds = ", ".join(map(str, self.folds))
            remedy = f"choose one of the folds {folds}" if folds else "it is not a cross-validation; choose no fold"
            raise InputError(f"{self.folder}: contains no {file.name}; {remedy}")
        return file


def model_name(suffix: str, fold: int | None = None) -> str:
    """Return the name of a model's file: `model.skops`, `model_fold_0.skops`."""
    return f"model{suffix}" if fold is None else f"model_fold_{fold}{suffix}"


def reported_rows(rows: pd.DataFrame, fold: int | None = None) -> np.ndarray:
    """Return the rows of a partition whose predictions a run folder reports. [shape=(n,), bool]

    These are all rows; of a fold of a cross-validation, the validation and the test part. Validation rows are kept
    because the calibration and the threshold of the fold come from them. Training rows are test rows of other folds.
    """
    return (rows["part"] != "train").to_numpy() | (fold is None)


def predictions_table(
    rows: pd.DataFrame, raw_score: np.ndarray, fold: int | None = None, calibration: Calibration | None = None
) -> pd.DataFrame:
    """Combine the rows of a partition with their scores, in the columns of `predictions.csv`.

    Only `reported_rows` are kept.

    Args:
        rows: Rows of a partition.
        raw_score: The model's probability of `all` of each. [shape=(n,)]
        fold: Number of the fold; None without cross-validation.
        calibration: The calibration of the fold's model.
    """
    rounded = np.round(np.asarray(raw_score, float), DECIMALS)
    score = np.round(calibrated(rounded, calibration), DECIMALS)
    number = pd.array([fold] * len(rows), dtype="Int64")
    table = rows.assign(fold=number, raw_score=rounded, score=score, predicted=predicted_class(score))
    return table.loc[reported_rows(rows, fold), list(PREDICTION_COLUMNS)]


def scores_table(paths: Sequence[str], score: np.ndarray) -> pd.DataFrame:
    """Return a table of images and their scores: `path`, `score` (the probability of `all`), `predicted`."""
    rounded = np.round(np.asarray(score, float), DECIMALS)
    return pd.DataFrame({"path": list(paths), "score": rounded, "predicted": predicted_class(rounded)})


def write_run(
    folder: Path,
    info: RunInfo,
    predictions: pd.DataFrame,
    save_models: Callable[[Path], None],
    history: pd.DataFrame | None = None,
    libraries: Sequence[str] = (),
) -> RunFolder:
    """Write a run folder, completely or not at all.

    Args:
        folder: The folder to write.
        info: The content of `run.json`; `versions` and `files` are filled in here.
        predictions: Table in `PREDICTION_COLUMNS`.
        save_models: Function that writes the models, and other files of theirs, into the folder that it gets.
        history: One row an epoch; networks only.
        libraries: Distributions whose versions are recorded.

    Raises:
        InputError: the folder exists.
    """
    with whole_folder(folder) as partial:
        write_csv(predictions, partial / "predictions.csv")
        metrics = {
            part: classification_metrics(rows["label"].to_numpy(), rows["score"].to_numpy())
            for part in PARTS
            if len(rows := predictions[predictions["part"] == part])
        }
        write_json(metrics, partial / "metrics.json")
        if history is not None:
            write_csv(history, partial / "history.csv")
        save_models(partial)
        files = checksums_of(partial)
        whole = dataclasses.replace(info, versions=library_versions(libraries), files=files)
        write_json(whole.to_json(), partial / "run.json")
        (partial / CARD).write_text(
            model_card(whole, predictions, metrics), encoding="utf-8", errors="backslashreplace"
        )
    return read_run_folder(folder)


def read_run_folder(folder: str | os.PathLike[str]) -> RunFolder:
    """Read a run folder, and check that it is complete and unchanged.

    Raises:
        InputError: not a run folder, a missing or changed file, a malformed table, or parts that share subjects
            although `run.json` denies it; the message names the file.
    """
    folder = Path(folder)
    info = read_run_info(folder)
    for name, checksum in info.files.items():
        file = folder / name
        if not file.is_file():
            raise InputError(f"{folder}: is incomplete: {name} is missing; train again")
        if sha256_of(file) != checksum:
            raise InputError(f"{file}: was changed after the run was written; train again")
    predictions = _read_predictions(folder / "predictions.csv")
    _refuse_hidden_leakage(folder, info, predictions)
    history = folder / "history.csv"
    return RunFolder(
        folder=folder,
        info=info,
        predictions=predictions,
        metrics=_read_metrics(folder / "metrics.json"),
        history=_read_history(history) if history.is_file() else None,
    )


def _refuse_hidden_leakage(folder: Path, info: RunInfo, predictions: pd.DataFrame) -> None:
    """Raise InputError if the parts share subject groups, and `run.json` says that they do not.

    Of a cross-validation, only the validation and the test part of each fold are known.
    """
    if info.leaky:
        return
    parts = predictions.groupby(["fold", "subject_group"], dropna=False)["part"].nunique()
    shared = parts[parts > 1].index.get_level_values("subject_group").unique()
    found = f"the split is {info.split}" if info.split.split(" ")[0].endswith(LEAKY) else ""
    if len(shared):
        found = f"predictions.csv has {counted(len(shared), 'subject group')} in several parts (first: {shared[0]})"
    if found:
        raise InputError(f"{folder}: run.json says that its parts share no subjects, but {found}; train again")


def _read_predictions(path: Path) -> pd.DataFrame:
    table = read_csv_columns(path, PREDICTION_COLUMNS, "predictions table")
    for column, allowed in (("part", PARTS), ("label", LABELS)):
        wrong = ~table[column].isin(allowed)
        if wrong.any():
            raise InputError(
                f"{path}: {table['path'][wrong].iloc[0]!r} has a {column} other than {', '.join(allowed)}; train again"
            )
    raw, score = (pd.to_numeric(table[column], errors="coerce") for column in ("raw_score", "score"))
    fold = pd.to_numeric(table["fold"].replace("", None), errors="coerce")
    numbered = fold.between(0, MOST_FOLDS) & (fold % 1 == 0)
    for wrong, what in (
        (~raw.between(0, 1), "raw_score that is not a probability"),
        (~score.between(0, 1), "score that is not a probability"),
        (~numbered & (table["fold"] != ""), "fold that is not a whole number"),
    ):
        if wrong.any():
            raise InputError(f"{path}: {table['path'][wrong].iloc[0]!r} has a {what}; train again")
    return table.assign(raw_score=raw, score=score, fold=fold.astype("Int64"))


def _read_metrics(path: Path) -> dict[str, Any]:
    metrics = read_json(path, "train again")
    values = metrics.values() if isinstance(metrics, dict) else [None]
    if not all(isinstance(each, dict) and all(map(_is_metric, each.values())) for each in values):
        raise InputError(f"{path}: is not a table of metrics in numbers by part; train again")
    return metrics


def _is_metric(value: object) -> bool:
    return value is None or type(value) in (int, float)


def _read_history(path: Path) -> pd.DataFrame:
    try:
        history = pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); train again") from None
    if not all(map(pd.api.types.is_numeric_dtype, history.dtypes)):
        raise InputError(f"{path}: contains values that are not numbers; train again")
    return history
