"""Split levels: cross-validations of one cohort whose training and test parts share ever fewer subjects.

A split keeps together what it takes for one subject. The levels, from the most lenient to the strictest:

| level              | unit that is kept together                                                        |
|--------------------|-----------------------------------------------------------------------------------|
| `image`            | the single image: an image-level split                                            |
| `subject-id`       | the images of one subject ID                                                      |
| `identical-images` | the images of the subject IDs that are tied by identical images                   |
| `subject-group`    | the images of one subject group: IDs tied in any way, see `cohort.ties`           |

Only the subject groups are the subjects as far as the images show. The strictest level is the reference; a difference
to it is the optimistic bias of the other level.

Two partitions of one cohort differ in their test subjects, and the metrics of few subjects vary far more than the bias.
`level_folds` therefore makes a cross-validation at each level, so that every image is tested once at every level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

import pandas as pd

from leukobench.cohort.class_names import ClassNames
from leukobench.cohort.identity import subject_groups
from leukobench.cohort.manifest import labelled, manifest_checksum
from leukobench.cohort.partition import LEAKY, ROW_COLUMNS, Folds, Partition
from leukobench.cohort.splitting import assign_folds, hash_rank, refuse_missing_class
from leukobench.cohort.ties import KINDS, accepted
from leukobench.core.errors import InputError


class SplitLevel(StrEnum):
    """What a split keeps together, from the most lenient level to the strictest."""

    IMAGE = "image"
    SUBJECT_ID = "subject-id"
    IDENTICAL_IMAGES = "identical-images"
    SUBJECT_GROUP = "subject-group"


REFERENCE = SplitLevel.SUBJECT_GROUP
UNITS: Mapping[SplitLevel, str] = {  # what each level keeps together, in words
    SplitLevel.IMAGE: "single images",
    SplitLevel.SUBJECT_ID: "subject IDs",
    SplitLevel.IDENTICAL_IMAGES: "subject IDs joined by identical images",
    SplitLevel.SUBJECT_GROUP: "subject groups (joined by all ties)",
}


def level_units(manifest: pd.DataFrame, ties: pd.DataFrame) -> dict[SplitLevel, pd.Series]:
    """Return the unit of each labelled image at every level.

    Args:
        manifest: The cohort.
        ties: Its table of ties, see `cohort.ties`.

    Raises:
        InputError: subject IDs that are tied by identical images are in two subject groups of the manifest.
    """
    rows = labelled(manifest)
    identical = subject_groups(rows["subject"], accepted(ties[ties["kind"] == KINDS[0]]))
    divided = rows["subject_group"].groupby(identical).transform("nunique") > 1
    if divided.any():
        raise InputError(
            f"the subject IDs {identical[divided].iloc[0]} are tied by identical images, but are in several subject "
            "groups of the manifest; make the manifest and its table of ties again, in one call"
        )
    return {
        SplitLevel.IMAGE: rows["path"],
        SplitLevel.SUBJECT_ID: rows["subject"],
        SplitLevel.IDENTICAL_IMAGES: identical,
        SplitLevel.SUBJECT_GROUP: rows["subject_group"],
    }


def coinciding_levels(units: Mapping[SplitLevel, pd.Series]) -> dict[SplitLevel, SplitLevel]:
    """Return the levels that keep together the same images as a stricter level, each with the strictest such level.

    Every unit is a part of a unit of the next level, so two levels coincide if they have equally many units.

    Args:
        units: Unit of each image at every level, see `level_units`.
    """
    strictest = {unit.nunique(): level for level, unit in units.items()}
    return {level: strictest[unit.nunique()] for level, unit in units.items() if strictest[unit.nunique()] != level}


def level_folds(
    manifest: pd.DataFrame, units: Mapping[SplitLevel, pd.Series], folds: int = 5, seed: int = 0
) -> dict[SplitLevel, Folds]:
    """Make a cross-validation at each level, with equally many training images of each class in all folds and levels.

    The units of a level are assigned to the folds as `split_in_folds` assigns subject groups: each fold tests equally
    many units of a class, or one more, and about equally many of its images. So every labelled image is tested once at
    every level. The training parts are reduced to the size of the smallest one, class by class; which images are left
    out follows from their hash. There is no validation part.

    Args:
        manifest: The cohort.
        units: Unit of each labelled image at every level, see `level_units`.
        folds: Number of folds, at least 2.
        seed: Random seed.

    Returns:
        The folds. The first word of `method` is the level, with `-LEAKY` where training and test share subject groups.

    Raises:
        InputError: fewer than two folds, a class has fewer units than there are folds, or a part would lack a class.
    """
    if folds < 2:
        raise InputError(f"folds={folds}; a cross-validation takes at least 2 folds")
    rows = labelled(manifest)
    label, checksum = rows["label"], manifest_checksum(manifest)[:16]
    strictest_first = reversed(list(units.items()))  # so that the error of a small cohort speaks of subject groups
    fold_of = {level: assign_folds(unit, label, folds, seed) for level, unit in strictest_first}
    largest_test = pd.concat([pd.crosstab(fold, label) for fold in fold_of.values()]).max()
    size = label.map(label.value_counts() - largest_test)
    order = hash_rank(rows["path"], f"training/{seed}")
    made = {}
    for level in units:
        partitions = {}
        for number in range(folds):
            test = fold_of[level] == number
            part = pd.Series("train", index=rows.index).mask(test, "test")
            refuse_missing_class(rows, part, ("train", "test"))
            used = test | (order.mask(test).groupby(label).rank() <= size)
            chosen = rows.assign(part=part).loc[used, list(ROW_COLUMNS)]
            partitions[number] = Partition(chosen, "", checksum, ClassNames.of_table(rows))
        leaky = LEAKY * (level is SplitLevel.IMAGE or Folds(partitions).leaky)
        method = f"{level}{leaky} folds={folds} seed={seed}"
        made[level] = Folds({number: replace(each, method=method) for number, each in partitions.items()})
    return made
