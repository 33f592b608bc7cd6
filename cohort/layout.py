"""The two usual folder layouts of C-NMC 2019, and the file of each image of a manifest.

| phase  | Kaggle (and `data_manifest.csv`)                | Cancer Imaging Archive               |
|--------|-------------------------------------------------|--------------------------------------|
| train  | `training_data/fold_0/all/`                     | `C-NMC_training_data/fold_0/all/`    |
| prelim | `validation_data/C-NMC_test_prelim_phase_data/` | `C-NMC_test_prelim_phase_data/`      |
| final  | `testing_data/C-NMC_test_final_phase_data/`     | `C-NMC_test_final_phase_data/`       |

Archives unpacked into a folder of their own name repeat it (`fold_0/fold_0/all`); it counts once.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from leukobench.cohort.manifest import IMAGE_SUFFIXES, LABELS
from leukobench.core.errors import InputError
from leukobench.core.text import counted, printable

KAGGLE, ARCHIVE = "Kaggle", "Cancer Imaging Archive"

_FOLD = re.compile(r"fold_\d+", re.IGNORECASE)
_TEST = re.compile(r"c-nmc_test_(prelim|final)_phase_data", re.IGNORECASE)
_TEST_FOLDERS = {
    "prelim": "validation_data/C-NMC_test_prelim_phase_data",
    "final": "testing_data/C-NMC_test_final_phase_data",
}
_OUTER_FOLDERS = {
    "training_data": KAGGLE,
    "validation_data": KAGGLE,
    "testing_data": KAGGLE,
    "c-nmc_training_data": ARCHIVE,
}


@dataclass(frozen=True)
class Found:
    """The images in a folder, matched with the paths of a manifest.

    Attributes:
        files: File of each manifest path that has one.
        extra: Images that the manifest does not list, by path in the folder: the listed image that each copies, or "".
        layout: Name of the recognised layout.
    """

    files: dict[str, Path]
    extra: dict[str, str]
    layout: str


def canonical_path(path: str) -> str:
    """Return the path that `data_manifest.csv` gives to a file of C-NMC 2019 in either layout; "" for others.

    Only the last folders count, so the path may start anywhere.

    >>> canonical_path("downloads/C-NMC_training_data/fold_0/fold_0/all/UID_1_1_1_all.bmp")
    'training_data/fold_0/all/UID_1_1_1_all.bmp'
    >>> canonical_path("C-NMC_test_final_phase_data/1.bmp")
    'testing_data/C-NMC_test_final_phase_data/1.bmp'
    """
    *folders, name = _undoubled(path)
    if test := _TEST.fullmatch(folders[-1] if folders else ""):
        return f"{_TEST_FOLDERS[test[1].lower()]}/{name}"
    fold, label = folders[-2:] if len(folders) > 1 else ("", "")
    if _FOLD.fullmatch(fold) and label.lower() in LABELS:
        return f"training_data/{fold.lower()}/{label.lower()}/{name}"
    return ""


def layout_of(path: str) -> str:
    """Return the layout of a file of C-NMC 2019; "" if the outer folder that identifies it is missing."""
    *folders, _ = _undoubled(path)
    test = bool(folders) and bool(_TEST.fullmatch(folders[-1]))
    inner = 1 if test else 2  # folders between the outer one and the file
    outer = folders[-inner - 1].lower() if len(folders) > inner else ""
    return _OUTER_FOLDERS.get(outer, ARCHIVE if test else "")


def phase_and_fold(path: str) -> tuple[str, str]:
    """Return the phase and the fold of a file of C-NMC 2019 in either layout; "" if it has none."""
    canonical = canonical_path(path)
    phase = next((phase for phase, folder in _TEST_FOLDERS.items() if canonical.startswith(folder)), "")
    if phase or not canonical:
        return phase, ""
    return "train", canonical.split("/")[1].removeprefix("fold_")


def find_images(images: Path, paths: Iterable[str]) -> Found:
    """Find the files of a manifest in a folder, in any of the layouts.

    A file belongs to a manifest path if it has that path relative to `images`, or else if both have the same last
    folders of C-NMC 2019. So `images` can also be a folder above the dataset, or one of its parts.

    Raises:
        InputError: the folder contains no image, or none of the manifest.
    """
    listed = set(paths)
    by_canonical_path = _unambiguous(listed)
    below = image_files(images)
    above = images.resolve().as_posix()
    files = {path: images / path for path in below if path in listed}
    layouts = Counter(layout_of(f"{above}/{path}") if canonical_path(f"{above}/{path}") else "" for path in files)
    extra: dict[str, str] = {}
    for path in below:
        if path in files:
            continue
        whole = f"{above}/{path}"
        meant = by_canonical_path.get(canonical_path(whole), "")
        if not meant or meant in files:
            extra[path] = f"a second copy of {meant}" if meant else ""
        else:
            files[meant] = images / path
            layouts[layout_of(whole) or "folds without their outer folder"] += 1
    if not files:
        raise InputError(
            f"{images}: contains {counted(len(below), 'image')} but none of the {len(listed):,} of the manifest; name "
            "the folder that its paths are relative to (C-NMC 2019: the one of training_data or C-NMC_training_data)"
        )
    return Found(files, extra, _in_words(layouts))


def refuse_other_folder(images: Path, paths: Sequence[str]) -> None:
    """Raise InputError if none of the paths of a manifest is in a folder.

    Args:
        images: The folder.
        paths: Paths relative to it; none at all are accepted.
    """
    if paths and not any((images / path).exists() for path in paths):
        raise InputError(
            f"{images}: does not match the manifest: none of its {counted(len(paths), 'image')} is there (first: "
            f"{paths[0]}); name the folder that the manifest was made from"
        )


def _undoubled(path: str) -> list[str]:
    """Split a path into its parts; a folder inside one of the same name counts once."""
    parts = PurePosixPath(path).parts
    return [part for part, before in zip(parts, ("", *parts), strict=False) if part.lower() != before.lower()]


def _unambiguous(paths: set[str]) -> dict[str, str]:
    """Map canonical paths to the paths of a manifest, without those that two paths share."""
    canonical = {path: canonical_path(path) for path in paths}
    times = Counter(canonical.values())
    return {meant: path for path, meant in canonical.items() if meant and times[meant] == 1}


def image_files(images: Path, ignored: Sequence[str] = ()) -> list[str]:
    """Return the relative paths of the images in a folder and its subfolders, by file name, sorted.

    Linked folders are searched too; hidden folders and files are skipped. A folder named like an image counts as one,
    so that the user learns that it cannot be read.

    Args:
        images: The folder.
        ignored: Folders in it that are not searched, by their relative path, or by their name at any depth.

    Raises:
        InputError: there is no image, or one whose name cannot be written in a table; a folder to ignore is not there.
    """
    found: list[str] = []
    seen: set[str] = set()
    absent = dict.fromkeys(PurePosixPath(folder).as_posix() for folder in ignored)
    skipped = set(absent)
    for folder, subfolders, names in os.walk(images, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above it
            subfolders.clear()
            continue
        seen.add(real)
        named_like_images = [name for name in subfolders if name.lower().endswith(IMAGE_SUFFIXES)]
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name not in named_like_images]
        below = {name: {name, Path(folder, name).relative_to(images).as_posix()} & skipped for name in subfolders}
        for matched in below.values():
            for name in matched:
                absent.pop(name, None)
        subfolders[:] = [name for name in subfolders if not below[name]]
        for name in names + named_like_images:
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                found.append(Path(folder, name).relative_to(images).as_posix())
    if absent:
        raise InputError(
            f"{images}: has no folder {next(iter(absent))!r} to ignore; name a folder in it, "
            "such as masks or day1/masks"
        )
    if not found:
        raise InputError(f"{images}: contains no image ({', '.join(IMAGE_SUFFIXES)}); name the folder of the images")
    unwritable = sorted(path for path in found if printable(path) != path)
    if unwritable:
        raise InputError(
            f"{images}: {printable(unwritable[0])} has a control character, or bytes that are not UTF-8, in its name; "
            "no table can hold it: rename the file"
        )
    return sorted(found)


def _in_words(layouts: Counter[str]) -> str:
    names = [name for name, _ in layouts.most_common() if name]
    return " and ".join(names) if names else "as in the manifest"
