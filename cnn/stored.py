"""The networks of a run folder: one or, of a cross-validation, one a fold."""

from __future__ import annotations

from pathlib import Path

from study.errors import StudyError
from study.integrity import natural_order

_FOLD = "model_fold_"


def model_name(fold: str = "") -> str:
    """Return the file name of the only network, or of a fold's."""
    return f"{_FOLD}{fold}.keras" if fold else "model.keras"


def folds_of(folder: Path) -> list[str]:
    """Return the folds that a run folder has networks of, in order; none where it is of no cross-validation."""
    return sorted((file.stem.removeprefix(_FOLD) for file in folder.glob(model_name("*"))), key=natural_order)


def model_file(folder: Path, fold: str | None) -> Path:
    """Return the file of the only network or, of a cross-validation, of a fold's.

    Raises:
        StudyError: there is no such network.
    """
    file = folder / model_name(fold or "")
    if not file.is_file():
        folds = ", ".join(folds_of(folder))
        remedy = f"name a fold with --fold: {folds}" if folds else "it is of no cross-validation; leave --fold out"
        raise StudyError(f"{folder}: holds no {file.name}; {remedy}")
    return file
