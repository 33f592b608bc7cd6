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
    return _compiled(function)


def compiled_sums(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function like `compiled`, with sums of floating-point numbers in the order that is fastest.

    The last bits of its results may differ between kinds of processor, as those of OpenCV and NumPy do.
    """
    return _compiled(function, fastmath={"reassoc"})


def _compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    except RuntimeError:  # Numba found no folder that it may write to
        return numba.njit(nogil=True, error_model="numpy", **options)(function)
