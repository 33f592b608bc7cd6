"""What a Croissant record of a cohort says: the JSON-LD that `cohort.croissant` writes.

| record set                          | one record is                                                        |
|-------------------------------------|----------------------------------------------------------------------|
| `images`                            | an image: the columns of the manifest                                |
| `ties`                              | a tie: a pair of images which show that two subject IDs are one person |
| `splits`; `splits_fold_0` and so on | an image and its part; of a cross-validation, one record set per fold |
| `labels`, `parts`                   | an allowed value of `label` and of `part`                            |

Format: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import pandas as pd

import leukobench
from leukobench.cohort.class_names import ClassNames
from leukobench.cohort.manifest import LABELS, NEGATIVE, POSITIVE, labelled
from leukobench.cohort.partition import PARTS, Split
from leukobench.core.files import sha256_of
from leukobench.core.text import counted

MANIFEST, TIES = "manifest-file", "ties-file"  # IDs of the tables in the record
CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")

# the terms of Croissant that the record or mlcroissant uses; the format prescribes to list them in each record
_CROISSANT_TERMS = (
    "arrayShape",
    "citeAs",
    "column",
    "containedIn",
    "equivalentProperty",
    "extract",
    "field",
    "fileObject",
    "fileProperty",
    "fileSet",
    "format",
    "includes",
    "isArray",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "sdVersion",
    "separator",
    "source",
    "subField",
    "transform",
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _CROISSANT_TERMS},
}
_ENCODING = {
    ".bmp": "image/bmp",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}
_LABEL_MEANS = {POSITIVE: "leukemic blast, the positive class", NEGATIVE: "normal cell"}
_PART_MEANS = {"train": "cr:TrainingSplit", "validation": "cr:ValidationSplit", "test": "cr:TestSplit"}
_PATH = "image file, relative to the image folder"
_IMAGE_FIELDS = {
    "path": ("sc:Text", _PATH),
    "label": (["sc:Text", "cr:Label"], "all (leukemic blast) or hem (normal cell); empty if unknown"),
    "subject": ("sc:Text", "subject ID; empty if unknown"),
    "subject_group": ("sc:Text", "subject IDs that are one person, joined by =; keep it whole in every split"),
    "phase": ("sc:Text", "official phase of C-NMC 2019 (train, prelim, final); empty for other images"),
    "fold": ("sc:Integer", "official fold of C-NMC 2019 (0 to 2); empty outside its training phase"),
    "sha256": ("sc:Text", "SHA-256 of the image file"),
    "size_bytes": ("sc:Integer", "size of the image file in bytes"),
}
_TIE_FIELDS = {
    "path": ("sc:Text", f"{_PATH}; empty where the pair was not recorded"),
    "other": ("sc:Text", "the image with which it is paired"),
    "kind": ("sc:Text", "identical (the same bytes), same pixels, or near-duplicate (two photographs of one cell)"),
    "similarity": ("sc:Float", "similarity of the two cells, at most 1; empty where the pair was not recorded"),
    "subject": ("sc:Text", "subject ID of path"),
    "other_subject": ("sc:Text", "subject ID of other"),
    "accepted": ("sc:Text", "yes: the two IDs are one subject group; no: the pair was looked at and rejected"),
}
_PART_FIELDS = {"path": ("sc:Text", _PATH), "part": ("sc:Text", "train, validation or test")}


@dataclass(frozen=True)
class Facts:
    """What cannot be read from the tables of a cohort.

    Attributes:
        name: Name of the dataset.
        license: Licence, best as a URL.
        url: Web page of the dataset.
        creators: Names of the people who made it.
        date_published: `2019`, `2019-05` or `2019-05-31`.
        citation: How to cite the dataset, best as BibTeX; "" if unknown.
        version: Version of the dataset; "" if unknown.
    """

    name: str = ""
    license: str = ""
    url: str = ""
    creators: tuple[str, ...] = ()
    date_published: str = ""
    citation: str = ""
    version: str = ""


def record(
    facts: Facts,
    files: Mapping[str, tuple[Path, str]],
    cohort: pd.DataFrame,
    split: Split | None,
) -> dict[str, Any]:
    """Return the record of a cohort.

    Args:
        facts: What the tables do not say.
        files: The tables by their ID in the record (`MANIFEST`, `TIES`, `file_of_split`): the file, and its path
            relative to the record.
        cohort: The manifest.
        split: The split; None if there is none.
    """
    sets = [_images(cohort), _enumeration("labels", {label: _LABEL_MEANS[label] for label in LABELS}, "description")]
    if TIES in files:
        about = "Pairs of images which show that two subject IDs are one person; path and other are those of images."
        sets.append(_record_set("ties", TIES, _TIE_FIELDS, about))
    if split is not None:
        sets.append(_enumeration("parts", {part: _PART_MEANS[part] for part in PARTS}, "url", "cr:Split"))
        sets += [_parts(fold) for fold, _ in split.by_fold()]
    recommended = {"citeAs": facts.citation, "version": facts.version}
    return {
        "@context": dict(_CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": facts.name,
        "description": _description(cohort, split),
        **{term: text for term, text in recommended.items() if text},
        "license": facts.license,
        "url": facts.url,
        "creator": [{"@type": "sc:Person", "name": creator} for creator in facts.creators],
        "datePublished": facts.date_published,
        "sdVersion": leukobench.__version__,
        "keywords": ["leukemia", "microscopy", "single cells", "data leakage"],
        "rai:dataBiases": _biases(cohort),
        "rai:dataLimitations": _limitations(cohort, split),
        "distribution": [*(_file(each, *files[each]) for each in files), _image_files(cohort, facts.url)],
        "recordSet": sets,
    }


def file_of_split(fold: int | None) -> str:
    """Return the ID of a partition's file: that of a fold, or that of a single partition (None)."""
    return "split-file" if fold is None else f"fold-{fold}-file"


def _images(cohort: pd.DataFrame) -> dict[str, Any]:
    # mlcroissant joins a column with the values it refers to, and cannot join a column that is empty
    references = {"label": "labels/name"} if (cohort["label"] != "").any() else {}
    return _record_set("images", MANIFEST, _IMAGE_FIELDS, "The images.", key="path", references=references)


def _parts(fold: int | None) -> dict[str, Any]:
    identifier = "splits" if fold is None else f"splits_fold_{fold}"
    about = f"The part of each image{'' if fold is None else f' in fold {fold} of the cross-validation'}."
    references = {"part": "parts/name"}
    return _record_set(identifier, file_of_split(fold), _PART_FIELDS, about, key="path", references=references)


def _file(identifier: str, file: Path, contained: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": identifier,
        "name": file.name,
        "contentUrl": contained,
        "contentSize": f"{file.stat().st_size} B",
        "encodingFormat": "text/csv",
        "sha256": sha256_of(file),
    }


def _image_files(cohort: pd.DataFrame, url: str) -> dict[str, Any]:
    """Return the images as a set of files: one pattern for each folder and file type."""
    paths = [PurePosixPath(path) for path in cohort["path"]]
    patterns = {(PurePosixPath(glob.escape(str(path.parent))) / f"*{path.suffix}").as_posix() for path in paths}
    encodings = {_ENCODING.get(path.suffix.lower(), "application/octet-stream") for path in paths}
    return {
        "@type": "cr:FileSet",
        "@id": "image-files",
        "name": "image-files",
        "description": f"The images, in the image folder. They do not come with this record; see {url}.",
        "encodingFormat": sorted(encodings),
        "includes": sorted(patterns),
    }


def _record_set(
    identifier: str,
    file: str,
    columns: Mapping[str, tuple[Any, str]],
    description: str,
    *,
    key: str | None = None,
    references: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return a record set whose fields are columns of a CSV file; some refer to a field of another record set."""
    content: dict[str, Any] = {
        "@type": "cr:RecordSet",
        "@id": identifier,
        "name": identifier,
        "description": description,
        "field": [],
    }
    if key:
        content["key"] = {"@id": f"{identifier}/{key}"}
    for column, (kind, means) in columns.items():
        field = {
            "@type": "cr:Field",
            "@id": f"{identifier}/{column}",
            "name": column,
            "description": means,
            "dataType": kind,
            "source": {"fileObject": {"@id": file}, "extract": {"column": column}},
        }
        if column in references:
            field["references"] = {"field": {"@id": references[column]}}
        content["field"].append(field)
    return content


def _enumeration(identifier: str, values: Mapping[str, str], second: str, *more_types: str) -> dict[str, Any]:
    """Return the allowed values of a column, each with its description or url."""
    names = {"name": "sc:Text", second: "sc:URL" if second == "url" else "sc:Text"}
    return {
        "@type": "cr:RecordSet",
        "@id": identifier,
        "name": identifier,
        "dataType": ["sc:Enumeration", *more_types],
        "key": {"@id": f"{identifier}/name"},
        "field": [
            {"@type": "cr:Field", "@id": f"{identifier}/{name}", "name": name, "dataType": of}
            for name, of in names.items()
        ],
        "data": [{f"{identifier}/name": value, f"{identifier}/{second}": means} for value, means in values.items()],
    }


def _description(cohort: pd.DataFrame, split: Split | None) -> str:
    counts = ", ".join(ClassNames.of_table(cohort).counts(cohort["label"]))
    unlabelled = (cohort["label"] == "").sum()
    known = cohort[cohort["subject"] != ""]
    text = (
        f"{counted(len(cohort), 'microscope image')} of single cells ({counts}"
        + f", {unlabelled:,} without label" * bool(unlabelled)
        + f") of {counted(known['subject'].nunique(), 'subject ID')} in "
        f"{counted(known['subject_group'].nunique(), 'subject group')}. Label {POSITIVE}: {_LABEL_MEANS[POSITIVE]}; "
        f"{NEGATIVE}: {_LABEL_MEANS[NEGATIVE]}. Subject IDs that share a cell are one subject group. The tables are by "
        f"leukobench {leukobench.__version__}."
    )
    return text + (f" Split: {split.method}." if split is not None else "")


def _biases(cohort: pd.DataFrame) -> list[str]:
    """Return what is known to bias a study of the cohort, counted in its manifest."""
    known, usable = cohort[cohort["subject"] != ""], labelled(cohort)
    ids, groups = known["subject"].nunique(), known["subject_group"].nunique()
    copies = int(cohort["sha256"].duplicated().sum())
    texts = [
        f"Subject IDs are not people: images show that {ids} IDs are at most {groups} people. Divide the images by "
        "subject_group, not by subject."
        if groups < ids
        else "Cells of one subject resemble each other. Divide the images by subject_group, not image by image."
    ]
    if copies:
        texts.append(f"Files that are copies of another file, byte by byte: {copies:,}.")
    if len(usable):
        counts = ", ".join(ClassNames.of_table(cohort).counts(usable["label"]))
        largest = usable["subject_group"].value_counts().max()
        texts.append(f"Labelled images: {counts}. The largest subject group has {largest:,} of them.")
    return texts


def _limitations(cohort: pd.DataFrame, split: Split | None) -> list[str]:
    """Return what the cohort cannot be used for."""
    unlabelled = int((cohort["label"] == "").sum())
    texts = [
        "For research only: not a medical device, not for diagnosis.",
        "Subject groups join only IDs whose images share a cell: IDs of one person without such images stay apart.",
    ]
    if unlabelled:
        texts.append(f"Images without label, which no split uses: {unlabelled:,}.")
    if split is not None and split.leaky:
        texts.append("Parts of the split share subjects: metrics on it do not apply to unseen subjects.")
    return texts
