"""Whether runs may be compared: the same test images, of the same cohort, split in the same way."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from study.errors import StudyError
from study.manifest import LABELS
from study.run import Run


def paired_test_rows(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the test rows that all runs share, with one score column a run, named as the run.

    Raises:
        StudyError: two runs of one name, other manifests or backgrounds, leaky beside subject-disjoint, other test rows
            or labels, no test row, or one class in the test part.
    """
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise StudyError(f"two of the runs have the same name ({', '.join(names)}); rename a run folder")
    first = runs[0]
    for run in runs[1:]:
        _refuse_unlike(first, run)
    reference = first.part("test").set_index("path")
    if set(reference["label"]) != set(LABELS):
        raise StudyError(
            f"{first.folder}: its test part holds {len(set(reference['label']))} class; comparing takes both"
        )
    rows = reference[["subject", "subject_group", "label"]].copy()
    for run in runs:
        rows[run.name] = run.part("test").set_index("path")["score"].reindex(rows.index)
    return rows


def _refuse_unlike(first: Run, other: Run) -> None:
    pair = f"{first.folder} and {other.folder}"
    if first.info["leaky"] != other.info["leaky"]:
        leaky = first if first.info["leaky"] else other
        raise StudyError(f"{pair}: {leaky.name} was split with subjects on both sides, the other not; not comparable")
    manifests = [run.info["checksums"]["manifest"] for run in (first, other)]
    if manifests[0] != manifests[1]:
        raise StudyError(f"{pair}: were trained on different manifests ({' and '.join(manifests)}); train on one")
    backgrounds = [run.info["background"] for run in (first, other)]
    if backgrounds[0] != backgrounds[1]:
        raise StudyError(f"{pair}: read the cells on {' and '.join(backgrounds)}; give both the same --background")
    truth = [run.part("test").set_index("path")["label"] for run in (first, other)]
    apart = truth[0].index.symmetric_difference(truth[1].index)
    if len(apart):
        raise StudyError(
            f"{pair}: are tested on different images: {len(truth[0])} and {len(truth[1])} rows, "
            f"{len(apart)} of them in one run only (first: {apart[0]}); train both on one partition"
        )
    changed = truth[0].index[truth[0] != truth[1].reindex(truth[0].index)]
    if len(changed):
        raise StudyError(f"{pair}: {len(changed)} test images have different labels (first: {changed[0]})")
