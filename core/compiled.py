"""Compile loops over pixels with Numba, once, and cache them on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call; later processes read the compiled code from disk.

    The cache is beside the code or, if that folder is not writable, in the user's cache folder (Numba's variable
    NUMBA_CACHE_DIR names another). Without any of them, every process compiles again. Threads can run the function at
    the same time. Division by zero gives infinity as in NumPy; callers handle undefined values.
    """
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # Numba found no folder that it may write to
        return numba.njit(nogil=True, error_model="numpy")(function)
