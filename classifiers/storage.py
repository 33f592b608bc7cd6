"""Models on disk: stored with skops, loaded without running code from the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import skops.io

from study.errors import StudyError

# What our models hold beyond the types that skops trusts by itself: scikit-learn's own parts of a calibration.
TRUSTED = ("sklearn.calibration._CalibratedClassifier", "sklearn.calibration._SigmoidCalibration")


def save_model(model: Any, path: Path) -> None:
    """Write a fitted model."""
    skops.io.dump(model, path)


def load_model(path: Path) -> Any:
    """Load a fitted model.

    Raises:
        StudyError: no skops file, or one with types that are none of ours.
    """
    try:
        foreign = sorted(set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED))
        if foreign:
            raise StudyError(f"{path}: holds {', '.join(foreign)}, which no model of ours does; not loaded")
        return skops.io.load(path, trusted=list(TRUSTED))
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise StudyError(f"{path}: cannot be loaded as a model ({' '.join(str(error).split())})") from None
