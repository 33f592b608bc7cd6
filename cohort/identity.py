"""Whether the cohort can be trusted: identical images, the subjects that they tie together, and what leaks.

Pairs are counted, never enumerated: n copies of an image make n (n - 1) / 2 pairs, and an attribute (a subject, a
fold) is crossed by all of them but those that agree in it. So a million rows take seconds, however often an image is
repeated.
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

ATTRIBUTES = ("phase", "fold", "subject", "label")  # what two copies of an image should agree in


@dataclass(frozen=True)
class Copies:
    """Images that stand in a cohort more than once.

    Attributes:
        pairs: Number of pairs of copies.
        within: Pairs inside each phase.
        crossing: Pairs whose phases, folds, subjects or labels differ, where both are known.
        sets: The paths of each set of copies.
    """

    pairs: int
    within: dict[str, int]
    crossing: dict[str, int]
    sets: list[list[str]]


def subject_groups(subject: pd.Series, sha256: pd.Series) -> pd.Series:
    """Join the subject IDs that share a byte-identical image.

    Args:
        subject: Subject of each image; "" where unknown.
        sha256: Checksum of each image, in the same order.

    Returns:
        The name of each image's group: its subjects in natural order joined by `=` (`H2=H4=H5=H6`), the subject
        itself where it shares nothing, "" where the subject is unknown.
    """
    first, names = tie_subjects(subject, sha256)
    named = {**names, "": ""}
    # as objects, so that a long name is kept once and not once a row
    return pd.Series([named[one] for one in first], index=subject.index, dtype=object, name="subject_group")


def tie_subjects(subject: pd.Series, *ties: pd.Series) -> tuple[pd.Series, dict[str, str]]:
    """Join the subject IDs that have a tie, such as the checksum of an image, in common.

    The groups are the connected components of the graph whose vertices are subjects and whose edges are identical
    images. Two IDs with the same picture are the same person, or at least cannot be kept apart in an honest split.

    Args:
        subject: Subject of each image; "" where unknown.
        ties: What ties subjects that share a value of it, in the same order.

    Returns:
        The first subject of each image's group, "" where the subject is unknown; and the name of each such group.
        Names grow with the group, so that a million rows are better told apart by the first subject.
    """
    known = (subject != "").to_numpy()
    codes, subjects = pd.factorize(subject[known])
    keys = [pd.factorize(tie[known]) for tie in ties]
    starts = np.cumsum([len(subjects), *(len(values) for _, values in keys)])
    shared = np.concatenate([key + start for (key, _), start in zip(keys, starts, strict=False)])
    ends = np.tile(codes, len(keys)), shared
    edges = coo_array((np.ones(len(shared), bool), ends), shape=(starts[-1], starts[-1]))
    component = connected_components(edges, directed=False)[1][: len(subjects)]
    members: dict[int, list[str]] = {}
    for name, of in zip(subjects, component, strict=True):
        members.setdefault(of, []).append(name)
    ordered = {of: sorted(ids, key=natural_order) for of, ids in members.items()}
    first = np.full(len(subject), "", object)
    first[known] = np.array([ordered[of][0] for of in component], object)[codes]
    names = {ids[0]: "=".join(ids) for ids in ordered.values()}
    return pd.Series(first, index=subject.index, dtype=object), names


def natural_order(text: str) -> list[tuple[int, str]]:
    """Sort key that puts H2 before H10."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", text)]


def copies(manifest: pd.DataFrame, identity: pd.Series, counted_already: pd.Series | None = None) -> Copies:
    """Find the images that are the same.

    Args:
        manifest: The cohort, as `leukobench.cohort.manifest` reads it; subject IDs are compared as they stand.
        identity: What the same images have in common, such as the checksum.
        counted_already: A finer identity whose pairs are left out: with the checksum of the pixels as `identity` and
            the checksum of the file here, the pairs are those of the same pixels in different files.
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
    """Count the pairs of rows that agree in every key."""
    sizes = _group_sizes(*keys)
    return int((sizes * (sizes - 1) // 2).sum())


def pairs_between(identity: pd.Series, part: pd.Series, names: Sequence[str]) -> dict[tuple[str, str], int]:
    """Count the pairs of the same image with one copy in one part and one in another, for every two parts."""
    table = pd.crosstab(pd.factorize(identity)[0], part.to_numpy()).reindex(columns=list(names), fill_value=0)
    return {(a, b): int((table[a] * table[b]).sum()) for a, b in itertools.combinations(names, 2)}


def shared_between(group: pd.Series, part: pd.Series, names: Sequence[str]) -> dict[tuple[str, str], list[str]]:
    """List the groups that stand in both of every two parts, in natural order; unknown groups ("") in none."""
    members = {name: set(group[part == name]) - {""} for name in names}
    return {(a, b): sorted(members[a] & members[b], key=natural_order) for a, b in itertools.combinations(names, 2)}


def divided(unit: pd.Series, by: pd.Series) -> list[str]:
    """List the units (subjects, groups) whose rows differ in `by`, unknown values ("") aside, in natural order."""
    known = (unit != "") & (by != "")
    codes, names = pd.factorize(unit[known])
    pairs = pd.DataFrame({"unit": codes, "by": pd.factorize(by[known])[0]}).drop_duplicates()["unit"]
    return sorted((names[code] for code in pairs[pairs.duplicated()].unique()), key=natural_order)


def _group_sizes(*keys: pd.Series) -> np.ndarray:
    """Return how many rows agree in every key, of each distinct combination."""
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
