"""How loops over a cell's pixels are compiled: once, by Numba, and kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call; later processes read the result from disk.

    It is kept beside the code or, where that folder cannot be written to, in the user's cache folder (Numba's variable
    NUMBA_CACHE_DIR names another). Where there is none of them, every process compiles anew. Division by zero gives
    infinities as in NumPy: callers rule on what is undefined.
    """
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # Numba's answer where it finds no folder that it may write to
        return numba.njit(error_model="numpy")(function)
