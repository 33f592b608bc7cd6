"""Describe a cohort for other tools: write its record in the Croissant format of MLCommons.

A record is one JSON-LD file beside the tables that it describes. It says who made the dataset and under which licence,
names each table with its checksum, and explains every column, so that a tool such as mlcroissant can read them.
`cohort.croissant_record` has the content.
"""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

import leukobench
from leukobench.cohort.croissant_record import MANIFEST, TIES, Facts, file_of_split, record
from leukobench.cohort.identity import natural_order
from leukobench.cohort.manifest import manifest_checksum, read_manifest, shipped_manifest_path
from leukobench.cohort.partition import Split, read_split
from leukobench.cohort.ties import read_ties, ties_path
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, refuse_existing, sha256_of, whole_file, write_json

RECOMMENDED = ("citation", "version")  # Croissant requires the other facts
CNMC = Facts(
    name="C-NMC 2019 with the subject groups of leukobench",
    license="https://creativecommons.org/licenses/by/3.0/",
    url="https://doi.org/10.7937/tcia.2019.dc64i46r",
    creators=("Anubha Gupta", "Ritu Gupta"),
    date_published="2019",
    citation=(
        "@misc{gupta2019cnmc, author = {Gupta, Anubha and Gupta, Ritu}, title = {{ALL} Challenge dataset of {ISBI} "
        "2019}, year = {2019}, publisher = {The Cancer Imaging Archive}, doi = {10.7937/tcia.2019.dc64i46r}}"
    ),
    version=leukobench.__version__,  # the tables come with leukobench
)


def croissant(
    manifest: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    split: str | os.PathLike[str] | None = None,
    name: str | None = None,
    license: str | None = None,
    url: str | None = None,
    creators: Sequence[str] = (),
    date_published: str | None = None,
    citation: str | None = None,
    version: str | None = None,
) -> dict[str, Any]:
    """Write the Croissant record of a cohort: a JSON-LD file from which other tools can read its tables.

    The record names its files relative to its own folder, so the manifest, the ties beside it and the split must lie
    in that folder or below. The shipped manifest and its ties are copied there. The same files give the same record.

    Args:
        manifest: The manifest; None for the shipped one of C-NMC 2019.
        out: The record (JSON); must not exist yet.
        split: A partition, or a folder of folds, of this manifest; None for a record without split.
        name: Name of the dataset. This and what follows is known if all images are official ones of C-NMC 2019.
        license: Licence, best as a URL.
        url: Web page of the dataset.
        creators: Names of the people who made the dataset.
        date_published: `2019`, `2019-05` or `2019-05-31`.
        citation: How to cite the dataset, best as BibTeX; recommended.
        version: Version of the dataset such as 1.0.0; recommended.

    Returns:
        The content of the record.

    Raises:
        InputError: a fact that Croissant requires is missing, the split is not one of this manifest, or a file lies
            outside the folder of the record.

    Example:
        >>> import leukobench as lb
        >>> record = lb.croissant(None, "cnmc/croissant.json")
        >>> [each["@id"] for each in record["recordSet"]]
        ['images', 'labels', 'ties']
        >>> record["license"]
        'https://creativecommons.org/licenses/by/3.0/'
    """
    out = Path(out)
    refuse_existing(out)
    table = shipped_manifest_path() if manifest is None else Path(manifest)
    cohort = read_manifest(table)
    tables = {MANIFEST: table}
    if ties_path(table).exists():
        tables[TIES] = ties_path(table)
        read_ties(tables[TIES])  # only to refuse a broken one
    given = Facts(
        name or "", license or "", url or "", tuple(creators), date_published or "", citation or "", version or ""
    )
    facts = _completed(given, cohort, str(out))
    described = None if split is None else read_split(split)
    files = dict(tables)
    if split is not None and described is not None:
        _refuse_another_manifest(described, cohort, str(split), str(table))
        files |= _split_files(described, Path(split))
    copies = {file: out.parent / file.name for file in tables.values()} if manifest is None else {}
    named = {each: (file, _relative(copies.get(file, file), out)) for each, file in files.items()}
    content = record(facts, named, cohort, described)
    with only_writer(out):
        for file, copy in copies.items():
            _copy(file, copy)
        write_json(content, out)
    return content


def _completed(given: Facts, cohort: pd.DataFrame, name: str) -> Facts:
    """Return the facts, those of C-NMC 2019 where they are missing and all images are official ones.

    Raises:
        InputError: a fact that Croissant requires is missing, or the date is malformed.
    """
    known = {each.name: getattr(given, each.name) for each in fields(Facts) if getattr(given, each.name)}
    official = cohort["sha256"].isin(read_manifest()["sha256"]).all()
    facts = replace(CNMC if official else Facts(), **known)
    missing = [each.name for each in fields(Facts) if not getattr(facts, each.name) and each.name not in RECOMMENDED]
    if missing:
        one = len(missing) == 1
        raise InputError(
            f"{name}: a Croissant record needs {', '.join(missing)} of the dataset, known only if all images are "
            f"official ones of C-NMC 2019; give {'it' if one else 'them'}"
        )
    if not any(_is_date(facts.date_published, pattern) for pattern in ("%Y", "%Y-%m", "%Y-%m-%d")):
        raise InputError(f"{name}: date_published={facts.date_published!r}; expected a date such as 2019 or 2019-05-31")
    return facts


def _is_date(text: str, pattern: str) -> bool:
    try:
        return datetime.datetime.strptime(text, pattern).strftime(pattern) == text
    except ValueError:
        return False


def _refuse_another_manifest(split: Split, cohort: pd.DataFrame, name: str, manifest: str) -> None:
    if split.manifest != manifest_checksum(cohort)[: len(split.manifest)]:
        raise InputError(f"{name}: was not made from {manifest}, or that has changed since; divide it again")


def _split_files(split: Split, path: Path) -> dict[str, Path]:
    """Return the file of each partition by its ID in the record."""
    if not path.is_dir():
        return {file_of_split(None): path}
    files = sorted(path.glob("fold_*.csv"), key=lambda file: natural_order(file.stem))
    return {file_of_split(fold): file for (fold, _), file in zip(split.by_fold(), files, strict=True)}


def _relative(file: Path, out: Path) -> str:
    """Return the path of a file relative to the folder of the record, with forward slashes.

    Raises:
        InputError: the file lies outside that folder.
    """
    file, folder = file.resolve(), out.parent.resolve()
    if not file.is_relative_to(folder):
        raise InputError(
            f"{out}: {file} lies outside its folder, so a published record would not find it; write the record to a "
            "folder that contains the manifest and the split"
        )
    return file.relative_to(folder).as_posix()


def _copy(file: Path, copy: Path) -> None:
    """Copy a shipped table, unless the same file is there."""
    if copy.exists() and sha256_of(copy) == sha256_of(file):
        return
    refuse_existing(copy)
    with whole_file(copy) as partial:
        shutil.copyfile(file, partial)
