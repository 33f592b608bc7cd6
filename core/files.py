"""Files on disk: checksums, writing whole or not at all, CSV tables with a schema."""

from __future__ import annotations

import contextlib
import csv
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock
import pandas as pd

from leukobench.core.errors import InputError, UnfinishedError


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 lowercase hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_existing(path: Path) -> None:
    """Raise InputError where `path` is already there: nothing that was computed is ever overwritten."""
    if path.exists():
        raise InputError(f"{path}: already exists; remove it or choose another name")


def unfinished_path(out: Path) -> Path:
    """Return where a long computation keeps what it has done so far, beside its output: `NAME.partial`."""
    return out.with_name(f"{out.name}.partial")


def refuse_unfinished(out: Path, *, resume: bool) -> None:
    """Raise UnfinishedError where an interrupted computation of `out` is there and is not to be resumed."""
    if not resume and unfinished_path(out).exists():
        raise UnfinishedError(
            f"{unfinished_path(out)}: an interrupted run has left what it computed; resume it, or remove this"
        )


@contextlib.contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Keep other processes from making the file or folder `path` at the same time.

    The lock is the operating system's, on `.NAME.lock` beside `path`: it ends with the process that holds it, however
    that ends. A lock file that a killed process has left holds nobody up.

    Raises:
        InputError: another process is making it, or it is already there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise InputError(
            f"{path}: another process is making it; wait until that ends, or choose another name"
        ) from None
    try:
        refuse_existing(path)  # by now whoever had the lock may have made it
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file; there the release does
            os.unlink(lock.lock_file)
        lock.release()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, delete it otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of the whole file `path` left beside it; there must be no other writer at work."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        partial.unlink()


@contextlib.contextmanager
def whole_folder(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; rename it to `path` when the block ends well, delete it otherwise.

    Args:
        path: The folder.
        shared: Others may make the same folder with the same content meanwhile; then that of the first stays.

    Raises:
        InputError: `path` is already there and not shared.
    """
    if not shared:
        refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp makes private folders; results are meant to be shared
        try:
            partial.rename(path)
        except OSError:
            if not (shared and path.is_dir()):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_csv_columns(path: Path, columns: Sequence[str], kind: str) -> pd.DataFrame:
    """Read a CSV of text columns, empty cells as "".

    Args:
        path: The file.
        columns: Columns that must be there; others are dropped.
        kind: What the file should be, for the error messages ("manifest", "partition").

    Raises:
        InputError: the file cannot be read as CSV, lacks a column, or holds no row.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: is empty; expected a {kind} with the columns {', '.join(columns)}") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise InputError(f"{path}: cannot be read as a {kind} ({' '.join(str(error).split())})") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(
            f"{path}: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"a {kind} has {', '.join(columns)}"
        )
    if table.empty:
        raise InputError(f"{path}: contains no row; expected a {kind} with at least one image")
    return table[list(columns)]


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as CSV, the same bytes on every system."""
    return table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).encode()


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, completely or not at all."""
    with whole_file(path) as partial:
        partial.write_bytes(csv_bytes(table))


def write_json(content: dict[str, Any], path: Path) -> None:
    """Write JSON, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
