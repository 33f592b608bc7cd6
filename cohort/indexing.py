"""Index a folder of images as a manifest, from its paths, checksums and side tables."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

from leukobench.cohort.identity import subject_groups
from leukobench.cohort.layout import image_files, phase_and_fold
from leukobench.cohort.manifest import (
    COLUMNS,
    NEGATIVE,
    POSITIVE,
    read_manifest,
    shipped_manifest_path,
    write_manifest,
)
from leukobench.core.errors import InputError
from leukobench.core.files import (
    only_writer,
    read_csv_columns,
    refuse_existing,
    refuse_unfinished,
    sha256_of,
    unfinished_path,
)

# UID_<subject>_<image>_<cell>_<label>, the dataset's own names: UID_H24_17_9_hem.bmp
_CNMC_NAME = re.compile(r"UID_(?P<subject>H?\d+)_\d+_\d+_(?P<label>all|hem)\.\w+", re.IGNORECASE)
_PRELIM_LABELS = "*prelim*labels*.csv"


@dataclass(frozen=True)
class Sources:
    """Sources of the label and the subject of images whose name does not contain them.

    Attributes:
        class_folders: Label of each class folder, by its name in lower case.
        subject_regex: Pattern searched in the relative path; its first group (or the whole match) is the subject.
        subjects: Subject of each image, by relative path or by file name.
    """

    class_folders: Mapping[str, str]
    subject_regex: str | None = None
    subjects: Mapping[str, str] | None = None


def index_folder(
    images: str | os.PathLike[str],
    *,
    positive: str = POSITIVE,
    negative: str = NEGATIVE,
    subject_regex: str | None = None,
    subjects: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    jobs: int = 1,
) -> pd.DataFrame:
    """Index a folder of images as a manifest: path, label, subject and checksum of each image.

    The official files of C-NMC 2019 are recognised by their names (`UID_H24_17_9_hem.bmp`), in the layout of the Cancer
    Imaging Archive or of Kaggle, complete or in part; the numbered files of the preliminary test by the dataset's
    labels CSV or, where that is missing, by their checksums in the shipped manifest. Files of the final test have
    neither label nor subject. In any other folder the label comes from the nearest class folder, and the subject from
    a table or a pattern.

    Subjects that share an identical image become one subject group. Where the folder contains official images, so do
    subjects that share one anywhere in C-NMC 2019, even if the folder lacks that image.

    Args:
        images: The folder; its subfolders are searched too.
        positive: Name of the folder of blasts, in upper or lower case.
        negative: Name of the folder of normal cells, in upper or lower case.
        subject_regex: Pattern searched in the relative path; its first group (or the whole match) is the subject.
        subjects: Table (CSV) with the columns `path` (relative, or the file's name) and `subject`.
        out: Manifest file to write; None: no file. During the call, checksums are saved in `NAME.partial` next to it.
        resume: Whether to continue an interrupted call with the same `out`, if there is one.
        jobs: Number of parallel processes.

    Returns:
        The manifest, sorted by path; its columns are those of `cohort.manifest`. Subject IDs are in upper case.

    Raises:
        InputError: no image in the folder, images whose label or subject is unknown, a malformed pattern or table, or
            `out` exists.
        UnfinishedError: an interrupted call left checksums, and `resume` is false.

    Example:
        >>> import leukobench as lb
        >>> truth = lb.generate_cohort("images", subjects=4, cells_per_subject=2)
        >>> manifest = lb.index_folder("images")
        >>> manifest.groupby("label")["subject"].nunique().to_dict()
        {'all': 2, 'hem': 2}
    """
    images = Path(images)
    sources = Sources({positive.lower(): POSITIVE, negative.lower(): NEGATIVE}, subject_regex, _subjects(subjects))
    _check_pattern(subject_regex)
    files = image_files(images)
    if out is None:
        return _manifest_of(images, files, sources, _checksums(images, files, None, jobs))
    out = Path(out)
    refuse_existing(out)
    refuse_unfinished(out, resume=resume)
    journal = unfinished_path(out)
    with only_writer(out):
        manifest = _manifest_of(images, files, sources, _checksums(images, files, journal, jobs))
        write_manifest(manifest, out)
        journal.unlink(missing_ok=True)
    return manifest


def _manifest_of(images: Path, files: list[str], sources: Sources, sha256: list[str]) -> pd.DataFrame:
    official = read_manifest(shipped_manifest_path())
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
    return manifest[list(COLUMNS)]


def _checksums(images: Path, files: list[str], journal: Path | None, jobs: int) -> list[str]:
    """Hash files in parallel; checksums of unchanged files come from the journal."""
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
            raise InputError(f"{images / path}: cannot be read ({done[path]}); repair or remove it")
    return [done[path] for path in files]


def _stamp(file: Path) -> str:
    """Return size and modification time of a file, which change if the file changes."""
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
            # the last line may be incomplete
            if len(row) == 3 and stamps.get(row[0]) == row[1] and re.fullmatch("[0-9a-f]{64}", row[2]):
                yield row[0], row[2]


def _check_pattern(subject_regex: str | None) -> None:
    try:
        re.compile(subject_regex or "")
    except re.error as error:
        raise InputError(f"subject_regex {subject_regex!r}: is no regular expression ({error}); fix it") from None


def _subjects(table: str | os.PathLike[str] | None) -> dict[str, str] | None:
    """Read the subjects of a table, by path."""
    if table is None:
        return None
    rows = read_csv_columns(Path(table), ("path", "subject"), "table of subjects")
    ambiguous = rows["path"][rows.groupby("path")["subject"].transform("nunique") > 1]
    if len(ambiguous):
        raise InputError(f"{table}: assigns two subjects to {ambiguous.iloc[0]!r}; fix it")
    return dict(zip(rows["path"], rows["subject"], strict=True))


def _prelim_names(images: Path) -> dict[str, str]:
    """Map the numbered files of the preliminary test to their original names, from the dataset's labels CSV."""
    names: dict[str, str] = {}
    for table in sorted({*images.rglob(_PRELIM_LABELS), *images.resolve().parent.glob(_PRELIM_LABELS)}):
        rows = read_csv_columns(Path(table), ("Patient_ID", "new_names"), "labels file of the preliminary test")
        names.update(zip(rows["new_names"], rows["Patient_ID"], strict=True))
    return names


def _describe(path: str, above: str, prelim_names: Mapping[str, str], sources: Sources) -> dict[str, str]:
    """Return the manifest columns that follow from the path of a file.

    The names of the scanned folder and of its parent, `above`, can give the official fold or phase, but not the class:
    otherwise every image in a folder named after the disease would be labelled as a blast.
    """
    name = PurePosixPath(path).name
    folders = PurePosixPath(path).parts[-2::-1]  # nearest first
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
        "label": "put each class in a folder of its own, and name both folders (positive, negative)",
        "subject": "give a pattern of the subject in the path (subject_regex), or a table (subjects)",
    }
    for column, remedy in remedies.items():
        unknown = [row["path"] for row in rows if row["phase"] != "final" and not row[column]]
        if unknown:
            raise InputError(
                f"{images}: {len(unknown)} of {len(rows)} images have no {column} (first: {unknown[0]}); {remedy}"
            )


def _groups(manifest: pd.DataFrame, official: pd.DataFrame) -> pd.Series:
    """Join subjects that share an image in the folder or, if it has official images, anywhere in C-NMC 2019."""
    columns = ["subject", "sha256"]
    rows = manifest[columns]
    if manifest["sha256"].isin(official["sha256"]).any():
        rows = pd.concat([rows, official[columns]], ignore_index=True)
    groups = subject_groups(rows["subject"], rows["sha256"]).iloc[: len(manifest)]
    return _present_only(groups, manifest["subject"])


def _present_only(groups: pd.Series, subject: pd.Series) -> pd.Series:
    """Name each group by its subjects that are present in the folder."""
    present = set(subject)
    names = {group: "=".join(member for member in group.split("=") if member in present) for group in groups.unique()}
    return groups.map(names).set_axis(subject.index)
