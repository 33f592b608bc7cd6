"""Which images are to be predicted (a folder, image files, lists of files, or a manifest), and what they must show."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from leukobench.cells.cell import OTHER_BACKGROUND
from leukobench.cohort.layout import image_files
from leukobench.cohort.manifest import read_manifest
from leukobench.core.errors import InputError
from leukobench.core.text import printable

StrPath = str | os.PathLike[str]
LIST_SUFFIX = ".txt"


@dataclass(frozen=True)
class ImageSources:
    """Image files, and their names in a table of predictions.

    Attributes:
        files: The files, each once.
        names: Name of each: relative to the folder, of one folder or manifest; else as given.
    """

    files: list[str]
    names: list[str]


def image_sources(given: Sequence[StrPath], manifest: StrPath | None = None) -> ImageSources:
    """Find the image files that are meant. A file that is not there is kept, so that it is reported as failed.

    Args:
        given: Folders, searched with their subfolders; image files; or lists: text files (.txt) with one path a line,
            relative to the current folder. Empty lines are skipped. An image that is named twice counts once.
        manifest: Manifest whose images are meant; `given` is then the one folder that its paths are relative to.

    Raises:
        InputError: nothing is given, a folder or list contains no image, a list cannot be read, or `given` is no single
            folder although there is a manifest.

    Example:
        >>> written = Path("cells.txt").write_text("a.bmp\\n\\nb.bmp\\n")
        >>> image_sources(["cells.txt", "c.bmp", "a.bmp"]).names
        ['a.bmp', 'b.bmp', 'c.bmp']
    """
    folder = Path(given[0]) if len(given) == 1 and Path(given[0]).is_dir() else None
    if manifest is not None and folder is None:
        raise InputError(f"{manifest}: is a manifest; name the one folder that its paths are relative to")
    if folder is not None:
        names = image_files(folder) if manifest is None else read_manifest(manifest)["path"].tolist()
        return ImageSources([(folder / name).as_posix() for name in names], names)
    found = list(dict.fromkeys(path for each in given for path in _images_of(Path(each))))
    if not found:
        raise InputError("images: there is none to predict; name folders, image files, or lists of images")
    return ImageSources(found, found)


def for_run(message: str, background: str) -> str:
    """Return a message on an image in the words that suit a run, whose background cannot be chosen.

    Args:
        message: The message, which may advise to choose another background.
        background: What surrounds the training cells of the run.
    """
    segment = " (`leukobench segment` does it for photographs of smears)" if background == "black" else ""
    like_training = f"cut out the cells like the training cells{segment}, or train on images like this one"
    return message.replace(OTHER_BACKGROUND, like_training)


@contextmanager
def errors_for_run(background: str) -> Iterator[None]:
    """Raise errors on images in the words that suit a run; see `for_run`."""
    try:
        yield
    except InputError as error:
        raise type(error)(for_run(str(error), background)) from None


def _images_of(path: Path) -> list[str]:
    if path.is_dir():
        return [(path / name).as_posix() for name in image_files(path)]
    return _read_list(path) if path.suffix.lower() == LIST_SUFFIX else [path.as_posix()]


def _read_list(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a list of images, one path a line ({error})") from None
    listed = [Path(line).as_posix() for line in lines if line]
    if not listed:
        raise InputError(f"{path}: lists no image; write one path a line")
    unwritable = [line for line in listed if printable(line) != line]
    if unwritable:
        raise InputError(f"{path}: {printable(unwritable[0])} has a control character in its name; rename the file")
    return listed
