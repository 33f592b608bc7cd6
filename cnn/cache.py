"""The cache: folders of arrays, kept on disk and mapped into memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import platformdirs

VARIABLE = "LEUKOBENCH_CACHE"


def cache_folder() -> Path:
    """Return the folder of the cache: $LEUKOBENCH_CACHE, or the user's cache folder of the system."""
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    return platformdirs.user_cache_path("leukobench", appauthor=False)


def new_array(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.memmap:
    """Make a `.npy` file, reserve its space on the disk, and map it into memory.

    Without the space, the first write to a page that a full disk has no room for would kill the process (SIGBUS).

    Raises:
        OSError: the disk is full.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    else:
        array[:] = 0
        array.flush()
    return array
