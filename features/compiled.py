"""How loops over a cell's pixels are compiled: once, by Numba, and kept on disk beside the code."""

from __future__ import annotations

import numba

# division by zero gives infinities as in NumPy; the callers rule on what is undefined
compiled = numba.njit(cache=True, error_model="numpy")
