"""The state of a training on disk, so that an interrupted training resumes and ends like an uninterrupted one."""

from __future__ import annotations

import json
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leukobench.cnn.backend import keras
from leukobench.core.errors import InputError
from leukobench.core.files import (
    make_folder,
    refuse_unfinished,
    unfinished_path,
    whole_file,
    whole_folder,
    write_csv,
    write_json,
)

SHARE = 0.03  # of the time may go into writing checkpoints: a GPU waits meanwhile, and a small head has short epochs
HISTORY, STATE = "history.csv", "state.npz"
IDENTITY = "training.json"


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        history: One row an epoch.
        best: Weights of the best epoch so far; None before there is one.
        best_value: Its metric on the validation part.
        best_epoch: Its number, from 1.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best: list[np.ndarray] | None = None
    best_value: float = -np.inf
    best_epoch: int = 0


class Checkpoint:
    """The checkpoint of one training: a folder with `state.npz` and `history.csv`.

    Args:
        folder: The folder, made after the first epoch: a training that fails before that leaves nothing behind.
        begin: Called before the folder is written to.
    """

    def __init__(self, folder: Path, begin: Callable[[], None] = lambda: None) -> None:
        self._folder, self._begin = folder, begin
        self._written, self._took = -np.inf, 0.0

    def save(self, model: keras.Model, progress: Progress, last: bool) -> None:
        """Write the history, and the state unless that would take more than `SHARE` of the time; the last always."""
        self._begin()
        make_folder(self._folder)
        write_csv(pd.DataFrame(progress.history), self._folder / HISTORY, replace=True)
        if not last and time.perf_counter() - self._written < self._took / SHARE:
            return
        start = time.perf_counter()
        facts = {
            "history": progress.history,
            "best_value": progress.best_value,
            "best_epoch": progress.best_epoch,
            "best": len(progress.best or []),
        }
        arrays = [keras.ops.convert_to_numpy(variable) for variable in _state(model)] + list(progress.best or [])
        with whole_file(self._folder / STATE, replace=True) as partial, open(partial, "wb") as file:
            named: dict[str, Any] = {f"a{number}": array for number, array in enumerate(arrays)}
            np.savez(file, facts=np.array(json.dumps(facts)), **named)
        self._written = time.perf_counter()
        self._took = self._written - start

    def restore(self, model: keras.Model) -> Progress:
        """Load the state into a compiled model; return how far the training was, at its start without a state.

        Raises:
            InputError: the file is damaged, or of another network.
        """
        path = self._folder / STATE
        if not path.is_file():
            return Progress()
        state = _state(model)
        try:
            with np.load(path) as stored:
                facts = json.loads(str(stored["facts"]))
                arrays = [stored[f"a{number}"] for number in range(len(state) + facts["best"])]
            if [array.shape for array in arrays[: len(state)]] != [tuple(variable.shape) for variable in state]:
                raise ValueError("of another network")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: cannot be resumed ({error}); remove {self._folder} and train again") from None
        for variable, array in zip(state, arrays, strict=False):
            variable.assign(array)
        best = arrays[len(state) :] or None
        return Progress(facts["history"], best, facts["best_value"], facts["best_epoch"])


@dataclass(frozen=True)
class UnfinishedTraining:
    """The folder of a training that is not finished, `NAME.partial` beside the run folder NAME.

    Attributes:
        folder: The folder; it does not exist before the first checkpoint.
        identity: What the result depends on, in types that JSON has; kept in the folder.
    """

    folder: Path
    identity: Mapping[str, Any]

    @classmethod
    def beside(cls, out: Path, identity: Mapping[str, Any], resume: bool) -> UnfinishedTraining:
        """Return the folder, after comparing it with the training that was asked for.

        Args:
            out: The run folder that the training will write.
            identity: What the result depends on.
            resume: Whether to resume an unfinished training, if there is one.

        Raises:
            UnfinishedError: there is an unfinished training, and `resume` is false.
            InputError: the unfinished training has another identity, or is damaged.
        """
        refuse_unfinished(out, resume=resume)
        folder = unfinished_path(out)
        if not folder.exists():
            return cls(folder, identity)
        if _half_removed(folder):
            shutil.rmtree(folder)
            return cls(folder, identity)
        try:
            before = json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(f"{folder}: contains no training that can be resumed; remove the folder") from None
        wanted = json.loads(json.dumps(identity))
        changed = [key for key in wanted if before.get(key) != wanted[key]]
        if changed:
            raise InputError(
                f"{folder}: was trained with another {', '.join(changed)}; use the same arguments, or remove the folder"
            )
        return cls(folder, identity)

    def checkpoint(self, fold: int | None) -> Checkpoint:
        """Return the checkpoint of a fold; without cross-validation (None), of the only training."""
        return Checkpoint(self.folder if fold is None else self.folder / f"fold_{fold}", self._begin)

    def remove(self) -> None:
        """Remove the folder, after the run folder was written."""
        shutil.rmtree(self.folder)

    def _begin(self) -> None:
        if not self.folder.exists():
            with whole_folder(self.folder) as partial:
                write_json(dict(self.identity), partial / IDENTITY)


def _half_removed(folder: Path) -> bool:
    """Whether a process was killed while it removed the folder: the identity, which it has from the start, is gone."""
    known = re.compile(rf"{re.escape(HISTORY)}|{re.escape(STATE)}|fold_\d+|\..*\.(partial|lock)")
    there = folder.is_dir() and not (folder / IDENTITY).exists()
    return there and all(known.fullmatch(path.name) for path in folder.rglob("*"))


def _state(model: keras.Model) -> list[keras.Variable]:
    """Return everything that training changes: weights, states of random generators, moments of the optimiser."""
    return [*model.variables, *model.optimizer.variables]
