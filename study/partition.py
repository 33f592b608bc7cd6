"""Partitions: which images are trained on, validated on, and tested on.

A partition is a CSV that stands by itself, so that training needs no other table of the cohort:

| column          | holds                                                                                  |
|-----------------|----------------------------------------------------------------------------------------|
| `path`          | the image, as in the manifest                                                          |
| `part`          | `train`, `validation` or `test`                                                        |
| `label`, `subject`, `subject_group` | as in the manifest                                                 |
| `method`        | how it was split, with its arguments: `subject test=0.2 validation=0.0 seed=1`;        |
|                 | a split by image begins with `image-LEAKY`                                             |
| `manifest`      | the first 16 digits of the SHA-256 of the manifest that it was made from               |

Nothing here draws from a random generator: images and subject groups are ordered by the SHA-256 of the seed and
their name, so that the same arguments give the same file on every machine and with every library version.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd

from study.errors import StudyError
from study.files import read_csv_columns, sha256_of, write_csv
from study.manifest import LABELS, NEGATIVE, POSITIVE, labelled

PARTS = ("train", "validation", "test")
COLUMNS = ("path", "part", "label", "subject", "subject_group", "method", "manifest")
METHODS = ("subject", "official", "image")
LEAKY_METHOD = "image-LEAKY"


def split(
    manifest: pd.DataFrame,
    method: str = "subject",
    *,
    test_size: float = 0.2,
    validation_size: float = 0.0,
    seed: int = 0,
) -> pd.DataFrame:
    """Divide the labelled images of a manifest into training, validation and test.

    Args:
        manifest: The cohort, as `study.manifest` reads it.
        method: `subject` keeps each subject group in one part; `official` tests on the preliminary phase and trains
            on the training phase (`test_size` is not used); `image` deals out single images, as the four
            reproduced studies did, and so puts the same person on both sides.
        test_size: Share of each class's images to test on, in [0, 1); subject groups are not cut, so it is met to
            within half of the largest group.
        validation_size: Share of the images to validate on, carved from the rest in the same way.
        seed: Which of the many such splits.

    Returns:
        `path`, `part`, `label`, `subject`, `subject_group` and `method`, in manifest order.

    Raises:
        StudyError: a part would lack a class.
    """
    rows = labelled(manifest)
    unit = rows["path"] if method == "image" else rows["subject_group"]
    sizes = rows["label"].value_counts().reindex(LABELS, fill_value=0)
    if method == "official":
        test = rows["phase"] == "prelim"
        _refuse_shared_groups(rows["subject_group"], test)
    else:
        test = _draw(unit, rows["label"], sizes * test_size, f"test/{seed}")
    rest = ~test
    validation = _draw(unit[rest], rows["label"][rest], sizes * validation_size, f"validation/{seed}")
    part = pd.Series("train", index=rows.index).mask(test, "test")
    part[validation[validation].index] = "validation"
    expected = PARTS if validation_size else ("train", "test")
    _refuse_missing_class(rows["label"], part, rows["subject_group"], expected)
    drawn = "" if method == "official" else f" test={test_size}"
    name = LEAKY_METHOD if method == "image" else method
    return rows[["path", "label", "subject", "subject_group"]].assign(
        part=part, method=f"{name}{drawn} validation={validation_size} seed={seed}"
    )


def write_partition(partition: pd.DataFrame, manifest_path: Path, path: Path) -> None:
    """Write a partition of the manifest in `manifest_path`, whole or not at all."""
    table = partition.assign(manifest=sha256_of(manifest_path)[:16])
    write_csv(table[list(COLUMNS)], path)


def read_partition(path: Path) -> pd.DataFrame:
    """Read and validate a partition.

    Raises:
        StudyError: not a partition, an unknown part or label, or a path that stands twice.
    """
    partition = read_csv_columns(path, COLUMNS, "partition")
    for column, allowed in (("part", PARTS), ("label", LABELS)):
        wrong = ~partition[column].isin(allowed)
        if wrong.any():
            row = partition[wrong].iloc[0]
            raise StudyError(
                f"{path}: {row['path']!r} has the {column} {row[column]!r}; "
                f"expected one of {', '.join(allowed)}; make it again with `leukobench split`"
            )
    if partition["path"].duplicated().any():
        twice = partition["path"][partition["path"].duplicated()].iloc[0]
        raise StudyError(f"{path}: {twice!r} stands twice; make it again with `leukobench split`")
    return partition


def is_leaky(method: str) -> bool:
    """Tell whether a partition's `method` splits by image."""
    return method.startswith(LEAKY_METHOD)


def shared_groups(partition: pd.DataFrame) -> list[str]:
    """Return the subject groups that stand in more than one part, sorted."""
    parts = partition.groupby("subject_group")["part"].nunique()
    return sorted(parts.index[parts > 1])


def _order(name: str, seed: str) -> bytes:
    return hashlib.sha256(f"{seed}/{name}".encode()).digest()


def _draw(unit: pd.Series, label: pd.Series, targets: pd.Series, seed: str) -> pd.Series:
    """Draw whole units, class by class, until they hold about as many images as `targets` says for that class.

    A unit counts for the class that most of its images have. Within a class the units come in the order of their
    hash, and one is taken where that brings the number of images nearer to the target; at least one is left.
    """
    sizes = unit.value_counts()
    positives = unit[label == POSITIVE].value_counts().reindex(sizes.index, fill_value=0)
    majority = (positives * 2 >= sizes).map({True: POSITIVE, False: NEGATIVE})
    drawn: set[str] = set()
    for of_class, target in targets.items():
        units = sizes[majority == of_class]
        taken, images = 0, 0
        for name in sorted(units.index, key=lambda name: _order(name, seed)):
            if abs(images + units[name] - target) < abs(images - target) and taken < len(units) - 1:
                drawn.add(name)
                taken, images = taken + 1, images + units[name]
    return unit.isin(drawn)


def _refuse_shared_groups(group: pd.Series, test: pd.Series) -> None:
    both = sorted(set(group[test]) & set(group[~test]))
    if both:
        raise StudyError(
            f"the official phases share the subject groups {', '.join(both)}; use --method subject to keep them apart"
        )


def _refuse_missing_class(label: pd.Series, part: pd.Series, group: pd.Series, expected: tuple[str, ...]) -> None:
    counts = pd.crosstab(part, label).reindex(index=expected, columns=LABELS, fill_value=0)
    for name in expected:
        for of_class in LABELS:
            if not counts.loc[name, of_class]:
                groups = group[label == of_class].nunique()
                raise StudyError(
                    f"the {name} part would hold no {of_class} image: the cohort has {groups} subject "
                    f"group{'s' * (groups != 1)} of that class; add subjects or change the sizes"
                )
