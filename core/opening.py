"""Opening files that come from somebody else: regular files only; and which failures are not those of the file."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from pathlib import Path

from leukobench.core.errors import InputError


def open_regular(path: str | os.PathLike[str]) -> io.FileIO:
    """Open a regular file for reading, unbuffered; a pipe or a device is refused instead of read without end.

    Raises:
        OSError: there is no such file, it is a folder, a pipe, a socket or a device, or it cannot be opened.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))
    return io.FileIO(handle)


UNFINISHED = ".unfinished"  # file in a folder that a killed process has not finished, and that may be made anew
_SURROUNDINGS = ("EIO", "ENOMEM", "EMFILE", "ENFILE", "ENODEV", "ENXIO", "ESTALE", "ENOTCONN", "ETIMEDOUT", "EHOSTDOWN")
SURROUNDINGS = {getattr(errno, name) for name in _SURROUNDINGS if hasattr(errno, name)}


def of_surroundings(error: Exception) -> bool:
    """Whether an error says nothing about the file: a failing disk, no memory, too many open files."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SURROUNDINGS)


class Place:
    """A folder of images as it was at the start: it may vanish later, as when its disk is unmounted."""

    def __init__(self, folder: Path) -> None:
        """Note which folder this is."""
        self.folder = folder
        self._was = self._identity()

    def check(self) -> None:
        """Raise OSError if the folder is no longer the one that it was, so that missing files are not its own fault."""
        if self._identity() != self._was:
            raise FileNotFoundError(errno.ENOENT, "The folder of the images has vanished", str(self.folder))

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.folder)
        except OSError:
            return None
        return status.st_dev, status.st_ino


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a regular file's bytes as 64 lowercase hexadecimal digits; see `open_regular`."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_other_image(file: str | os.PathLike[str], sha256: str) -> None:
    """Raise InputError if an image has another SHA-256 than the manifest says; "" stands for any."""
    if sha256 and sha256_of(file) != sha256:
        raise InputError("is not the image of the manifest (another SHA-256); restore it, or index it again")
