"""Index a folder of images: a manifest from its paths, checksums and side tables, and the ties between its subjects."""

from __future__ import annotations

import base64
import contextlib
import csv
import logging
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from joblib import delayed

from leukobench.cells.cell import BACKGROUNDS
from leukobench.cells.fingerprints import SIDE, Fingerprint, read_fingerprint
from leukobench.cohort.class_names import ClassNames
from leukobench.cohort.identity import subject_groups
from leukobench.cohort.layout import image_files, phase_and_fold
from leukobench.cohort.manifest import (
    COLUMNS,
    NEGATIVE,
    POSITIVE,
    path_faults,
    read_manifest,
    shipped_manifest_path,
    write_manifest,
)
from leukobench.cohort.near_duplicates import near_duplicates
from leukobench.cohort.ties import (
    accepted,
    add_ties,
    find_ties,
    read_rejected,
    read_ties,
    refuse_ties_between_labels,
    reject,
    ties_path,
    write_ties,
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
from leukobench.core.opening import Place, of_surroundings
from leukobench.core.processes import in_processes
from leukobench.core.progress import ProgressBar
from leukobench.core.text import listed

LOG = logging.getLogger(__name__)

# UID_<subject>_<image>_<cell>_<label>, the dataset's own names: UID_H24_17_9_hem.bmp
_CNMC_NAME = re.compile(r"UID_(?P<subject>H?\d+)_\d+_\d+_(?P<label>all|hem)\.\w+", re.IGNORECASE)
_PRELIM_LABELS = "*prelim*labels*.csv"


@dataclass(frozen=True)
class Sources:
    """Sources of the label and the subject of images whose name does not contain them.

    Attributes:
        classes: Names of the class folders, which are compared in lower case.
        subject_regex: Pattern searched in the relative path; its first group (or the whole match) is the subject.
        subjects: Subject of each image, by relative path or by file name.
    """

    classes: ClassNames
    subject_regex: str | None = None
    subjects: Mapping[str, str] | None = None


@dataclass(frozen=True)
class _File:
    """What was read from a file: its checksum, and its fingerprint if asked for; or why it cannot be read."""

    sha256: str
    fingerprint: Fingerprint | None
    unreadable: str = ""


def index_folder(
    images: str | os.PathLike[str],
    *,
    positive: str = POSITIVE,
    negative: str = NEGATIVE,
    subject_regex: str | None = None,
    subjects: str | os.PathLike[str] | None = None,
    near: bool = True,
    background: str = BACKGROUNDS[0],
    rejected: str | os.PathLike[str] | None = None,
    ignored: Sequence[str] = (),
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

    Subjects that share an image become one subject group: an identical image, the same pixels, or two photographs of
    one cell. Where the folder contains official images, so do subjects that share one anywhere in C-NMC 2019 as far as
    the shipped ties say, even if the folder lacks that image. The evidence is the table of ties, see `cohort.ties`.

    Args:
        images: The folder; its subfolders are searched too.
        positive: Name of the folder of blasts, in upper or lower case.
        negative: Name of the folder of normal cells, in upper or lower case.
        subject_regex: Pattern searched in the relative path; its first group (or the whole match) is the subject.
        subjects: Table (CSV) with the columns `path` (relative, or the file's name) and `subject`.
        near: Whether to decode the images and to search for near-duplicates, too.
        background: What surrounds the cell, one of `BACKGROUNDS`, see `read_cell`; for the search.
        rejected: Table (CSV) of pairs, `path` and `other`, which were looked at and do not show one cell. With the
            column `accepted` as in a table of ties, only its rows that say `no` count.
        ignored: Folders in `images` to leave out, by their relative path, or by their name at any depth.
        out: Manifest file to write; None: no file. The ties are written beside it, `NAME.ties.csv`. During the call,
            checksums and fingerprints are saved in `NAME.csv.partial`.
        resume: Whether to continue an interrupted call with the same `out`, if there is one.
        jobs: Number of parallel processes.

    Returns:
        The manifest, sorted by path; its columns are those of `cohort.manifest`. Subject IDs are in upper case.
        `attrs["failures"]` has the reason of each image that was indexed but not compared: it cannot be decoded, or
        shows no cell on this background. `attrs["unreadable"]` has the reason of each entry that has no row: a folder,
        a pipe, a device or a broken link with the name of an image, or a file that may not be read.

    Raises:
        InputError: no image in the folder, or none that can be read, no folder to ignore, images whose label or subject
            is unknown, a malformed pattern or table, a tie between a blast and a normal cell, or `out` or the table of
            ties exists.
        UnfinishedError: an interrupted call left checksums, and `resume` is false.

    Example:
        >>> import leukobench as lb
        >>> truth = lb.generate_cohort("images", subjects=4, cells_per_subject=2)
        >>> manifest = lb.index_folder("images")
        >>> manifest.groupby("label")["subject"].nunique().to_dict()
        {'all': 2, 'hem': 2}
    """
    images = Path(images)
    sources = Sources(
        ClassNames(positive, negative),
        subject_regex,
        None if subjects is None else read_subjects(subjects),
    )
    _check_pattern(subject_regex)
    apart = None if rejected is None else read_rejected(rejected)
    files = image_files(images, ignored)
    for wrong, reason in path_faults(pd.Series(files, dtype=object)):
        if wrong.any():
            raise InputError(f"{images}: {files[int(wrong.argmax())]!r} {reason}; rename the file")
    looked = background if near else None
    if out is None:
        return _index(images, sources, _read_files(images, files, None, looked, jobs), apart, jobs)[0]
    out = Path(out)
    refuse_existing(out)
    journal = unfinished_path(out)
    with only_writer(out):
        refuse_unfinished(out, resume=resume)
        if not journal.exists():  # an interrupted call may have written the ties
            refuse_existing(ties_path(out))
        read = _read_files(images, files, journal, looked, jobs)
        manifest, ties = _index(images, sources, read, apart, jobs)
        write_ties(ties, ties_path(out))
        write_manifest(manifest, out)
        journal.unlink(missing_ok=True)
    return manifest


def _index(
    images: Path, sources: Sources, read: dict[str, _File], rejected: pd.DataFrame | None, jobs: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the manifest of the files that were read, and the ties of its subjects."""
    unreadable = {path: f"{images / path}: {file.unreadable}" for path, file in read.items() if file.unreadable}
    read = {path: file for path, file in read.items() if not file.unreadable}
    if not read:
        raise InputError(
            f"{images}: none of {len(unreadable)} images can be read; the first: {min(unreadable.values())}"
        )
    official = read_manifest(shipped_manifest_path())
    manifest = _rows(images, sources, read, official)
    ties = _ties(manifest, [file.fingerprint for file in read.values()], jobs)
    if manifest["sha256"].isin(official["sha256"]).any():
        ties = _with_shipped_ties(ties, manifest, official)
    if rejected is not None:
        ties = reject(ties, rejected)
    refuse_ties_between_labels(ties, dict(zip(manifest["path"], manifest["label"], strict=True)), str(images))
    groups = subject_groups(manifest["subject"], accepted(ties))
    manifest["subject_group"] = groups.astype(manifest["subject"].dtype)
    manifest = sources.classes.add_to(manifest[list(COLUMNS)])
    problems = {path: file.fingerprint.problem for path, file in read.items() if file.fingerprint is not None}
    manifest.attrs["failures"] = {path: problem for path, problem in problems.items() if problem}
    manifest.attrs["unreadable"] = unreadable
    return manifest, ties


def _rows(images: Path, sources: Sources, read: dict[str, _File], official: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest without its subject groups."""
    known = official.drop_duplicates("sha256").set_index("sha256")
    originals, above = _prelim_names(images), "/".join(images.resolve().parts[-2:])
    rows: list[dict[str, Any]] = []
    for path, file in read.items():
        row: dict[str, Any] = _describe(path, above, originals, sources)
        if row["phase"] == "prelim" and not row["label"] and file.sha256 in known.index:
            row |= known.loc[file.sha256, ["label", "subject", "original_name"]].to_dict()
        rows.append(row | {"sha256": file.sha256, "size_bytes": (images / path).stat().st_size})
    _refuse_unknown(rows, images)
    return pd.DataFrame(rows)


def _ties(manifest: pd.DataFrame, fingerprints: list[Fingerprint | None], jobs: int) -> pd.DataFrame:
    """Find the ties of a folder; without fingerprints, from identical files only."""
    if None in fingerprints:
        return find_ties(manifest)
    read = pd.Series(fingerprints, index=manifest.index)
    content = read.map(lambda one: one.pixels)
    content = content.where(content != "", manifest["sha256"])
    known = manifest["subject"] != ""  # a pair with an unknown subject ties nothing
    compared = known & ~content.where(known).duplicated() & read.map(lambda one: one.texture is not None)
    if compared.sum() < 2:
        return find_ties(manifest, content)
    rows, textures = manifest[compared], np.stack([one.texture for one in read[compared]])
    near = near_duplicates(textures, rows["path"], rows["subject"], rows["label"], jobs=jobs)
    return find_ties(manifest, content, near.pairs)


def _with_shipped_ties(ties: pd.DataFrame, manifest: pd.DataFrame, official: pd.DataFrame) -> pd.DataFrame:
    """Add the ties of C-NMC 2019 that join subjects of the folder, perhaps through an image or a subject it lacks.

    An image that the folder lacks has its path in the shipped manifest.
    """
    shipped = read_ties()
    ids = pd.Series(pd.unique(np.concatenate([shipped["subject"], shipped["other_subject"]])))
    group = subject_groups(ids, accepted(shipped))
    joined = ids.isin(manifest["subject"]).groupby(group).transform("sum") > 1
    shipped = shipped[shipped["subject"].isin(ids[joined])]
    # identical images have one checksum, so a file is known by its checksum and its subject
    keys, own = (
        dict(zip(table["path"], zip(table["sha256"], table["subject"], strict=True), strict=True))
        for table in (official, manifest)
    )
    here = {key: path for path, key in own.items()}
    for column in ("path", "other"):
        shipped = shipped.assign(**{column: [here.get(keys.get(path), path) for path in shipped[column]]})
    return add_ties(ties, shipped, keys | own)


def _read_files(
    images: Path, files: list[str], journal: Path | None, background: str | None, jobs: int
) -> dict[str, _File]:
    """Read files in parallel, with their fingerprints if the background is given.

    What was read of unchanged files comes from the journal, a CSV file without header: path, stamp, checksum, and with
    fingerprints background, checksum of the pixels, packed texture and problem.
    """
    place = Place(images)
    stamps = {path: _stamp(images / path) for path in files}
    done = dict(_read_journal(journal, stamps, background)) if journal is not None else {}
    todo = [path for path in files if path not in done]
    reading = in_processes((delayed(_read_file)(images / path, background) for path in todo), jobs, batch_size=16)
    progress = ProgressBar(LOG, reading, total=len(files), initial=len(done), desc="reading", unit="image")
    if journal is None:
        done |= zip(todo, progress, strict=True)
    else:
        journal.parent.mkdir(parents=True, exist_ok=True)
        with open(journal, "a", newline="", encoding="utf-8", buffering=1) as lines:
            writer = csv.writer(lines, lineterminator="\n")
            for path, file in zip(todo, progress, strict=True):
                done[path] = file
                if not file.unreadable:
                    writer.writerow([path, stamps[path], *_as_text(file, background)])
    if any(file.unreadable for file in done.values()):
        place.check()
    return {path: done[path] for path in files}


def _stamp(file: Path) -> str:
    """Return size and modification time of a file, which change if the file changes; "" without a file."""
    try:
        status = file.stat()
    except OSError:  # for example behind a broken link
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def _read_file(file: Path, background: str | None) -> _File:
    try:
        sha256 = sha256_of(file)
    except OSError as error:
        if of_surroundings(error):
            raise
        return _File("", None, f"cannot be read ({error.strerror})")
    return _File(sha256, None if background is None else read_fingerprint(file, near=True, background=background))


def _as_text(file: _File, background: str | None) -> list[str]:
    """Return what was read of a file as fields of the journal."""
    if background is None or file.fingerprint is None:
        return [file.sha256]
    texture = file.fingerprint.texture
    packed = "" if texture is None else base64.b64encode(zlib.compress(texture.tobytes(), 1)).decode()
    return [file.sha256, background, file.fingerprint.pixels, packed, file.fingerprint.problem]


def _read_journal(journal: Path, stamps: Mapping[str, str], background: str | None) -> Iterator[tuple[str, _File]]:
    if not journal.is_file():
        return
    # the end may be anything after a power cut, such as zeros that make no line
    with open(journal, newline="", encoding="utf-8", errors="replace") as lines, contextlib.suppress(csv.Error):
        for row in csv.reader(lines):
            # the last line may be incomplete
            if len(row) < 3 or stamps.get(row[0]) != row[1] or not re.fullmatch("[0-9a-f]{64}", row[2]):
                continue
            if background is None:
                yield row[0], _File(row[2], None)
            elif len(row) == 7 and row[3] == background:
                with contextlib.suppress(ValueError, zlib.error):
                    yield row[0], _File(row[2], Fingerprint(row[4], _unpacked(row[5]), row[6]))


def _unpacked(texture: str) -> np.ndarray | None:
    if not texture:
        return None
    return np.frombuffer(zlib.decompress(base64.b64decode(texture)), np.int8).reshape(SIDE, SIDE)


def _check_pattern(subject_regex: str | None) -> None:
    try:
        re.compile(subject_regex or "")
    except re.error as error:
        raise InputError(f"subject_regex {subject_regex!r}: is no regular expression ({error}); fix it") from None


def read_subjects(table: str | os.PathLike[str]) -> dict[str, str]:
    """Read the subjects of a table (CSV: `path` or file name, `subject`), by path.

    Raises:
        InputError: the table cannot be read, lacks a column, or gives an image two subjects.
    """
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
        label = next(filter(None, map(sources.classes.label_of, folders)), "")
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


def _refuse_unknown(rows: list[dict[str, Any]], images: Path) -> None:
    """Raise one InputError for all images outside the final test that have no label or no subject."""
    remedies = {
        "label": "put each class in a folder of its own, and name both folders (positive, negative)",
        "subject": "give a pattern of the subject in the path (subject_regex), or a table (subjects)",
    }
    wrong, todo = [], []
    for column, remedy in remedies.items():
        unknown = [row["path"] for row in rows if row["phase"] != "final" and not row[column]]
        if unknown:
            wrong.append(f"{len(unknown)} of {len(rows)} images have no {column} (first: {unknown[0]})")
            todo.append(remedy)
    if wrong:
        folders = sorted({row["path"].split("/")[0] for row in rows if "/" in row["path"]})
        seen = f"; the folders in it: {listed(folders)}" if folders else ""
        raise InputError(f"{images}: {' and '.join(wrong)}; {'; '.join(todo)}; or ignore their folder (ignored){seen}")
