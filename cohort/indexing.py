"""A folder of images -> its manifest: what paths, checksums and side tables tell of each image."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from leukobench.cohort.identity import subject_groups
from leukobench.cohort.layout import image_files, phase_and_fold
from leukobench.cohort.manifest import COLUMNS, NEGATIVE, POSITIVE, read_manifest, shipped_manifest_path
from leukobench.core.errors import InputError
from leukobench.core.files import read_csv_columns, sha256_of

# UID_<subject>_<image>_<cell>_<label>, the dataset's own names: UID_H24_17_9_hem.bmp
_CNMC_NAME = re.compile(r"UID_(?P<subject>H?\d+)_\d+_\d+_(?P<label>all|hem)\.\w+", re.IGNORECASE)
_PRELIM_LABELS = "*prelim*labels*.csv"


@dataclass(frozen=True)
class Sources:
    """Where an image's label and subject come from, where its own name does not tell.

    Attributes:
        class_folders: Label of each class folder, by its lower-case name.
        subject_regex: Pattern searched in the relative path; its first group (or the whole match) is the subject.
        subjects: Subject of each image, by relative path or by file name.
    """

    class_folders: Mapping[str, str]
    subject_regex: str | None = None
    subjects: Mapping[str, str] | None = None


def scan_folder(
    images: Path,
    *,
    positive: str = POSITIVE,
    negative: str = NEGATIVE,
    subject_regex: str | None = None,
    subjects_csv: Path | None = None,
    journal: Path | None = None,
    jobs: int = 1,
) -> pd.DataFrame:
    """Index a folder of images as a manifest.

    The official files of C-NMC 2019 are known by their names (`UID_H24_17_9_hem.bmp`), in the layout of the Cancer
    Imaging Archive or of Kaggle, whole or in part; the numbered files of the preliminary test by the dataset's labels
    CSV or, where that is missing, by their checksums in the shipped manifest. Files of the final test have neither
    label nor subject. In any other folder the label comes from the nearest class folder, and the subject from a table
    or a pattern.

    Subjects that share an identical image become one subject group; where the folder holds official images, so do
    subjects that share one anywhere in C-NMC 2019, even if the folder lacks that image.

    Args:
        images: The folder; searched with its subfolders.
        positive: Name of the folder that holds blasts, in any case.
        negative: Name of the folder that holds normal cells, in any case.
        subject_regex: Pattern searched in the relative path; its first group (or the whole match) is the subject.
        subjects_csv: Table with the columns `path` (relative, or the file's name) and `subject`.
        journal: File that keeps the checksums while they are computed, so that an interrupted scan goes on where it
            was; removed at the end.
        jobs: Processes that hash files.

    Returns:
        The manifest, sorted by path. Subject IDs are in upper case.

    Raises:
        InputError: no image below the folder, images whose label or subject cannot be told, or a bad pattern or table.
    """
    sources = Sources({positive.lower(): POSITIVE, negative.lower(): NEGATIVE}, subject_regex, _subjects(subjects_csv))
    _check_pattern(subject_regex)
    files = image_files(images)
    official = read_manifest(shipped_manifest_path())
    sha256 = _checksums(images, files, journal, jobs)
    known = official.drop_duplicates("sha256").set_index("sha256")
    originals, above = _prelim_names(images), "/".join(images.resolve().parts[-2:])
    rows = []
    for path, digest in zip(files, sha256, strict=True):
        row = _describe(path, above, originals, sources)
        if row["phase"] == "prelim" and not row["label"] and digest in known.index:
            row |= known.loc[digest, ["label", "subject", "original_name"]].to_dict()
        rows.append(row)
    _refuse_unknown(rows, images)
    manifest = pd.DataFrame(rows).assign(sha256=sha256, size_bytes=[(images / path).stat().st_size for path in files])
    manifest["subject_group"] = _groups(manifest, official)
    if journal is not None:
        journal.unlink(missing_ok=True)
    return manifest[list(COLUMNS)]


def _checksums(images: Path, files: list[str], journal: Path | None, jobs: int) -> list[str]:
    """Hash files in parallel, taking from the journal what it holds of files that have not changed since."""
    stamps = {path: _stamp(images / path) for path in files}
    done = dict(_read_journal(journal, stamps)) if journal is not None else {}
    todo = [path for path in files if path not in done]
    hashing = Parallel(n_jobs=jobs, return_as="generator", batch_size=32)(
        delayed(_sha256_or_reason)(images / path) for path in todo
    )
    progress = tqdm(hashing, total=len(files), initial=len(done), desc="hashing", unit="image", disable=None)
    if journal is None:
        done |= zip(todo, progress, strict=True)
    else:
        journal.parent.mkdir(parents=True, exist_ok=True)
        with open(journal, "a", newline="", encoding="utf-8", buffering=1) as file:
            writer = csv.writer(file, lineterminator="\n")
            for path, digest in zip(todo, progress, strict=True):
                done[path] = digest
                writer.writerow([path, stamps[path], digest])
    for path in files:
        if len(done[path]) != 64:
            raise InputError(f"{images / path}: cannot be read ({done[path]}); mend or remove it")
    return [done[path] for path in files]


def _stamp(file: Path) -> str:
    """Size and time of a file: whether it is the one that was hashed."""
    status = file.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


def _sha256_or_reason(file: Path) -> str:
    try:
        return sha256_of(file)
    except OSError as error:
        return str(error.strerror)


def _read_journal(journal: Path, stamps: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if not journal.is_file():
        return
    with open(journal, newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.reader(file):
            # the last line may have been cut off
            if len(row) == 3 and stamps.get(row[0]) == row[1] and re.fullmatch("[0-9a-f]{64}", row[2]):
                yield row[0], row[2]


def _check_pattern(subject_regex: str | None) -> None:
    try:
        re.compile(subject_regex or "")
    except re.error as error:
        raise InputError(f"--subject-regex {subject_regex!r}: is no regular expression ({error}); mend it") from None


def _subjects(table: Path | None) -> dict[str, str] | None:
    """Read the subjects of a table, by path."""
    if table is None:
        return None
    rows = read_csv_columns(table, ("path", "subject"), "table of subjects")
    ambiguous = rows["path"][rows.groupby("path")["subject"].transform("nunique") > 1]
    if len(ambiguous):
        raise InputError(f"{table}: gives {ambiguous.iloc[0]!r} two subjects; mend it")
    return dict(zip(rows["path"], rows["subject"], strict=True))


def _prelim_names(images: Path) -> dict[str, str]:
    """Map the numbered files of the preliminary test to their original names, from the dataset's labels CSV."""
    names: dict[str, str] = {}
    for table in sorted({*images.rglob(_PRELIM_LABELS), *images.resolve().parent.glob(_PRELIM_LABELS)}):
        rows = read_csv_columns(table, ("Patient_ID", "new_names"), "labels file of the preliminary test")
        names.update(zip(rows["new_names"], rows["Patient_ID"], strict=True))
    return names


def _describe(path: str, above: str, prelim_names: Mapping[str, str], sources: Sources) -> dict[str, str]:
    """Return what a file's path tells of it, in the manifest's columns.

    The names of the scanned folder itself and of its parent, `above`, may tell the official fold or phase, but never
    the class: a folder named after the disease would make every image of it a blast.
    """
    name = PurePosixPath(path).name
    folders = PurePosixPath(path).parts[-2::-1]  # the nearest first
    phase, fold = phase_and_fold(f"{above}/{path}")
    phase = phase or "train"
    original = prelim_names.get(name, name) if phase == "prelim" else name
    official = _CNMC_NAME.fullmatch(original)
    if phase == "final":
        label, subject = "", ""
    elif official:
        label, subject = official["label"].lower(), official["subject"]
    else:
        label = next((sources.class_folders[f.lower()] for f in folders if f.lower() in sources.class_folders), "")
        subject = _own_subject(path, name, sources)
    return {
        "path": path,
        "label": label,
        "subject": subject.strip().upper(),
        "phase": phase,
        "fold": fold,
        "original_name": original if official else "",
    }


def _own_subject(path: str, name: str, sources: Sources) -> str:
    if sources.subjects is not None:
        return sources.subjects.get(path, sources.subjects.get(name, ""))
    found = re.search(sources.subject_regex, path) if sources.subject_regex else None
    return ((found[1] if found.re.groups else found[0]) or "") if found else ""


def _refuse_unknown(rows: list[dict[str, str]], images: Path) -> None:
    """Raise InputError where images outside the final test have no label or no subject."""
    remedies = {
        "label": "put each class in a folder of its own, named all and hem or as --positive and --negative say",
        "subject": "give --subject-regex, a pattern that finds the subject in the path, or --subjects, a table",
    }
    for column, remedy in remedies.items():
        unknown = [row["path"] for row in rows if row["phase"] != "final" and not row[column]]
        if unknown:
            raise InputError(
                f"{images}: {len(unknown)} of {len(rows)} images have no {column} (first: {unknown[0]}); {remedy}"
            )


def _groups(manifest: pd.DataFrame, official: pd.DataFrame) -> pd.Series:
    """Join subjects that share an image in the folder or, where it holds official images, anywhere in C-NMC 2019."""
    columns = ["subject", "sha256"]
    rows = manifest[columns]
    if manifest["sha256"].isin(official["sha256"]).any():
        rows = pd.concat([rows, official[columns]], ignore_index=True)
    groups = subject_groups(rows["subject"], rows["sha256"]).iloc[: len(manifest)]
    return _present_only(groups, manifest["subject"])


def _present_only(groups: pd.Series, subject: pd.Series) -> pd.Series:
    """Name each group by those of its subjects that the folder holds."""
    present = set(subject)
    names = {group: "=".join(member for member in group.split("=") if member in present) for group in groups.unique()}
    return groups.map(names).set_axis(subject.index)
