"""The cache: folders of arrays, kept on disk and mapped into memory; a damaged one is made again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs

from leukobench.core.files import checksums_of, sha256_of, sweep, whole_folder, write_json

VARIABLE = "LEUKOBENCH_CACHE"
CHECKSUMS = "checksums.json"  # SHA-256 of the other files of a folder


def cache_folder() -> Path:
    """Return the folder of the cache: $LEUKOBENCH_CACHE, or the user's cache folder of the system."""
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    return platformdirs.user_cache_path("leukobench", appauthor=False)


def cached(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Return a folder of the cache; fill a new one if it is missing, or if one of its files is not as it was written.

    Args:
        folder: The folder.
        fill: Writes the files into the folder that it is given.
    """
    for left in folder.parent.glob(f".{folder.name}.*.damaged"):  # by a process that was killed meanwhile
        shutil.rmtree(left, ignore_errors=True)
    if folder.is_dir() and not _intact(folder):
        damaged = folder.with_name(f".{folder.name}.{os.getpid()}.damaged")
        with contextlib.suppress(FileNotFoundError):  # another process has removed it
            folder.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    sweep(folder.parent)
    if not folder.is_dir():
        with whole_folder(folder, shared=True) as partial:
            fill(partial)
            write_json(checksums_of(partial), partial / CHECKSUMS)
    return folder


def _intact(folder: Path) -> bool:
    try:
        checksums = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        return bool(checksums) and all(sha256_of(folder / name) == checksum for name, checksum in checksums.items())
    except (OSError, ValueError, AttributeError):
        return False


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
