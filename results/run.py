"""The run folder: one trained model, what it predicted, and all that is needed to repeat it.

    run.json         what was run: see `RUN_KEYS`
    model.skops      the model, or model.keras; of a cross-validation model_fold_0.skops and so on, too
    predictions.csv  see `PREDICTION_COLUMNS`; `score` is the probability of `all`
    metrics.json     figures of merit of each part
    history.csv      networks only: one row an epoch
    reference.csv    SVM and k-NN only: the training cells that `explain` holds a cell against

A folder is complete or it is not there: it is written beside its place and then renamed. `run.json` holds the
checksums of the other files, so that a folder that was damaged later is refused too.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import leukobench
from leukobench.cohort.partition import PARTS, is_leaky, shared_groups
from leukobench.core.errors import InputError
from leukobench.core.files import read_csv_columns, sha256_of, whole_folder, write_csv, write_json
from leukobench.results.metrics import classification_metrics, predicted_class

PREDICTION_COLUMNS = (
    "path",
    "subject",
    "subject_group",
    "label",
    "part",
    "fold",
    "score",
    "predicted",
)
DECIMALS = 9  # of a score
RUN_KEYS = (
    "leukobench",  # version
    "family",  # svm, knn or cnn
    "recipe",  # name
    "parameters",  # every value of the recipe as it was run
    "background",  # what lay around the cells when they were read
    "seed",
    "split",  # the partition's method
    "leaky",  # subject groups stand in more than one part
    "shared_subject_groups",  # how many of them
    "checksums",  # manifest, partition, and feature table or weights
    "versions",  # Python and the libraries that computed
    "device",
    "seconds",  # timings: fit, predict
    "model_parameters",  # of a network, else null
    "command",  # how to repeat it
    "files",  # checksum of each file of the folder
)


@dataclass(frozen=True)
class Run:
    """A complete run folder, as read."""

    folder: Path
    info: dict[str, Any]
    predictions: pd.DataFrame
    metrics: dict[str, Any]
    history: pd.DataFrame | None

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def recipe(self) -> str:
        """What tables call the recipe: its name, marked where values of it were changed for this run."""
        return self.info["recipe"] + (" (changed)" if self.info.get("changed") else "")

    def part(self, name: str) -> pd.DataFrame:
        """Return the predictions of one part."""
        return self.predictions[self.predictions["part"] == name]

    def model_file(self, suffix: str, fold: str | None = None) -> Path:
        """Return where the model lies; of a cross-validation, where that of a fold does.

        Raises:
            InputError: a fold is missing or needless.
        """
        file = self.folder / (f"model{suffix}" if fold is None else f"model_fold_{fold}{suffix}")
        if not file.is_file():
            folds = sorted(path.stem.removeprefix("model_fold_") for path in self.folder.glob("model_fold_*"))
            remedy = (
                f"name a fold with --fold: {', '.join(folds)}"
                if folds
                else "it is of no cross-validation; leave --fold out"
            )
            raise InputError(f"{self.folder}: holds no {file.name}; {remedy}")
        return file


def split_facts(partitions: Mapping[str, pd.DataFrame], path: Path) -> dict[str, Any]:
    """Return what `run.json` says of the partitions read from `path`: method, leaks, checksums."""
    method = next(iter(partitions.values()))["method"].iloc[0]
    shared = {group for partition in partitions.values() for group in shared_groups(partition)}
    files = sorted(path.glob("fold_*.csv")) if path.is_dir() else [path]
    checksums = {"manifest": next(iter(partitions.values()))["manifest"].iloc[0]}
    for file in files:
        checksums["partition" if len(files) == 1 else file.stem] = sha256_of(file)
    return {
        "split": method,
        "leaky": is_leaky(method) or bool(shared),
        "shared_subject_groups": len(shared),
        "checksums": checksums,
    }


def told(partition: pd.DataFrame, fold: str = "") -> np.ndarray:
    """Tell whose predictions a run folder holds: all rows'; of a fold of a cross-validation the test part's alone.

    The others are trained on in the other folds. [shape=(n,), bool]
    """
    return (partition["part"] == "test").to_numpy() | (fold == "")


def predictions_table(partition: pd.DataFrame, score: np.ndarray, fold: str = "") -> pd.DataFrame:
    """Put scores beside the partition rows that they belong to, in the run folder's columns.

    Only rows that are `told` are kept.
    """
    rounded = np.round(np.asarray(score, float), DECIMALS)
    table = partition.assign(fold=fold, score=rounded, predicted=predicted_class(rounded))
    return table.loc[told(table, fold), list(PREDICTION_COLUMNS)]


def scores_table(paths: Sequence[str], score: np.ndarray) -> pd.DataFrame:
    """Put scores beside the images that they belong to: `path`, `score` (the probability of `all`), `predicted`."""
    rounded = np.round(np.asarray(score, float), DECIMALS)
    return pd.DataFrame({"path": paths, "score": rounded, "predicted": predicted_class(rounded)})


def write_run(
    folder: Path,
    info: dict[str, Any],
    predictions: pd.DataFrame,
    save_models: Callable[[Path], None],
    history: pd.DataFrame | None = None,
    libraries: Sequence[str] = (),
) -> Run:
    """Write a run folder, whole or not at all.

    Args:
        folder: Where to.
        info: `run.json` without what is filled in here (version, versions, device where missing, command, files).
        predictions: Table in `PREDICTION_COLUMNS`.
        save_models: Writes the models, and what else belongs to them, into the folder it is given.
        history: One row an epoch, for networks.
        libraries: Distributions whose versions are recorded.

    Raises:
        InputError: the folder is already there.
    """
    with whole_folder(folder) as partial:
        write_csv(predictions, partial / "predictions.csv")
        figures = {
            part: classification_metrics(rows["label"].to_numpy(), rows["score"].to_numpy())
            for part in PARTS
            if len(rows := predictions[predictions["part"] == part])
        }
        write_json(figures, partial / "metrics.json")
        if history is not None:
            write_csv(history, partial / "history.csv")
        save_models(partial)
        info = {
            "leukobench": leukobench.__version__,
            "device": "cpu",
            "model_parameters": None,
            "versions": _versions(libraries),
            "command": " ".join(["leukobench", *sys.argv[1:]]),
            **info,
        }
        info["files"] = {file.name: sha256_of(file) for file in sorted(partial.iterdir())}
        missing = set(RUN_KEYS) - info.keys()
        if missing:
            raise AssertionError(f"run.json would lack {sorted(missing)}")
        write_json(info, partial / "run.json")
    return read_run(folder)


def read_info(folder: Path) -> dict[str, Any]:
    """Read what `run.json` says, without looking at the other files.

    Raises:
        InputError: no run folder, or a malformed `run.json`.
    """
    info = _read_json(folder / "run.json", folder)
    missing = [key for key in RUN_KEYS if key not in info]
    if missing:
        raise InputError(f"{folder / 'run.json'}: lacks {', '.join(missing)}; train again")
    return info


def read_run(folder: Path) -> Run:
    """Read a run folder and check that it is complete.

    Raises:
        InputError: no run folder, a missing or changed file, or a malformed table; the message names the file.
    """
    info = read_info(folder)
    for name, checksum in info["files"].items():
        file = folder / name
        if not file.is_file():
            raise InputError(f"{folder}: is torn: {name} is missing; train again")
        if sha256_of(file) != checksum:
            raise InputError(f"{file}: was changed since the run was written; train again")
    predictions = read_csv_columns(folder / "predictions.csv", PREDICTION_COLUMNS, "predictions table")
    history = folder / "history.csv"
    return Run(
        folder=folder,
        info=info,
        predictions=predictions.assign(score=predictions["score"].astype(float)),
        metrics=_read_json(folder / "metrics.json", folder),
        history=pd.read_csv(history) if history.is_file() else None,
    )


def _versions(libraries: Sequence[str]) -> dict[str, str]:
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in libraries},
    }


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such run folder; name one that a train command wrote")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder}: is no run folder, or a torn one: {path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); train again") from None
