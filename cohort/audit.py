"""The audit of a cohort before training: its manifest, its images, and a partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from leukobench.cohort.identity import (
    Copies,
    copies,
    divided,
    natural_order,
    pairs_between,
    shared_between,
    tie_subjects,
)
from leukobench.cohort.manifest import LABELS, PHASES
from leukobench.cohort.near_duplicates import NearDuplicates, similar_pairs
from leukobench.cohort.partition import PARTS, Partition
from leukobench.core.errors import InputError

UNKNOWN = "unknown"  # phase of images without a phase in the manifest


@dataclass(frozen=True)
class Groups:
    """The subject groups that shared images imply, compared with those of the manifest.

    Attributes:
        subjects: Number of subject IDs.
        groups: Number of subject groups that shared images imply.
        joined: Groups of several subject IDs.
        apart: Groups of `joined` whose IDs are in different groups of the manifest: a split by these groups leaks.
        together: Groups of the manifest whose IDs share no image: one person by other evidence, or a mistake.
        across: Groups in several phases, folds or labels.
    """

    subjects: int
    groups: int
    joined: list[str]
    apart: list[str]
    together: list[str]
    across: dict[str, list[str]]


@dataclass(frozen=True)
class Decoded:
    """The images of a cohort after decoding, by path in the manifest.

    Attributes:
        checksums: Checksum of the decoded pixels.
        failed: Reason of each image that cannot be decoded.
        missing: Paths without a file.
        thumbnails: Thumbnail of each cell, for the search for near-duplicates; None: no search.
            [shape=(32, 32), float32]
    """

    checksums: Mapping[str, str]
    failed: Mapping[str, str]
    missing: Sequence[str]
    thumbnails: Mapping[str, np.ndarray] | None = None


@dataclass(frozen=True)
class Pixels:
    """Findings in the decoded images.

    Attributes:
        decoded: Number of images decoded.
        missing: Paths without a file.
        failed: Reason of each image that cannot be decoded, by path.
        copies: Images with the same pixels in files of different bytes.
        near_duplicates: Near-duplicates; None without a search.
    """

    decoded: int
    missing: list[str]
    failed: dict[str, str]
    copies: Copies
    near_duplicates: NearDuplicates | None


@dataclass(frozen=True)
class Leaks:
    """What two parts of a partition share, by the names of the two parts (`train/test`).

    Attributes:
        method: Method of the partition, with its arguments.
        images: Images in each part.
        identical: Pairs of byte-identical images.
        same_pixels: Pairs with the same pixels in different files; None if the images were not read.
        near_duplicates: Near-duplicate pairs, among the listed pairs; None without a search.
        groups: Subject groups, joined by the manifest or by shared images.
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
        subjects: One row a subject: `subject`, `group`, and its number of `all`, `hem` and `unlabelled` cells.
        pixels: Findings in the images; None if they were not read.
        leaks: Leakage of the partition; None without a partition.
    """

    images: int
    parts: pd.DataFrame
    identical: Copies
    groups: Groups
    subjects: pd.DataFrame
    pixels: Pixels | None
    leaks: Leaks | None

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
            "subjects": self.subjects.to_dict("records"),
            "with_one_cell": self.with_one_cell,
            "with_both_labels": self.with_both_labels,
            "pixels": pixels,
            "leaks": None if self.leaks is None else {**asdict(self.leaks), "any": self.leaks.any},
        }


def audit(manifest: pd.DataFrame, *, decoded: Decoded | None = None, partition: Partition | None = None) -> Audit:
    """Audit a cohort.

    Args:
        manifest: The cohort, as `leukobench.cohort.manifest` reads it. Subject IDs are compared without case.
        decoded: The decoded images, whose pixels are compared too; `leukobench.workflows.auditing` reads them.
        partition: Partition whose leakage is counted, as `leukobench.cohort.partition` reads it.

    Raises:
        InputError: no cell can be compared, or the partition contains images that the manifest lacks.
    """
    manifest = manifest.assign(subject=manifest["subject"].str.upper())
    part = None if partition is None else _part_of_each(manifest, partition)
    sha256, content, pixels = manifest["sha256"], manifest["sha256"], None
    if decoded is not None:
        content, pixels = _compare_pixels(manifest, decoded)
    group, names = tie_subjects(manifest["subject"], content)
    return Audit(
        images=len(manifest),
        parts=_parts(manifest, group),
        identical=copies(manifest, sha256),
        groups=_groups(manifest, group, names),
        subjects=_subjects(manifest, group, names),
        pixels=pixels,
        leaks=None if partition is None else _leaks(manifest, content, pixels, part, partition.method),
    )


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


def _groups(manifest: pd.DataFrame, group: pd.Series, names: dict[str, str]) -> Groups:
    subject, declared = manifest["subject"], manifest["subject_group"]

    def named(first: list[str]) -> list[str]:
        return [names[one] for one in first]

    return Groups(
        subjects=int(subject[subject != ""].nunique()),
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


def _compare_pixels(manifest: pd.DataFrame, decoded: Decoded) -> tuple[pd.Series, Pixels]:
    """Return an identifier of the content of each image, and the findings in the pixels."""
    checksum = manifest["path"].map(dict(decoded.checksums)).astype(object)
    # byte-identical files have the same pixels, even if one of them is missing or cannot be decoded
    content = checksum.groupby(manifest["sha256"]).transform("first").fillna(manifest["sha256"])
    near_duplicates = None
    if decoded.thumbnails is not None:
        group, names = tie_subjects(manifest["subject"], content, manifest["subject_group"])
        rows = manifest.assign(group=group.map({**names, "": ""}))[manifest["path"].isin(list(decoded.thumbnails))]
        rows = rows[~content[rows.index].duplicated()]
        if rows.empty:
            raise InputError("no cell can be compared: every image is black, flat or unreadable")
        thumbnails = np.stack([decoded.thumbnails[path] for path in rows["path"]])
        near_duplicates = similar_pairs(thumbnails, rows["path"], rows["group"], rows["label"])
    return content, Pixels(
        decoded=len(decoded.checksums),
        missing=list(decoded.missing),
        failed=dict(decoded.failed),
        copies=copies(manifest, content, counted_already=manifest["sha256"]),
        near_duplicates=near_duplicates,
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


def _leaks(manifest: pd.DataFrame, content: pd.Series, pixels: Pixels | None, part: pd.Series, method: str) -> Leaks:
    inside = part.notna()
    part_of, names = part[inside], [name for name in PARTS if (part == name).any()]
    # over the whole manifest: an image outside the partition can show that two subject IDs are one person
    group, group_names = tie_subjects(manifest["subject"], content, manifest["subject_group"])
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
