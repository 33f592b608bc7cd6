"""The manifest: the table of a cohort's images, one row an image.

Columns (all text but `size_bytes`):

| column          | holds                                                                           |
|-----------------|---------------------------------------------------------------------------------|
| `path`          | file, relative to the image folder, with forward slashes                        |
| `label`         | `all` (leukemic blast, the positive class) or `hem` (normal); empty if unknown  |
| `subject`       | the person's ID, upper case; empty if unknown                                   |
| `subject_group` | subjects that share an identical image, joined by `=`; what splits group by     |
| `phase`         | `train`, `prelim` or `final`                                                    |
| `fold`          | the official fold, `0` to `2`; empty outside the training phase                 |
| `sha256`        | checksum of the file's bytes                                                    |
| `size_bytes`    | size of the file                                                                |
| `original_name` | name before the challenge renamed it; it tells subject and label                |
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from study.errors import StudyError
from study.files import read_csv_columns, sha256_of, write_csv
from study.integrity import subject_groups

POSITIVE, NEGATIVE = "all", "hem"
LABELS = (POSITIVE, NEGATIVE)
PHASES = ("train", "prelim", "final")
COLUMNS = (
    "path",
    "label",
    "subject",
    "subject_group",
    "phase",
    "fold",
    "sha256",
    "size_bytes",
    "original_name",
)
IMAGE_SUFFIXES = (".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")

# UID_<subject>_<image>_<cell>_<label>, the dataset's own names: UID_H24_17_9_hem.bmp
_CNMC_NAME = re.compile(r"UID_(?P<subject>H?\d+)_\d+_\d+_(?P<label>all|hem)\.\w+", re.IGNORECASE)
_PRELIM_LABELS = "*prelim*labels*.csv"


def read_manifest(path: Path) -> pd.DataFrame:
    """Read and validate a manifest.

    Raises:
        StudyError: the file is not a manifest; the message names the first fault.
    """
    manifest = read_csv_columns(path, COLUMNS, "manifest")
    validate(manifest, str(path))
    return manifest.assign(size_bytes=manifest["size_bytes"].astype("int64"))


def write_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Write a manifest, whole or not at all."""
    validate(manifest.astype(str), str(path))
    write_csv(manifest[list(COLUMNS)], path)


def validate(manifest: pd.DataFrame, name: str) -> None:
    """Check a manifest of text columns against the schema.

    Raises:
        StudyError: a path is absolute or stands twice, a label or phase is unknown, a checksum or size is malformed,
            or a subject stands in two groups. The message names `name` and the first offending row.
    """
    path = manifest["path"]
    faults = (
        (path.duplicated(), "stands twice"),
        (path.str.match(r"^$|^/|^[A-Za-z]:|.*\\"), "is not a relative path with forward slashes"),
        (("/" + path + "/").str.contains("/../", regex=False), "leads out of the image folder"),
        (~manifest["label"].isin([*LABELS, ""]), "has a label other than all, hem or empty"),
        (~manifest["phase"].isin([*PHASES, ""]), "has a phase other than train, prelim or final"),
        (~manifest["sha256"].str.fullmatch(r"[0-9a-f]{64}"), "has no SHA-256 of 64 hexadecimal digits"),
        (~manifest["size_bytes"].str.fullmatch(r"\d+"), "has a size_bytes that is no whole number"),
        ((manifest["subject"] == "") != (manifest["subject_group"] == ""), "has a subject without its group"),
        (
            (manifest["subject"] != "") & (manifest.groupby("subject")["subject_group"].transform("nunique") > 1),
            "belongs to a subject that stands in two subject groups",
        ),
    )
    for wrong, reason in faults:
        if wrong.any():
            raise StudyError(f"{name}: {path[wrong].iloc[0]!r} {reason}; mend it or run `leukobench manifest`")


def scan_folder(images: Path, *, subject_regex: str | None = None, jobs: int = 1) -> pd.DataFrame:
    """Index a folder of images as a manifest.

    The label and the subject come from the dataset's own file names (`UID_H24_17_9_hem.bmp`); for the preliminary
    test, whose files are numbered, from its labels CSV; elsewhere the label from a folder named `all` or `hem` and
    the subject from `subject_regex`. Files of the final test have neither.

    Args:
        images: The folder; searched with its subfolders.
        subject_regex: Pattern searched in the relative path; its first group (or the whole match) is the subject.
        jobs: Processes that hash files.

    Returns:
        The manifest, sorted by path.

    Raises:
        StudyError: no image below the folder, or images whose label or subject cannot be told.
    """
    files = sorted(
        (file.relative_to(images).as_posix(), file)
        for file in images.rglob("*")
        if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file() and not file.name.startswith(".")
    )
    if not files:
        raise StudyError(f"{images}: holds no image ({', '.join(IMAGE_SUFFIXES)}); name the folder that does")
    original_names = _original_names(images)
    rows = [_describe(path, original_names, subject_regex) for path, _ in files]
    _refuse_unknown(rows, images)
    hashing = Parallel(n_jobs=jobs, return_as="generator", batch_size=32)(delayed(sha256_of)(file) for _, file in files)
    digests = list(tqdm(hashing, total=len(files), desc="hashing", unit="image", disable=None))
    manifest = pd.DataFrame(rows).assign(sha256=digests, size_bytes=[file.stat().st_size for _, file in files])
    manifest["subject_group"] = subject_groups(manifest["subject"], manifest["sha256"])
    return manifest[list(COLUMNS)]


def labelled(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose label and subject are known: those that can be trained and tested on."""
    return manifest[(manifest["label"] != "") & (manifest["subject"] != "")]


def _original_names(images: Path) -> dict[str, str]:
    """Map the numbered files of the preliminary test to their original names, from the dataset's labels CSV."""
    names: dict[str, str] = {}
    for table in sorted(images.rglob(_PRELIM_LABELS)):
        rows = read_csv_columns(table, ("Patient_ID", "new_names"), "labels file of the preliminary test")
        names.update(zip(rows["new_names"], rows["Patient_ID"], strict=True))
    return names


def _phase_of(path: str) -> str:
    if "final" in path.lower():
        return "final"
    return "prelim" if "prelim" in path.lower() else "train"


def _describe(path: str, original_names: dict[str, str], subject_regex: str | None) -> dict[str, str]:
    """Return what a file's relative path tells of it, in the manifest's columns."""
    name = PurePosixPath(path).name
    folders = [folder.lower() for folder in PurePosixPath(path).parts[:-1]]
    phase = _phase_of("/".join(folders))
    original = original_names.get(name, name) if phase == "prelim" else name
    official = _CNMC_NAME.fullmatch(original)
    label = official["label"].lower() if official else next((f for f in folders[::-1] if f in LABELS), "")
    subject = official["subject"] if official else ""
    if subject_regex:
        found = re.search(subject_regex, path)
        subject = (found[1] if found.re.groups else found[0]) if found else ""
    fold = next((f.removeprefix("fold_") for f in folders if re.fullmatch(r"fold_\d+", f)), "")
    return {
        "path": path,
        "label": label,
        "subject": subject.upper(),
        "phase": phase,
        "fold": fold if phase == "train" else "",
        "original_name": "" if phase == "final" else original,
    }


def _refuse_unknown(rows: list[dict[str, str]], images: Path) -> None:
    """Raise StudyError where images outside the final test have no label or no subject."""
    remedies = {
        "label": "put each class in a folder named all or hem",
        "subject": "give --subject-regex, a pattern that finds the subject in the path",
    }
    for column, remedy in remedies.items():
        unknown = [row["path"] for row in rows if row["phase"] != "final" and not row[column]]
        if unknown:
            raise StudyError(
                f"{images}: {len(unknown)} of {len(rows)} images have no {column} (first: {unknown[0]}); {remedy}"
            )
