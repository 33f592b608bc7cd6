"""Identical images, the subject groups that they imply, and the images and groups that parts share.

Pairs are counted, not enumerated: n copies of an image make n (n - 1) / 2 pairs. The pairs that cross an attribute
(a subject, a fold) are all pairs minus those with the same value of it. So a million rows take seconds, however often
an image is repeated.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

ATTRIBUTES = ("phase", "fold", "subject", "label")  # two copies of an image should have the same value of each


@dataclass(frozen=True)
class Copies:
    """Duplicated images of a cohort.

    Attributes:
        pairs: Number of pairs of copies.
        within: Pairs inside each phase.
        crossing: Pairs whose phases, folds, subjects or labels differ, if both are known.
        sets: The paths of each set of copies.
    """

    pairs: int
    within: dict[str, int]
    crossing: dict[str, int]
    sets: list[list[str]]


def subject_groups(subject: pd.Series, ties: pd.DataFrame) -> pd.Series:
    """Join the subject IDs that are tied.

    Args:
        subject: Subject of each image; "" if unknown.
        ties: Pairs of subject IDs that are one person: `subject` and `other_subject`. IDs without an image count too:
            two others that are tied to one such ID are joined.

    Returns:
        The name of each image's group: its subjects in natural order, joined by `=` (`H2=H4=H5=H6`); the subject
        itself if it is not tied; "" if the subject is unknown.
    """
    first, names = tie_subjects(subject, ties=ties)
    named = {**names, "": ""}
    # as objects, so that a long name is in memory once, not once a row
    return pd.Series([named[one] for one in first], index=subject.index, dtype=object, name="subject_group")


def tie_subjects(
    subject: pd.Series, *keys: pd.Series, ties: pd.DataFrame | None = None
) -> tuple[pd.Series, dict[str, str]]:
    """Join the subject IDs that are tied or share a value, such as the checksum of an image.

    The groups are the connected components of the graph whose vertices are subjects and whose edges are ties and
    shared values. IDs of one group are one person, or at least must be in the same part of a split.

    Args:
        subject: Subject of each image; "" if unknown.
        keys: Values of each image, in the same order; subjects that share a value are joined.
        ties: Pairs of subject IDs, see `subject_groups`.

    Returns:
        The first subject of each image's group ("" if the subject is unknown), and the name of the group by its first
        subject. Names of large groups are long, so a million rows refer to a group by its first subject.
    """
    known = (subject != "").to_numpy()
    pairs = pd.DataFrame(columns=["subject", "other_subject"], dtype=object) if ties is None else ties
    one, other = (pairs[column].to_numpy(object) for column in ("subject", "other_subject"))
    codes, subjects = pd.factorize(np.concatenate([subject[known].to_numpy(object), one, other]))
    of_image, of_one, of_other = np.split(codes, [int(known.sum()), int(known.sum()) + len(one)])
    values = [pd.factorize(key[known]) for key in keys]
    starts = np.cumsum([len(subjects), *(len(distinct) for _, distinct in values)])
    shared = [key + start for (key, _), start in zip(values, starts, strict=False)]
    ends = np.concatenate([of_one, *[of_image] * len(keys)]), np.concatenate([of_other, *shared])
    edges = coo_array((np.ones(len(ends[0]), bool), ends), shape=(starts[-1], starts[-1]))
    component = connected_components(edges, directed=False)[1]
    members: dict[int, list[str]] = {}
    for code in np.unique(of_image):
        members.setdefault(component[code], []).append(subjects[code])
    ordered = {of: sorted(ids, key=natural_order) for of, ids in members.items()}
    first = np.full(len(subject), "", object)
    first[known] = np.array([ordered[of][0] for of in component[of_image]], object)
    names = {ids[0]: "=".join(ids) for ids in ordered.values()}
    return pd.Series(first, index=subject.index, dtype=object), names


def natural_order(text: str) -> list[tuple[int, str]]:
    """Return a sort key that orders H2 before H10."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", text)]


def copies(manifest: pd.DataFrame, identity: pd.Series, counted_already: pd.Series | None = None) -> Copies:
    """Find duplicated images.

    Args:
        manifest: The cohort, as `leukobench.cohort.manifest` reads it; subject IDs are compared unchanged.
        identity: Value that only copies of an image share, such as the checksum.
        counted_already: A finer identity, whose pairs are left out. With the checksum of the pixels as `identity` and
            the checksum of the file here, the pairs are those with the same pixels in different files.
    """
    less = [] if counted_already is None else [counted_already]

    def pairs(rows: pd.Series | slice, *keys: pd.Series) -> int:
        chosen = [key[rows] for key in (identity, *keys)]
        return pairs_within(*chosen) - pairs_within(*chosen, *(key[rows] for key in less)) * bool(less)

    crossing = {}
    for name in ATTRIBUTES:
        known = manifest[name] != ""
        crossing[name] = pairs(known) - pairs(known, manifest[name])
    within = {phase: pairs(manifest["phase"] == phase) for phase in manifest["phase"].unique() if phase}
    return Copies(
        pairs=pairs(slice(None)),
        within={phase: number for phase, number in sorted(within.items(), key=lambda item: -item[1]) if number},
        crossing=crossing,
        sets=_sets(manifest["path"], identity, counted_already),
    )


def pairs_within(*keys: pd.Series) -> int:
    """Count the pairs of rows with the same value of every key."""
    sizes = _group_sizes(*keys)
    return int((sizes * (sizes - 1) // 2).sum())


def pairs_between(identity: pd.Series, part: pd.Series, names: Sequence[str]) -> dict[tuple[str, str], int]:
    """Count the pairs of copies with one copy in each of two parts, for every two parts."""
    table = pd.crosstab(pd.factorize(identity)[0], part.to_numpy()).reindex(columns=list(names), fill_value=0)
    return {(a, b): int((table[a] * table[b]).sum()) for a, b in itertools.combinations(names, 2)}


def shared_between(group: pd.Series, part: pd.Series, names: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    """List the groups that every two parts share, in natural order, without unknown groups ("")."""
    members = {name: set(group[part == name]) - {""} for name in names}
    return {(a, b): sorted(members[a] & members[b], key=natural_order) for a, b in itertools.combinations(names, 2)}


def divided(unit: pd.Series, by: pd.Series) -> list[str]:
    """List the units (subjects, groups) whose rows have several values of `by`, without unknown ones (""), in order."""
    known = (unit != "") & (by != "")
    codes, names = pd.factorize(unit[known])
    pairs = pd.DataFrame({"unit": codes, "by": pd.factorize(by[known])[0]}).drop_duplicates()["unit"]
    return sorted((names[code] for code in pairs[pairs.duplicated()].unique()), key=natural_order)


def _group_sizes(*keys: pd.Series) -> np.ndarray:
    """Return the number of rows of each distinct combination of keys."""
    combined = pd.factorize(keys[0])[0].astype(np.int64)
    for key in keys[1:]:
        codes, values = pd.factorize(key)
        combined = pd.factorize(combined * max(1, len(values)) + codes)[0]
    return np.bincount(combined)


def _sets(path: pd.Series, identity: pd.Series, finer: pd.Series | None) -> list[list[str]]:
    """Return the paths of each set of copies, in the order of their first paths."""
    again = identity[~finer.duplicated()] if finer is not None else identity
    repeated = identity.isin(again[again.duplicated()])
    paths = path[repeated].sort_values()
    codes = pd.factorize(identity[paths.index])[0]
    order = np.argsort(codes, kind="stable")
    bounds = np.flatnonzero(np.diff(codes[order])) + 1
    return [list(paths) for paths in np.split(paths.to_numpy(object)[order], bounds) if len(paths)]
