"""Compile loops over the pixels of a cell with Numba, once, and cache them on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call; later processes read the compiled code from disk.

    The cache is beside the code or, if that folder is not writable, in the user's cache folder (Numba's variable
    NUMBA_CACHE_DIR names another). Without any of them, every process compiles again. Division by zero gives infinity
    as in NumPy; callers handle undefined values.
    """
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # Numba found no folder that it may write to
        return numba.njit(error_model="numpy")(function)
