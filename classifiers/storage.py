"""Models on disk: stored with skops, loaded without running code from the file."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import skops.io

from leukobench.classifiers.model import Model
from leukobench.core.archives import refuse_bomb
from leukobench.core.errors import InputError

TRUSTED = (f"{Model.__module__}.{Model.__qualname__}",)  # beside the types of scikit-learn that skops trusts


def save_model(model: Model, path: Path) -> None:
    """Write a model."""
    skops.io.dump(model, path)


def load_model(path: Path) -> Model:
    """Load a model.

    Raises:
        InputError: not a skops file, one with types that leukobench does not use, or one without a model.
    """
    try:
        with ZipFile(path) as archive:
            refuse_bomb(archive, path)
        foreign = sorted(set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED))
        if foreign:
            raise InputError(f"{path}: contains {', '.join(foreign)}, which no model of leukobench does; not loaded")
        model = skops.io.load(path, trusted=list(TRUSTED))
    except InputError:
        raise
    except Exception as error:  # a damaged file makes skops and NumPy raise nearly anything
        raise InputError(f"{path}: cannot be loaded as a model ({' '.join(str(error).split())})") from None
    if not isinstance(model, Model):
        raise InputError(f"{path}: contains a {type(model).__name__}, not a model of leukobench; train again")
    return model
