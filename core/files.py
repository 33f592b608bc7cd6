"""Files on disk: checksums, atomic writing, CSV tables with a schema.

What is written appears under its name when it is complete and on the disk, so that neither a kill nor a power cut
leaves an incomplete result. An existing result is never replaced.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import filelock
import pandas as pd

from leukobench.core.errors import MEMORY, InputError, UnfinishedError
from leukobench.core.opening import sha256_of as sha256_of

_KINDS = {  # columns by which a table of another kind is known, the most special first
    "table of ties": {"path", "other", "accepted"},
    "manifest": {"path", "sha256", "size_bytes"},
    "predictions table": {"path", "score", "predicted"},
    "partition": {"path", "part", "method"},
    "list of failures": {"path", "reason"},
}
_FEATURES = ("color_", "geometry_", "texture_", "statistics_")
_MAKERS = {"manifest": "manifest", "partition": "split"}  # the command that makes a kind


def refuse_existing(path: Path) -> None:
    """Raise InputError if `path` exists: results are never overwritten."""
    if path.exists():
        raise InputError(f"{path}: already exists; remove it or choose another name")


def unfinished_path(out: Path) -> Path:
    """Return where a long computation keeps its unfinished results, next to its output: `NAME.partial`."""
    return out.with_name(f"{out.name}.partial")


def refuse_unfinished(out: Path, *, resume: bool) -> None:
    """Raise UnfinishedError if `out` has unfinished results and `resume` is false."""
    if not resume and unfinished_path(out).exists():
        raise UnfinishedError(
            f"{unfinished_path(out)}: contains the unfinished results of an interrupted call; resume it or remove them"
        )


@contextlib.contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Prevent other processes from writing the file or folder `path` at the same time.

    The operating system locks the file `.NAME.lock` next to `path` and releases the lock when the process ends. The
    lock file of a killed process does not block later calls.

    Raises:
        InputError: another process is writing `path`, or it exists.
    """
    with locked(path):
        refuse_existing(path)  # the previous holder of the lock may have written it
        yield


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Prevent other processes from writing `path` at the same time; it may exist, such as the page of a study.

    Raises:
        InputError: another process is writing `path`.
    """
    sweep(path.parent)
    make_folder(path.parent)
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        raise InputError(
            f"{path}: another process is writing it; wait for that process to finish, or choose another name"
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows cannot remove an open file; the release removes it there
            os.unlink(lock.lock_file)
        lock.release()


@contextlib.contextmanager
def whole_file(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary path next to `path`; give it the name `path` if the block succeeds, delete it otherwise.

    Args:
        path: The file.
        replace: Whether an existing file is replaced, such as a checkpoint.

    Raises:
        InputError: `path` exists and is not to be replaced.
    """
    make_folder(path.parent)
    with _own_partial(path) as partial:
        try:
            yield partial
            _sync(partial)
            if replace:
                partial.replace(path)
            else:
                _rename_new(partial, path)
            _sync(path.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _own_partial(path: Path) -> Iterator[Path]:
    """Yield a new temporary name next to `path`, locked so that no other process sweeps it; name `path` in errors."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    lock = filelock.FileLock(partial.with_name(f"{partial.name}.lock"))
    try:
        with lock:
            try:
                _sync(path.parent, of=partial)  # a power cut that leaves it leaves its lock, by which `sweep` finds it
                yield partial
            finally:
                if not partial.exists():  # what a failing disk does not remove now, a later `sweep` finds by its lock
                    with contextlib.suppress(OSError):  # as in `locked`
                        os.unlink(lock.lock_file)
    except OSError as error:
        if error.filename is None:  # such as a full disk, while a library writes
            error.filename = str(path)
        raise


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders in a folder whose writers were killed; those of living writers stay.

    What cannot be removed, as on a read-only disk, stays as well.
    """
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        if not re.fullmatch(r"\..+\.[0-9a-f]{8}\.partial\.lock", name):
            continue
        lock, left = filelock.FileLock(folder / name), folder / name.removesuffix(".lock")
        with contextlib.suppress(OSError), lock.acquire(blocking=False):  # also filelock's Timeout
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            left.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                os.unlink(lock.lock_file)


def checksums_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a folder, by its name; not of locks that could not be removed (`sweep`)."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    return {path.name: sha256_of(path) for path in files}


def _rename_new(partial: Path, path: Path) -> None:
    """Rename a file, unless the new name exists: a plain rename would replace the file of another process."""
    try:
        os.link(partial, path)
    except FileExistsError:
        refuse_existing(path)
        raise
    except OSError:  # a file system without hard links
        refuse_existing(path)
        partial.rename(path)
    else:
        partial.unlink()


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, on the disk, unless they exist."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(path: Path, of: Path | None = None) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk; name `path` or `of` in errors."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open folders; its file systems write names in order
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if not (path.is_dir() and error.errno == errno.EINVAL):  # some network file systems cannot do it for folders
            error.filename = str(of or path)
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def whole_folder(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield a temporary folder next to `path`; rename it to `path` if the block succeeds, delete it otherwise.

    Args:
        path: The folder.
        shared: Whether other processes may write the same folder with the same content; the first one is kept.

    Raises:
        InputError: `path` exists and is not shared.
    """
    if not shared:
        refuse_existing(path)
    sweep(path.parent)
    make_folder(path.parent)
    with _own_partial(path) as partial:
        try:
            partial.mkdir()
            yield partial
            sweep(partial)  # a lock in it that could not be removed
            rename_folder(partial, path, shared=shared)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def rename_folder(partial: Path, path: Path, *, shared: bool = False) -> None:
    """Rename a complete folder to `path`; all of its files are on the disk before that.

    Args:
        partial: The folder.
        path: Its new name, in the same folder.
        shared: See `whole_folder`.

    Raises:
        InputError: `path` exists and is not shared.
    """
    for folder, _, names in os.walk(partial):
        for name in names:
            _sync(Path(folder, name))
        _sync(Path(folder))
    try:
        partial.rename(path)
    except OSError:
        if not (shared and path.is_dir()):
            refuse_existing(path)  # it was written meanwhile; a folder with files is never replaced
            raise
    _sync(path.parent)


def read_csv_columns(
    path: Path, columns: Sequence[str], kind: str, *, optional: Sequence[str] = (), may_be_empty: bool = False
) -> pd.DataFrame:
    """Read a CSV of text columns, empty cells as "".

    Args:
        path: The file.
        columns: Required columns; others are dropped.
        kind: Kind of file, for the error messages ("manifest", "partition").
        optional: Columns that are kept if the file has them.
        may_be_empty: Whether a table without rows is valid.

    Raises:
        InputError: the file cannot be read as CSV, lacks a column, or contains no row.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: is empty; expected a {kind} with the columns {', '.join(columns)}") from None
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        if "C error: out of memory" in str(error):
            raise MemoryError(MEMORY) from None
        raise InputError(f"{path}: cannot be read as a {kind} ({' '.join(str(error).split())})") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        found = kind_of_table(table.columns)
        raise InputError(
            f"{path}: {f'is a {found}; ' * bool(found)}lacks the column{'s' * (len(missing) > 1)} "
            f"{', '.join(missing)}; "
            f"a {kind} has {', '.join(columns)}{f'; `{_MAKERS.get(kind)}` makes it' * (kind in _MAKERS)}"
        )
    if table.empty and not may_be_empty:
        raise InputError(f"{path}: contains no row; expected a {kind} with at least one image")
    return table[[*columns, *(column for column in optional if column in table)]]


def kind_of_table(columns: Iterable[str]) -> str:
    """Return which of the tables of leukobench has these columns: `manifest`, `partition` ...; "" for none.

    >>> kind_of_table(["path", "label", "subject", "sha256", "size_bytes"])
    'manifest'
    """
    columns = list(columns)
    for kind, own in _KINDS.items():
        if own <= set(columns):
            return kind
    return "feature table" if any(each.startswith(_FEATURES) for each in columns) else ""


def read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file cannot be read; the message ends with the remedy.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); {remedy}") from None


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as CSV, the same bytes on every system."""
    return table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL).encode()


def without_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """Put an apostrophe before texts that a spreadsheet would run as a formula: those that begin with =, +, - or @.

    This is for tables that people read. Tables that leukobench reads again keep every text as it is.
    """
    return table.map(lambda cell: f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple("=+-@") else cell)


def write_csv(table: pd.DataFrame, path: Path, *, replace: bool = False) -> None:
    """Write a table as CSV, see `whole_file`."""
    with whole_file(path, replace=replace) as partial:
        partial.write_bytes(csv_bytes(table))


def write_json(content: dict[str, Any], path: Path, *, replace: bool = False) -> None:
    """Write JSON, see `whole_file`."""
    with whole_file(path, replace=replace) as partial:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        partial.write_bytes(text.encode(errors="backslashreplace"))  # JSON reads the escapes of such bytes again
