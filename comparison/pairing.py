"""Checks whether runs may be compared: the same test images, of the same cohort, with the same kind of split."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leukobench.cohort.manifest import LABELS
from leukobench.core.errors import InputError
from leukobench.core.text import printable
from leukobench.results.run import RunFolder

REMEDY = "or compare the rows that all runs share (common=True)"
COHORT_COLUMNS = ["subject", "subject_group", "label"]


@dataclass(frozen=True)
class PairedRows:
    """The test rows that all runs share.

    Attributes:
        tables: For each repeat, `subject`, `subject_group`, `label`, `fold` (missing where the runs have no common
            folds), then one score column a run; indexed by `path`.
        dropped: Number of test rows of each run that are left out.
    """

    tables: tuple[pd.DataFrame, ...]
    dropped: dict[str, int]


def paired_test_rows(
    runs: Mapping[str, Sequence[RunFolder]], *, common: bool = False, allow_leaky: bool = False
) -> PairedRows:
    """Return the test rows that all runs share, with the scores of each run.

    Args:
        runs: The repeats of each run, by name; one without repeats.
        common: Whether to leave out rows that are not tested in every run.
        allow_leaky: Whether runs whose parts share subjects may be listed beside runs with a subject-level split.

    Raises:
        InputError: the manifests, backgrounds, kinds of split, numbers of repeats, folds, test rows or labels differ;
            there is no test row, a duplicate, or one class only.
    """
    _refuse_other_number(runs)
    every = [(run, _test_rows(run)) for repeats in runs.values() for run in repeats]
    first, first_rows = every[0]
    shared = first_rows
    for run, rows in every[1:]:
        _refuse_unlike(first, run, allow_leaky)
        if not common:
            _refuse_other_rows(first, first_rows, run, rows)
        if not rows.index.equals(shared.index):
            shared = shared[shared.index.isin(rows.index)]
        if shared.empty:
            raise InputError(f"{first.folder} and {run.folder}: share no test row; train both on one partition")
        _refuse_other_labels(first, shared, run, rows)
    if set(shared["label"]) != set(LABELS):
        raise InputError(
            f"{first.folder}: the {len(shared)} test rows are all {first.info.classes[shared['label'].iloc[0]]}; "
            "a comparison takes both classes: make a partition whose test part has both"
        )
    tables = []
    for repeat in zip(*runs.values(), strict=True):
        tested = [_test_rows(run).loc[shared.index] for run in repeat]
        fold = _common_folds(repeat, tested, common)
        scores = {name: rows["score"] for name, rows in zip(runs, tested, strict=True)}
        tables.append(shared[COHORT_COLUMNS].assign(fold=fold, **scores))
    dropped = {name: len(repeats[0].part("test")) - len(shared) for name, repeats in runs.items()}
    return PairedRows(tuple(tables), dropped)


def run_names(runs: Sequence[Sequence[RunFolder]]) -> list[str]:
    """Name each run by its folder, with as many parent folders as make the names unique.

    Repeats are named by the folder that contains them.

    Raises:
        InputError: a run is given twice.
    """
    folders = [
        repeats[0].folder.resolve() if len(repeats) == 1 else repeats[0].folder.resolve().parent for repeats in runs
    ]
    for folder in folders:
        if folders.count(folder) > 1:
            raise InputError(f"{folder}: is given twice; give each run once")
    for length in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = [printable("/".join(folder.parts[-length:])) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names


def _test_rows(run: RunFolder) -> pd.DataFrame:
    rows = run.part("test").set_index("path")
    if rows.empty:
        raise InputError(f"{run.folder}: has no test row; train on a partition with a test part")
    if rows.index.duplicated().any():
        raise InputError(f"{run.folder}: {rows.index[rows.index.duplicated()][0]!r} is tested twice; train again")
    return rows


def _common_folds(repeat: Sequence[RunFolder], tested: Sequence[pd.DataFrame], common: bool) -> pd.Series:
    """Return the fold of each row, missing without cross-validation, or where the folds of the runs differ."""
    folds = [rows["fold"] for rows in tested]
    for run, fold in zip(repeat[1:], folds[1:], strict=True):
        if not fold.equals(folds[0]):
            if common:
                return pd.Series(pd.NA, index=tested[0].index, dtype="Int64")
            raise InputError(
                f"{repeat[0].folder} and {run.folder}: were cross-validated on different folds, so that their scores "
                f"cannot be compared within folds; train both on one split, or compare with "
                "all folds pooled (common=True)"
            )
    return folds[0]


def _refuse_other_number(runs: Mapping[str, Sequence[RunFolder]]) -> None:
    for (first, one), (other, two) in itertools.pairwise(runs.items()):
        if len(one) != len(two):
            raise InputError(
                f"{first} has {len(one)} and {other} {len(two)} repeats; compare runs with the same repeats of one "
                "split"
            )


def _refuse_unlike(first: RunFolder, other: RunFolder, allow_leaky: bool) -> None:
    pair = f"{first.folder} and {other.folder}"
    if first.info.leaky != other.info.leaky and not allow_leaky:
        leaky = first if first.info.leaky else other
        raise InputError(
            f"{pair}: are not comparable: {leaky.folder} has a split with subjects shared between parts, the other run "
            "a subject-level split; to list both all the same, marked as LEAKY, set allow_leaky=True"
        )
    manifests = [str(run.info.checksums["manifest"]) for run in (first, other)]
    if manifests[0] != manifests[1]:
        raise InputError(
            f"{pair}: were trained on different manifests ({' and '.join(manifests)}); train both on one manifest"
        )
    backgrounds = [run.info.background for run in (first, other)]
    if backgrounds[0] != backgrounds[1]:
        raise InputError(f"{pair}: read the cells on {' and '.join(backgrounds)}; train both with one background")


def _refuse_other_rows(first: RunFolder, one: pd.DataFrame, other: RunFolder, two: pd.DataFrame) -> None:
    apart = one.index[:0] if one.index.equals(two.index) else one.index.symmetric_difference(two.index)
    if len(apart):
        raise InputError(
            f"{first.folder} and {other.folder}: are tested on different images: {len(one)} and {len(two)} rows, "
            f"{len(apart)} of them in one run only (first: {apart[0]}); train both on one partition, {REMEDY}"
        )


def _refuse_other_labels(first: RunFolder, one: pd.DataFrame, other: RunFolder, two: pd.DataFrame) -> None:
    for column in COHORT_COLUMNS:
        changed = np.flatnonzero(one[column].to_numpy() != two[column].reindex(one.index).to_numpy())
        if len(changed):
            raise InputError(
                f"{first.folder} and {other.folder}: {len(changed)} test images have a different {column} "
                f"(first: {one.index[changed[0]]}); train both on one manifest"
            )
