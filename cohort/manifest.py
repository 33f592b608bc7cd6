"""The manifest: the table of a cohort's images, one row an image.

Columns (all text but `size_bytes`):

| column          | content                                                                         |
|-----------------|---------------------------------------------------------------------------------|
| `path`          | file, relative to the image folder, with forward slashes                        |
| `label`         | `all` (leukemic blast, the positive class) or `hem` (normal); empty if unknown  |
| `subject`       | subject ID in upper case; empty if unknown                                      |
| `subject_group` | subjects that are tied by their images, joined by `=`; splits keep it whole     |
| `phase`         | `train`, `prelim` or `final`                                                    |
| `fold`          | the official fold, `0` to `2`; empty outside the training phase                 |
| `sha256`        | checksum of the file's bytes                                                    |
| `size_bytes`    | size of the file                                                                |
| `original_name` | name before the challenge renamed it; it contains subject and label             |
| `class_name`    | only if the class folders are not named `all` and `hem`: their names            |
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pandas as pd

import leukobench
from leukobench.core.errors import InputError
from leukobench.core.files import csv_bytes, read_csv_columns, write_csv
from leukobench.core.text import printable

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
CLASS_NAME = "class_name"  # optional column
SHIPPED = "data_manifest.csv"  # every file of C-NMC 2019
IMAGE_SUFFIXES = (".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")


def shipped_manifest_path() -> Path:
    """Return the path of the manifest of C-NMC 2019 that comes with the package."""
    return Path(leukobench.__file__).resolve().parent / SHIPPED


def read_manifest(path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Read and validate a manifest.

    Args:
        path: The file; None for the shipped manifest, which lists every file of C-NMC 2019.

    Returns:
        One row an image, all columns text but `size_bytes`; see the columns above.

    Raises:
        InputError: the file is not a manifest; the message names the first wrong row.

    Example:
        >>> import leukobench as lb
        >>> manifest = lb.read_manifest()
        >>> len(manifest), manifest["subject_group"].nunique()
        (15114, 87)
    """
    path = shipped_manifest_path() if path is None else Path(path)
    manifest = read_csv_columns(path, COLUMNS, "manifest", optional=[CLASS_NAME])
    validate(manifest, str(path))
    return manifest.assign(size_bytes=manifest["size_bytes"].astype("int64"))


def write_manifest(manifest: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a manifest as CSV, completely or not at all.

    Args:
        manifest: The cohort, as `index_folder` or `read_manifest` returns it.
        path: The file; an existing one is replaced.

    Raises:
        InputError: the table is not a manifest.

    Example:
        >>> import leukobench as lb
        >>> manifest = lb.read_manifest()
        >>> lb.write_manifest(manifest[manifest["phase"] == "train"], "train.csv")
    """
    validate(manifest.astype(str), str(path))
    write_csv(_in_columns(manifest), Path(path), replace=True)


def manifest_checksum(manifest: pd.DataFrame) -> str:
    """Return the SHA-256 of the file that `write_manifest` writes for a manifest."""
    return hashlib.sha256(csv_bytes(_in_columns(manifest))).hexdigest()


def _in_columns(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest in the columns of its file."""
    return manifest[[*COLUMNS, *([CLASS_NAME] if CLASS_NAME in manifest else [])]]


def validate(manifest: pd.DataFrame, name: str) -> None:
    """Check a manifest of text columns against the schema.

    Raises:
        InputError: a path is absolute or duplicated, a label or phase is unknown, a checksum or size is malformed,
            or a subject is in two subject groups. The message starts with `name` and names the first wrong row.
    """
    path = manifest["path"]
    faults = (
        (path.duplicated(), "is duplicated"),
        *path_faults(path),
        (~manifest["label"].isin([*LABELS, ""]), "has a label other than all, hem or empty"),
        (~manifest["phase"].isin([*PHASES, ""]), "has a phase other than train, prelim or final"),
        (~manifest["sha256"].str.fullmatch(r"[0-9a-f]{64}"), "has no SHA-256 of 64 hexadecimal digits"),
        (~manifest["size_bytes"].str.fullmatch(r"\d{1,18}"), "has a size_bytes that is no whole number below 10^18"),
        (manifest["subject"].str.contains("=", regex=False), "has a subject with =, which joins subjects into groups"),
        ((manifest["subject"] == "") != (manifest["subject_group"] == ""), "has a subject without its group"),
        (
            (manifest["subject"] != "") & (manifest.groupby("subject")["subject_group"].transform("nunique") > 1),
            "belongs to a subject that is in two subject groups",
        ),
        *class_name_faults(manifest),
    )
    for wrong, reason in faults:
        if wrong.any():
            raise InputError(f"{name}: {path[wrong].iloc[0]!r} {reason}; fix it or run `leukobench manifest` again")


def class_name_faults(table: pd.DataFrame) -> tuple[tuple[pd.Series, str], ...]:
    """Return which rows of a manifest or partition have a fault in the name of their class, and what it is."""
    if CLASS_NAME not in table:
        return ()
    name, label = table[CLASS_NAME], table["label"]
    one_to_one = (name.groupby(label).transform("nunique") == 1) & (label.groupby(name).transform("nunique") == 1)
    return (
        ((name == "") != (label == ""), "has a label without the name of its class, or a name without a label"),
        (name.map(printable) != name, "has a control character, or bytes that are not UTF-8, in the name of its class"),
        (~one_to_one, "has a class_name that stands for two labels, or a label with two names"),
    )


def path_faults(path: pd.Series) -> tuple[tuple[pd.Series, str], ...]:
    """Return which paths of images have a fault, for each fault, and what it is."""
    return (
        (path.str.match(r"^$|^/|^[A-Za-z]:|.*\\"), "is not a relative path with forward slashes"),
        (("/" + path + "/").str.contains("/../", regex=False), "leads out of the image folder"),
        (path.map(printable) != path, "has a control character, or bytes that are not UTF-8, in its name"),
    )


def labelled(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with known label and subject, which can be used for training and test."""
    return manifest[(manifest["label"] != "") & (manifest["subject"] != "")]
