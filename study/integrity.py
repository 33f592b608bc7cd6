"""Whether the cohort can be trusted: identical images and the subjects that they tie together."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def subject_groups(subject: pd.Series, sha256: pd.Series) -> pd.Series:
    """Join the subject IDs that share a byte-identical image.

    The groups are the connected components of the graph whose vertices are subjects and whose edges are identical
    images. Two IDs with the same picture are the same person, or at least cannot be kept apart in an honest split.

    Args:
        subject: Subject of each image; "" where unknown.
        sha256: Checksum of each image, in the same order.

    Returns:
        The name of each image's group: its subjects in natural order joined by `=` (`H2=H4=H5=H6`), the subject
        itself where it shares nothing, "" where the subject is unknown.
    """
    known = (subject != "").to_numpy()
    codes, subjects = pd.factorize(subject[known])
    pictures, picture_ids = pd.factorize(sha256[known])
    size = len(subjects) + len(picture_ids)
    edges = coo_array((np.ones(len(codes), bool), (codes, pictures + len(subjects))), shape=(size, size))
    component = connected_components(edges, directed=False)[1][: len(subjects)]
    members: dict[int, list[str]] = {}
    for name, of in zip(subjects, component, strict=True):
        members.setdefault(of, []).append(name)
    names = {of: "=".join(sorted(ids, key=natural_order)) for of, ids in members.items()}
    groups = pd.Series("", index=subject.index, dtype=subject.dtype, name="subject_group")
    groups[known] = [names[of] for of in component[codes]]
    return groups


def natural_order(text: str) -> list[tuple[int, str]]:
    """Sort key that puts H2 before H10."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", text)]
