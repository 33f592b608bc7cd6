"""Ties: pairs of images which show that two subject IDs are one person.

The table of ties lies beside the manifest (`manifest.csv`, `manifest.ties.csv`); one row is one tie. Columns:

| column          | content                                                                            |
|-----------------|------------------------------------------------------------------------------------|
| `path`, `other` | the two images, as in the manifest; empty where the pair was not recorded          |
| `kind`          | `identical`: the same bytes. `same pixels`: in files of different bytes.           |
|                 | `near-duplicate`: two photographs of one cell                                      |
| `similarity`    | of the two cells, see `cohort.near_duplicates`; empty where the pair was not recorded |
| `subject`       | subject ID of `path`                                                               |
| `other_subject` | subject ID of `other`, which differs                                               |
| `accepted`      | `yes`; or `no`, if somebody looked at the pair and rejected it                     |

Subject groups are the connected components of the accepted ties (`leukobench.cohort.identity`). Of more than two copies
of one image, each is tied to the first.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.cohort.identity import natural_order
from leukobench.cohort.manifest import shipped_manifest_path
from leukobench.core.errors import InputError
from leukobench.core.files import read_csv_columns, write_csv
from leukobench.core.text import counted

KINDS = ("identical", "same pixels", "near-duplicate")
COLUMNS = ("path", "other", "kind", "similarity", "subject", "other_subject", "accepted")
_SUFFIX = ".ties.csv"


def ties_path(manifest: str | os.PathLike[str]) -> Path:
    """Return the path of the table of ties that lies beside a manifest."""
    return Path(manifest).with_suffix(_SUFFIX)


def read_ties(path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Read and validate a table of ties.

    Args:
        path: The table; None for the ties of the shipped manifest of C-NMC 2019.

    Returns:
        One row a tie, all columns text but `similarity`, which is NaN where the pair was not recorded.

    Raises:
        InputError: the file is not a table of ties; the message names the first wrong row.

    Example:
        >>> import leukobench as lb
        >>> ties = lb.read_ties()
        >>> ties.loc[ties["subject"] == "43", ["kind", "other_subject"]].value_counts().to_dict()
        {('near-duplicate', '44'): 8}
    """
    path = ties_path(shipped_manifest_path()) if path is None else Path(path)
    ties = read_csv_columns(path, COLUMNS, "table of ties", may_be_empty=True)
    similarity = pd.to_numeric(ties["similarity"], errors="coerce")
    faults = (
        (~ties["kind"].isin(KINDS), f"has a kind other than {', '.join(KINDS)}"),
        (~ties["accepted"].isin(["yes", "no"]), "has an accepted other than yes or no"),
        (similarity.isna() & (ties["similarity"] != ""), "has a similarity that is not a number"),
        ((ties["subject"] == "") | (ties["subject"] == ties["other_subject"]), "does not name two different subjects"),
        (ties["other_subject"] == "", "does not name two different subjects"),
    )
    for wrong, reason in faults:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(f"{path}: row {row + 2} ({ties['path'].iloc[row]!r}) {reason}; fix it")
    return ties[list(COLUMNS)].assign(similarity=similarity)


def write_ties(ties: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table of ties as CSV, completely or not at all; an existing one is replaced."""
    write_csv(ties[list(COLUMNS)], Path(path), replace=True)


def find_ties(
    manifest: pd.DataFrame, content: pd.Series | None = None, near: pd.DataFrame | None = None
) -> pd.DataFrame:
    """List the ties of a cohort: identical images, images with the same pixels, and near-duplicates.

    Args:
        manifest: The cohort: `path`, `subject` and `sha256` of each image; subject IDs are compared unchanged.
        content: Checksum of the pixels of each image, in the same order; None: only identical images are compared.
        near: `path`, `other` and `similarity` of the near-duplicates; None: not searched.
    """
    manifest = manifest[manifest["subject"] != ""]
    found = [_copies(manifest, manifest["sha256"], KINDS[0])]
    if content is not None:
        distinct = manifest[~manifest["sha256"].duplicated()]
        found.append(_copies(distinct, content[distinct.index], KINDS[1]))
    if near is not None:
        subjects = dict(zip(manifest["path"], manifest["subject"], strict=True))
        pairs = near[["path", "other", "similarity"]]
        pairs = pairs.assign(subject=pairs["path"].map(subjects), other_subject=pairs["other"].map(subjects))
        known = pairs.dropna(subset=["subject", "other_subject"])
        found.append(known[known["subject"] != known["other_subject"]].assign(kind=KINDS[2]))
    return _sorted(pd.concat(found, ignore_index=True).assign(accepted="yes"))


def reject(ties: pd.DataFrame, rejected: pd.DataFrame) -> pd.DataFrame:
    """Return ties with the pairs of another table no longer accepted.

    Args:
        ties: Ties.
        rejected: The pairs, in either order: `path` and `other`.
    """
    pairs = {frozenset(pair) for pair in rejected[["path", "other"]].to_numpy()}
    hits = (frozenset(pair) in pairs and pair[0] != "" for pair in ties[["path", "other"]].to_numpy())
    hit = np.fromiter(hits, bool, len(ties))
    return ties.assign(accepted=ties["accepted"].mask(hit, "no"))


def add_ties(ties: pd.DataFrame, more: pd.DataFrame, identity: Mapping[str, Hashable] | None = None) -> pd.DataFrame:
    """Return ties together with those of another table whose pair of images they lack.

    Args:
        ties: Ties.
        more: Other ties.
        identity: Value by which an image is recognised under two paths, by path; None: the path itself.
    """

    def pairs(table: pd.DataFrame) -> list[frozenset[Hashable]]:
        paths = table[["path", "other"]].to_numpy()
        return [frozenset(pair if identity is None else map(identity.get, pair)) for pair in paths]

    present = set(pairs(ties))
    new = [pair not in present for pair in pairs(more)]
    return _sorted(pd.concat([ties, more[new]], ignore_index=True)[list(COLUMNS)])


def read_rejected(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the pairs to reject: any table (CSV) with `path` and `other`.

    In a table of ties, which also has the column `accepted`, the pairs to reject are those that say `no`.
    """
    columns = ("path", "other")
    table = read_csv_columns(Path(path), columns, "table of rejected ties", optional=["accepted"], may_be_empty=True)
    return table[table["accepted"] == "no"] if "accepted" in table else table


def accepted(ties: pd.DataFrame) -> pd.DataFrame:
    """Return `subject` and `other_subject` of the accepted ties."""
    return ties.loc[ties["accepted"] == "yes", ["subject", "other_subject"]]


def summary(ties: pd.DataFrame) -> str:
    """Count the ties by kind, and those that were rejected."""
    kinds = ties["kind"].value_counts()
    counts = ", ".join(f"{kinds[kind]:,} {kind}" for kind in KINDS if kind in kinds)
    rejected = (ties["accepted"] == "no").sum()
    return (
        f"{counted(len(ties), 'pair')} of images that join{'s' * (len(ties) == 1)} two subject IDs"
        + f" ({counts})" * bool(counts)
        + f", {rejected:,} of them rejected" * bool(rejected)
    )


def refuse_ties_between_labels(ties: pd.DataFrame, label: Mapping[str, str], name: str) -> None:
    """Check that no accepted tie joins images of different labels: one cell is not both a blast and a normal cell.

    Args:
        ties: Ties.
        label: Label of each image by its path; "" if unknown.
        name: Name of the cohort in the error message.

    Raises:
        InputError: an accepted tie joins two labels; the message shows the first and counts them.
    """
    of = [ties[column].map(label).fillna("") for column in ("path", "other")]
    wrong = ties[(ties["accepted"] == "yes") & (of[0] != "") & (of[1] != "") & (of[0] != of[1])]
    if len(wrong):
        tie = wrong.iloc[0]
        raise InputError(
            f"{name}: {tie['path']} ({label[tie['path']]}, subject {tie['subject']}) and {tie['other']} "
            f"({label[tie['other']]}, subject {tie['other_subject']}) show one cell ({tie['kind']}, similarity "
            f"{tie['similarity']:.3f}), which cannot have two labels ({counted(len(wrong), 'such pair')}); "
            "fix a label, remove an image, or reject the pair in a table (CSV) with the columns path and other"
        )


def _sorted(ties: pd.DataFrame) -> pd.DataFrame:
    """Return ties with the smaller subject ID (H2 before H10) first, in the order of subjects, kinds and paths."""
    ids = sorted({*ties["subject"], *ties["other_subject"]}, key=natural_order)
    rank = {name: place for place, name in enumerate(ids)}
    swap = ties["subject"].map(rank) > ties["other_subject"].map(rank)
    other = {"path": "other", "other": "path", "subject": "other_subject", "other_subject": "subject"}
    swapped = ties.rename(columns=other)
    ties = ties.where(~swap, swapped[ties.columns])
    keys = [ties["path"], ties["kind"].map(KINDS.index), ties["other_subject"].map(rank), ties["subject"].map(rank)]
    return ties.iloc[np.lexsort(keys)].reset_index(drop=True)[list(COLUMNS)]


def _copies(manifest: pd.DataFrame, content: pd.Series, kind: str) -> pd.DataFrame:
    """Tie the first image of each content to the others that have another subject."""
    rows = manifest[["path", "subject"]].assign(content=content)
    rows = rows[rows["content"].duplicated(keep=False)]
    first = rows.drop_duplicates("content").set_index("content")
    ties = pd.DataFrame(
        {
            "path": rows["content"].map(first["path"]),
            "other": rows["path"],
            "kind": kind,
            "similarity": 1.0,
            "subject": rows["content"].map(first["subject"]),
            "other_subject": rows["subject"],
        }
    )
    return ties[ties["subject"] != ties["other_subject"]]
