"""How large the cache of the networks is, and how to empty it; everything in it can be computed again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from leukobench.core.errors import InputError

PARTS = ("images", "features", "compiled")  # what leukobench writes there; other files in the folder are not its own


@dataclass(frozen=True)
class Size:
    """Number of files of a part of the cache, and of their bytes."""

    files: int
    bytes: int


def size_of(folder: Path) -> dict[str, Size]:
    """Return the size of each part of the cache that exists."""
    found = {}
    for part in PARTS:
        if files := [file for file in (folder / part).rglob("*") if file.is_file()]:
            found[part] = Size(len(files), sum(file.stat().st_size for file in files))
    return found


def clear_cache(folder: Path) -> None:
    """Remove all parts of the cache, and nothing else in the folder.

    Raises:
        InputError: a file cannot be removed.
    """
    for part in PARTS:
        try:
            if (folder / part).exists():
                shutil.rmtree(folder / part)
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be removed ({error.strerror}); remove it yourself") from None
