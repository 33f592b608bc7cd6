"""Keras, imported once and quietly; every module of this package takes it from here.

TensorFlow writes a page of notices on import that no setting of its own silences (tensorflow issue 100442), so the
process's standard error is pointed elsewhere for that moment. Errors are exceptions and still come through.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


with _silent_stderr():
    import keras

__all__ = ["keras"]
