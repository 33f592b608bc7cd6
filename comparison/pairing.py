"""Checks whether runs may be compared: the same test images, of the same cohort, with the same kind of split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from leukobench.cohort.manifest import LABELS
from leukobench.core.errors import InputError
from leukobench.results.run import RunFolder

REMEDY = "or compare the rows that all runs share (common=True)"


def run_names(runs: Sequence[RunFolder]) -> list[str]:
    """Name each run by its folder, with as many parent folders as make the names unique.

    Raises:
        InputError: a run is given twice.
    """
    folders = [run.folder.resolve() for run in runs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise InputError(f"{folder}: is given twice; give each run once")
    for length in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-length:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names


def paired_test_rows(runs: Sequence[RunFolder], *, common: bool = False, allow_leaky: bool = False) -> pd.DataFrame:
    """Return the test rows that all runs share, with one score column a run, named as `run_names` says.

    Args:
        runs: The runs.
        common: Whether to leave out rows that are not tested in every run.
        allow_leaky: Whether runs whose parts share subjects may be listed beside runs with a subject-level split.

    Returns:
        `subject`, `subject_group`, `label`, then the scores; indexed by `path`.

    Raises:
        InputError: a run is given twice; the manifests, backgrounds, kinds of split, test rows or labels differ; there
            is no test row, a duplicate, or one class only.
    """
    names = run_names(runs)
    tested = [_test_rows(run) for run in runs]
    for run, rows in zip(runs[1:], tested[1:], strict=True):
        _refuse_unlike(runs[0], run, allow_leaky)
        if not common:
            _refuse_other_rows(runs[0], tested[0], run, rows)
    shared = tested[0]
    for run, rows in zip(runs[1:], tested[1:], strict=True):
        shared = shared[shared.index.isin(rows.index)]
        if shared.empty:
            raise InputError(f"{runs[0].folder} and {run.folder}: share no test row; train both on one partition")
        _refuse_other_labels(runs[0], shared, run, rows)
    if set(shared["label"]) != set(LABELS):
        raise InputError(
            f"{runs[0].folder}: the {len(shared)} test rows are all {shared['label'].iloc[0]}; "
            "a comparison takes both classes: make a partition whose test part has both"
        )
    scores = {name: rows["score"].reindex(shared.index) for name, rows in zip(names, tested, strict=True)}
    return shared[["subject", "subject_group", "label"]].assign(**scores)


def _test_rows(run: RunFolder) -> pd.DataFrame:
    rows = run.part("test").set_index("path")
    if rows.empty:
        raise InputError(f"{run.folder}: has no test row; train on a partition with a test part")
    if rows.index.duplicated().any():
        raise InputError(f"{run.folder}: {rows.index[rows.index.duplicated()][0]!r} is tested twice; train again")
    return rows


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
    apart = one.index.symmetric_difference(two.index)
    if len(apart):
        raise InputError(
            f"{first.folder} and {other.folder}: are tested on different images: {len(one)} and {len(two)} rows, "
            f"{len(apart)} of them in one run only (first: {apart[0]}); train both on one partition, {REMEDY}"
        )


def _refuse_other_labels(first: RunFolder, one: pd.DataFrame, other: RunFolder, two: pd.DataFrame) -> None:
    for column in ("label", "subject", "subject_group"):
        changed = np.flatnonzero(one[column] != two[column].reindex(one.index))
        if len(changed):
            raise InputError(
                f"{first.folder} and {other.folder}: {len(changed)} test images have a different {column} "
                f"(first: {one.index[changed[0]]}); train both on one manifest"
            )
