"""Split levels: partitions with the same test images, whose training parts share ever fewer subjects with them.

A split keeps together what it takes for one subject. The levels, from the most lenient to the strictest:

| level              | unit that is kept together                                                        |
|--------------------|-----------------------------------------------------------------------------------|
| `image`            | the single image: an image-level split                                            |
| `subject-id`       | the images of one subject ID                                                      |
| `identical-images` | the images of the subject IDs that are tied by identical images                   |
| `subject-group`    | the images of one subject group: IDs tied in any way, see `cohort.ties`           |

Only the subject groups are the subjects as far as the images show. The strictest level is the reference; a difference
to it is the optimistic bias of the other level.

Two splits that are drawn independently differ in their test subjects, and the metrics of few subjects vary far more
than the bias. `paired_partitions` therefore tests all levels on the same images.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
import pandas as pd

from leukobench.cohort.identity import subject_groups
from leukobench.cohort.manifest import labelled, manifest_checksum
from leukobench.cohort.partition import LEAKY, ROW_COLUMNS, Partition
from leukobench.cohort.splitting import draw_units, hash_rank, refuse_missing_class
from leukobench.cohort.ties import KINDS, accepted
from leukobench.core.errors import InputError

TESTED = 0.5  # share of the images of a drawn subject ID that are tested; the rest is for training at the image level


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


def paired_partitions(
    manifest: pd.DataFrame, units: Mapping[SplitLevel, pd.Series], test_size: float = 0.2, seed: int = 0
) -> dict[SplitLevel, Partition]:
    """Make a partition for each level, with the same test images and equally many training images of each class.

    Subject IDs are drawn as `split_by_subject` draws subject groups. Half of the images of each drawn ID are the test
    part, at every level. An image may be in training if its unit has no test image. At the level `image`, these are all
    other images; at `subject-id`, the images of the other IDs; and so on. At the strictest level, all of them are in
    training. At the others, the images of the test subjects come first, and replace as many images of the same class of
    other subjects. So the partitions differ only in how many training images are of test subjects.

    Args:
        manifest: The cohort.
        units: Unit of each labelled image at every level, see `level_units`.
        test_size: Share of each class's subject IDs that are drawn, in (0, 1).
        seed: Random seed.

    Returns:
        The partitions. The first word of `method` is the level, with `-LEAKY` where subject groups are shared.

    Raises:
        InputError: a part would lack a class.
    """
    rows = labelled(manifest)
    drawn = draw_units(rows["subject"], rows["label"], test_size, seed)
    of_subject = [rows["subject"], rows["label"]]
    place = hash_rank(rows["path"], f"tested/{seed}").groupby(of_subject).rank(method="first")
    test = drawn & (place - 1 < TESTED * rows.groupby(of_subject)["path"].transform("size"))
    unseen = _unshared(units[REFERENCE], test)
    part = pd.Series(np.select([test, unseen], ["test", "train"], ""), index=rows.index)
    refuse_missing_class(rows["label"], part, rows["subject_group"], ("train", "test"))
    most = rows["label"].map(rows["label"][unseen].value_counts())
    order = hash_rank(rows["path"], f"training/{seed}") + unseen * len(rows)  # images of test subjects come first
    partitions = {}
    for level, unit in units.items():
        allowed = _unshared(unit, test)
        train = allowed & (order.where(allowed).groupby(rows["label"]).rank() <= most)
        part = pd.Series(np.select([test, train], ["test", "train"], ""), index=rows.index)
        chosen = rows.assign(part=part).loc[test | train, list(ROW_COLUMNS)]
        partition = Partition(chosen, "", manifest_checksum(manifest)[:16])
        leaky = LEAKY * (level is SplitLevel.IMAGE or partition.leaky)
        method = f"{level}{leaky} test={test_size} seed={seed} paired"
        partitions[level] = Partition(chosen, method, partition.manifest)
    return partitions


def _unshared(unit: pd.Series, test: pd.Series) -> pd.Series:
    """Return which rows are of units without a test image."""
    return ~unit.isin(unit[test])
