"""Keras, imported once and without TensorFlow's notices; every module of `leukobench.cnn` imports it from here.

On import, TensorFlow writes a page of notices that none of its settings silences (tensorflow issue 100442). Therefore
this module sets `TF_CPP_MIN_LOG_LEVEL` if it is unset, and redirects the standard error of the process while Keras is
imported. It has no other side effect; errors are exceptions and are still raised.
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
