"""The audit of a cohort before training: its manifest, its ties, its images, and a partition."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leukobench.cells.cell import BACKGROUNDS
from leukobench.cells.fingerprints import read_fingerprints
from leukobench.cohort.class_names import CNMC, ClassNames
from leukobench.cohort.identity import (
    Copies,
    copies,
    divided,
    natural_order,
    pairs_between,
    shared_between,
    tie_subjects,
)
from leukobench.cohort.layout import find_images
from leukobench.cohort.manifest import LABELS, PHASES
from leukobench.cohort.near_duplicates import NearDuplicates, near_duplicates
from leukobench.cohort.partition import PARTS, Partition
from leukobench.cohort.ties import accepted, add_ties, find_ties, reject
from leukobench.core.errors import InputError

UNKNOWN = "unknown"  # phase of images without a phase in the manifest


@dataclass(frozen=True)
class Groups:
    """The subject groups that ties imply, compared with those of the manifest.

    Attributes:
        subjects: Number of subject IDs.
        by_identical_images: Number of subject groups that identical images alone imply.
        groups: Number of subject groups that all accepted ties imply.
        joined: Groups of several subject IDs.
        apart: Groups of `joined` whose IDs are in different groups of the manifest: a split by these groups leaks.
        together: Groups of the manifest whose IDs are not tied: one person by other evidence, or a mistake.
        across: Groups in several phases, folds or labels.
    """

    subjects: int
    by_identical_images: int
    groups: int
    joined: list[str]
    apart: list[str]
    together: list[str]
    across: dict[str, list[str]]


@dataclass(frozen=True)
class Pixels:
    """Findings in the decoded images.

    Attributes:
        decoded: Number of images decoded.
        missing: Paths without a file.
        failed: Reason of each image that cannot be decoded, by path.
        copies: Images with the same pixels in files of different bytes.
        near_duplicates: Near-duplicates; None without a search.
        not_compared: Reason of each decoded image that the search left out, by path.
    """

    decoded: int
    missing: list[str]
    failed: dict[str, str]
    copies: Copies
    near_duplicates: NearDuplicates | None
    not_compared: dict[str, str]


@dataclass(frozen=True)
class Leaks:
    """What two parts of a partition share, by the names of the two parts (`train/test`).

    Attributes:
        method: Method of the partition, with its arguments.
        images: Images in each part.
        identical: Pairs of byte-identical images.
        same_pixels: Pairs with the same pixels in different files; None if the images were not read.
        near_duplicates: Near-duplicate pairs; None without a search.
        groups: Subject groups, joined by the manifest or by ties.
    """

    method: str
    images: dict[str, int]
    identical: dict[str, int]
    same_pixels: dict[str, int] | None
    near_duplicates: dict[str, int] | None
    groups: dict[str, list[str]]

    @property
    def any(self) -> bool:
        """Whether two parts share an image or a subject group; near-duplicates alone do not count."""
        pairs = [*self.identical.values(), *(self.same_pixels or {}).values()]
        return any(pairs) or any(self.groups.values())


@dataclass(frozen=True)
class Audit:
    """The findings of an audit.

    Attributes:
        images: Number of images in the manifest.
        parts: By phase: `images`, `all`, `hem`, `unlabelled`, `subjects` and `groups`.
        identical: Byte-identical images.
        groups: Subject groups.
        ties: The ties between subject IDs, see `leukobench.cohort.ties`.
        subjects: One row a subject: `subject`, `group`, and its number of `all`, `hem` and `unlabelled` cells.
        pixels: Findings in the images; None if they were not read.
        leaks: Leakage of the partition; None without a partition.
        classes: What the classes are called.
    """

    images: int
    parts: pd.DataFrame
    identical: Copies
    groups: Groups
    ties: pd.DataFrame
    subjects: pd.DataFrame
    pixels: Pixels | None
    leaks: Leaks | None
    classes: ClassNames = CNMC

    @property
    def with_one_cell(self) -> list[str]:
        """Subjects with a single cell."""
        return list(self.subjects["subject"][self.cells == 1])

    @property
    def with_both_labels(self) -> list[str]:
        """Subjects with cells of both labels."""
        return list(self.subjects["subject"][(self.subjects[list(LABELS)] > 0).all(axis=1)])

    @property
    def cells(self) -> pd.Series:
        """Number of cells of each subject."""
        return self.subjects[[*LABELS, "unlabelled"]].sum(axis=1)

    def as_json(self) -> dict[str, Any]:
        """Return all findings, for a JSON file."""
        pixels = None
        if self.pixels is not None:
            near_duplicates = self.pixels.near_duplicates
            pixels = {
                name: value for name, value in vars(self.pixels).items() if name not in ("copies", "near_duplicates")
            }
            pixels["same_pixels"] = asdict(self.pixels.copies)
            pixels["near_duplicates"] = near_duplicates and {
                **vars(near_duplicates),
                "pairs": near_duplicates.pairs.to_dict("records"),
            }
        return {
            "images": self.images,
            "parts": self.parts.rename_axis("phase").reset_index().to_dict("records"),
            "identical": asdict(self.identical),
            "groups": asdict(self.groups),
            "ties": self.ties.astype(object).where(self.ties.notna(), None).to_dict("records"),
            "subjects": self.subjects.to_dict("records"),
            "with_one_cell": self.with_one_cell,
            "with_both_labels": self.with_both_labels,
            "pixels": pixels,
            "leaks": None if self.leaks is None else {**asdict(self.leaks), "any": self.leaks.any},
        }


def audit(
    manifest: pd.DataFrame,
    *,
    ties: pd.DataFrame | None = None,
    images: str | os.PathLike[str] | None = None,
    near: bool = False,
    background: str = BACKGROUNDS[0],
    rejected: pd.DataFrame | None = None,
    partition: Partition | None = None,
    jobs: int = 1,
) -> Audit:
    """Audit a cohort, and its images if their folder is given.

    Args:
        manifest: The cohort, as `index_folder` or `read_manifest` returns it. Subject IDs are compared without case.
        ties: Known ties, as `read_ties` returns them; they are added to those that the audit finds itself.
        images: Folder of the images, whose pixels are compared too; None to audit the manifest only.
        near: Whether to search for near-duplicates; needs `images`.
        background: What surrounds the cell, see `read_cell`; for the search.
        rejected: Pairs (`path` and `other`) that were looked at and do not show one cell.
        partition: Partition whose leakage is counted, as `read_split` returns it.
        jobs: Number of parallel processes.

    Raises:
        InputError: `near` without `images`, a folder without images of the manifest, no cell that can be
            compared, or a partition of other images.

    Example:
        >>> import leukobench as lb
        >>> found = lb.audit(lb.read_manifest(), ties=lb.read_ties())
        >>> found.identical.pairs, found.groups.joined
        (106, ['1=15=16=17=20=21', '43=44', '51=55=75=78', 'H2=H4=H5=H6=H7', 'H3=H10', 'H14=H24'])
    """
    if near and images is None:
        raise InputError("the search for near-duplicates needs the images; give their folder (images) too")
    manifest = manifest.assign(subject=manifest["subject"].str.upper())
    part = None if partition is None else _part_of_each(manifest, partition)
    content, pixels = manifest["sha256"], None
    if images is not None:
        content, pixels = _compare_pixels(manifest, Path(images), near, background, jobs)
    found = _all_ties(manifest, None if images is None else content, pixels, ties, rejected)
    group, names = tie_subjects(manifest["subject"], ties=accepted(found))
    # over the whole manifest: an image outside the partition can show that two subject IDs are one person
    declared = tie_subjects(manifest["subject"], manifest["subject_group"], ties=accepted(found))
    return Audit(
        images=len(manifest),
        parts=_parts(manifest, group),
        identical=copies(manifest, manifest["sha256"]),
        groups=_groups(manifest, found, group, names),
        ties=found,
        subjects=_subjects(manifest, group, names),
        pixels=pixels,
        leaks=None if partition is None else _leaks(manifest, content, pixels, declared, part, partition.method),
        classes=ClassNames.of_table(manifest),
    )


def _all_ties(
    manifest: pd.DataFrame,
    content: pd.Series | None,
    pixels: Pixels | None,
    known: pd.DataFrame | None,
    rejected: pd.DataFrame | None,
) -> pd.DataFrame:
    """Return the ties that the audit finds and those known before, each pair once; what was rejected stays rejected."""
    near = pixels.near_duplicates if pixels is not None else None
    ties = find_ties(manifest, content, None if near is None else near.pairs)
    if known is not None:
        subjects = {column: known[column].str.upper() for column in ("subject", "other_subject")}
        ties = reject(ties, known[known["accepted"] == "no"])
        ties = add_ties(ties, known.assign(**subjects))
    return ties if rejected is None else reject(ties, rejected)


def _parts(manifest: pd.DataFrame, group: pd.Series) -> pd.DataFrame:
    """Count images, labels, subjects and groups by phase."""
    phase, label = manifest["phase"].replace("", UNKNOWN), manifest["label"].replace("", "unlabelled")
    table = pd.crosstab(phase, label).reindex(columns=[*LABELS, "unlabelled"], fill_value=0)
    table.insert(0, "images", table.sum(axis=1))
    known = group != ""
    for name, ids in (("subjects", manifest["subject"]), ("groups", group)):
        codes = pd.Series(pd.factorize(ids[known])[0], index=ids.index[known])
        table[name] = codes.groupby(phase[known]).nunique().reindex(table.index, fill_value=0)
    return table.loc[[name for name in (*PHASES, UNKNOWN) if name in table.index]]


def _groups(manifest: pd.DataFrame, ties: pd.DataFrame, group: pd.Series, names: dict[str, str]) -> Groups:
    subject, declared = manifest["subject"], manifest["subject_group"]
    identical = tie_subjects(subject, ties=accepted(ties[ties["kind"] == "identical"]))[1]

    def named(first: list[str]) -> list[str]:
        return [names[one] for one in first]

    return Groups(
        subjects=int(subject[subject != ""].nunique()),
        by_identical_images=len(identical),
        groups=len(names),
        joined=named(divided(group, by=subject)),
        apart=named(divided(group, by=declared)),
        together=divided(declared, by=group),
        across={name: named(divided(group, by=manifest[name])) for name in ("phase", "fold", "label")},
    )


def _subjects(manifest: pd.DataFrame, group: pd.Series, names: dict[str, str]) -> pd.DataFrame:
    """Count each subject's cells by label."""
    known = group != ""
    subject, label = manifest["subject"][known], manifest["label"][known].replace("", "unlabelled")
    counts = pd.crosstab(subject, label).reindex(columns=[*LABELS, "unlabelled"], fill_value=0)
    counts.insert(0, "group", group[known].groupby(subject).first().map(names))
    table = counts.rename_axis(index="subject", columns=None).reset_index()
    return table.sort_values("subject", key=lambda ids: ids.map(natural_order), ignore_index=True)


def _compare_pixels(
    manifest: pd.DataFrame, images: Path, near: bool, background: str, jobs: int
) -> tuple[pd.Series, Pixels]:
    """Return an identifier of the content of each image, and the findings in the pixels."""
    found = find_images(images, manifest["path"]).files
    files = {path: found[path] for path in manifest["path"] if path in found}
    read = read_fingerprints(files, near=near, background=background, jobs=jobs)
    checksum = manifest["path"].map(read.pixels).astype(object)
    # byte-identical files have the same pixels, even if one of them is missing or cannot be decoded
    content = checksum.groupby(manifest["sha256"]).transform("first").fillna(manifest["sha256"])
    pairs = None
    if near:
        group, names = tie_subjects(manifest["subject"], content, manifest["subject_group"])
        rows = manifest.assign(group=group.map({**names, "": ""}))[manifest["path"].isin(list(read.textures))]
        known_first = (rows["subject"] == "").sort_values(kind="stable").index  # so that a copy can tie its subject
        rows = rows[~content[known_first].duplicated().reindex(rows.index)]
        if rows.empty:
            first = next(iter({**read.failed, **read.not_compared}.values()))
            raise InputError(f"{images}: no cell can be compared (first: {first})")
        textures = np.stack([read.textures[path] for path in rows["path"]])
        pairs = near_duplicates(textures, rows["path"], rows["group"], rows["label"], jobs=jobs)
    return content, Pixels(
        decoded=len(read.pixels),
        missing=[path for path in manifest["path"] if path not in files],
        failed=read.failed,
        copies=copies(manifest, content, counted_already=manifest["sha256"]),
        near_duplicates=pairs,
        not_compared=read.not_compared,
    )


def _part_of_each(manifest: pd.DataFrame, partition: Partition) -> pd.Series:
    """Return the part of each image of the manifest; missing if the image is in no part."""
    path = partition.rows["path"]
    unknown = ~path.isin(manifest["path"])
    if unknown.any():
        raise InputError(
            f"the partition names {unknown.sum():,} of {len(unknown):,} images that are not in the manifest "
            f"(first: {path[unknown].iloc[0]}); audit the manifest that was split"
        )
    return manifest["path"].map(partition.rows.set_index("path")["part"])


def _leaks(
    manifest: pd.DataFrame,
    content: pd.Series,
    pixels: Pixels | None,
    groups: tuple[pd.Series, dict[str, str]],
    part: pd.Series,
    method: str,
) -> Leaks:
    group, group_names = groups
    inside = part.notna()
    part_of, names = part[inside], [name for name in PARTS if (part == name).any()]
    shared = shared_between(group[inside], part_of, names)
    identical = pairs_between(manifest["sha256"][inside], part_of, names)
    same = pairs_between(content[inside], part_of, names)
    near_duplicates = None
    if pixels is not None and pixels.near_duplicates is not None:
        part_by_path = dict(zip(manifest["path"], part, strict=True))
        pairs = pixels.near_duplicates.pairs[["path", "other"]].to_numpy()
        parts_of_pairs = [{part_by_path[a], part_by_path[b]} for a, b in pairs]
        near_duplicates = {pair: parts_of_pairs.count(set(pair)) for pair in identical}
    return Leaks(
        method=method,
        images={name: int((part_of == name).sum()) for name in names},
        identical=_by_parts(identical),
        same_pixels=None if pixels is None else _by_parts({pair: same[pair] - identical[pair] for pair in same}),
        near_duplicates=None if near_duplicates is None else _by_parts(near_duplicates),
        groups=_by_parts({pair: [group_names[first] for first in firsts] for pair, firsts in shared.items()}),
    )


def _by_parts(pairs: dict[tuple[str, str], Any]) -> dict[str, Any]:
    return {f"{a}/{b}": value for (a, b), value in pairs.items()}
