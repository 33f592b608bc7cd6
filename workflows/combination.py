"""Combining runs: one score of several models for each cell, as a run folder like any other.

The score of a cell is the mean of the log odds of the runs' calibrated probabilities,

    raw_score = expit(mean over the runs of log(score / (1 - score)))

and is calibrated on the validation part, as that of every run. No weight is fitted. benchmarks/combining.py compares
this mean with weights that are learned over subject groups: with as few groups as a cohort has, learned weights are
worse.

The run folder contains complete copies of the combined runs in `members/`, which predict and explain new images.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from leukobench.cohort.manifest import LABELS, POSITIVE
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, refuse_existing, sha256_of
from leukobench.results.calibration import (
    BELOW_CHANCE,
    Calibration,
    calibrated,
    fit_calibration,
    log_odds,
    notes_by_fold,
)
from leukobench.results.novelty import with_novelty
from leukobench.results.run import RunFolder, predictions_table, read_run_folder, scores_table, write_run
from leukobench.results.run_info import COMBINED, RECIPES, RunInfo, by_fold, command_line

MEMBERS = "members"  # the folder of the combined runs
OWN_INPUTS = {"features", "weights"}  # checksums of what one model alone was trained from
COHORT_COLUMNS = ["label", "subject", "subject_group", "part"]
StrPath = str | os.PathLike[str]


def combine(runs: Sequence[RunFolder | StrPath], out: StrPath) -> RunFolder:
    """Combine runs of one split, and write the run folder `out`.

    Args:
        runs: Two or more runs, or their folders, of either family: trained on the same split of the same manifest.
        out: Run folder to write.

    Raises:
        InputError: fewer than two runs, a run that is given twice or is itself combined, runs of different splits,
            images or backgrounds, or `out` exists.

    Example:
        >>> combine(["runs/svm"], "runs/combined")
        Traceback (most recent call last):
        ...
        leukobench.core.errors.InputError: runs: a combination takes at least two; give one more run folder
    """
    if isinstance(runs, RunFolder | str | os.PathLike) or len(runs) < 2:
        raise InputError("runs: a combination takes at least two; give one more run folder")
    out = Path(out)
    refuse_existing(out)
    with only_writer(out):
        members = [run if isinstance(run, RunFolder) else read_run_folder(run) for run in runs]
        rows = _common_rows(members)
        raw_score = mean_probability([_scores(member, rows) for member in members])
        calibrations, reasons = _calibrations(members, rows, raw_score)
        tables = [
            predictions_table(rows[of], raw_score[of], fold, calibrations[fold]) for fold, of in _by_fold(rows).items()
        ]
        names = [_member_name(number, member) for number, member in enumerate(members)]
        info = _run_info(members, names, out, calibrations, reasons)

        def copy(folder: Path) -> None:
            for name, member in zip(names, members, strict=True):
                shutil.copytree(member.folder, folder / MEMBERS / name)

        return write_run(out, info, pd.concat(tables, ignore_index=True), copy)


def mean_probability(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Return the probability whose log odds are the mean of those of several probabilities. [shape=(n,)]

    It is the normalised geometric mean: p / (1 - p) is the geometric mean of the odds.

    >>> mean_probability([np.array([0.5, 0.8]), np.array([0.5, 0.2])])
    array([0.5, 0.5])
    """
    return np.asarray(expit(np.mean([log_odds(each) for each in probabilities], axis=0)))


def members_of(run: RunFolder) -> list[RunFolder]:
    """Read the runs that a combined run consists of, and check that they are those that were combined.

    Raises:
        InputError: a member is missing or was changed.
    """
    found = []
    content = run.info.parameters.get("members")
    if not isinstance(content, dict) or len(content) < 2:
        raise InputError(f"{run.folder / 'run.json'}: does not name the combined runs; combine them again")
    for name, checksum in content.items():
        folder = run.folder / MEMBERS / Path(name).name
        if not folder.is_dir() or sha256_of(folder / "run.json") != checksum:
            raise InputError(f"{folder}: is missing, or was changed after it was combined; combine the runs again")
        found.append(read_run_folder(folder))
    return found


def combined_scores(
    run: RunFolder, scored: Sequence[Sequence[pd.DataFrame]], folds: Sequence[int | None]
) -> pd.DataFrame:
    """Combine the scores of new images by the members of a combined run.

    Args:
        run: The combined run.
        scored: For each fold, the table of the images by each member.
        folds: The folds; None without cross-validation. Over several, the means of calibrated probabilities and of
            novelty are taken.

    Returns:
        `path`, `score` and `predicted` of the images that every member scored, and where every member knows it the
        novelty, the largest by a member, see `leukobench.results.novelty`.
    """
    scores = []
    for fold, tables in zip(folds, scored, strict=True):
        by_path = [table.set_index("path")["score"] for table in tables]
        common = pd.concat(by_path, axis=1, join="inner")
        raw_score = mean_probability([common.iloc[:, number].to_numpy() for number in range(len(by_path))])
        scores.append(pd.Series(calibrated(raw_score, run.info.calibration_of(fold)), index=common.index))
    mean = pd.concat(scores, axis=1, join="inner").mean(axis=1)
    table = scores_table(list(mean.index), mean.to_numpy())
    measured = [[each.set_index("path").get("novelty") for each in tables] for tables in scored]
    if any(each is None for tables in measured for each in tables):
        return table
    of_members = [pd.concat(of_folds, axis=1).mean(axis=1) for of_folds in zip(*measured, strict=True)]
    largest = pd.concat(of_members, axis=1).max(axis=1).reindex(mean.index)
    return with_novelty(table, largest.to_numpy())


def _common_rows(members: Sequence[RunFolder]) -> pd.DataFrame:
    """Return the rows that all members predicted, in the order of the first; refuse runs that do not fit together."""
    first = members[0]
    rows = first.predictions
    expected = rows.set_index(["path", "fold"])[COHORT_COLUMNS]
    for number, member in enumerate(members):
        if member.info.family == COMBINED:
            raise InputError(f"{member.folder}: is a combined run; name the runs that it consists of")
        if any(member.folder.resolve() == other.folder.resolve() for other in members[:number]):
            raise InputError(f"{member.folder}: is given twice; give each run once")
        pair = f"{first.folder} and {member.folder}"
        if member.info.background != first.info.background:
            raise InputError(
                f"{pair}: read the cells on different backgrounds; train both with the same --background and --segment"
            )
        if _split(member) != _split(first):
            raise InputError(f"{pair}: were trained on different splits; train both on one split")
        own = member.predictions.set_index(["path", "fold"])[COHORT_COLUMNS]
        apart = own.index.symmetric_difference(expected.index)
        if len(apart):
            raise InputError(
                f"{pair}: predicted different images (first: {apart[0][0]}); leave images that one of them cannot "
                "read out of the manifest, and train both again"
            )
        if not own.reindex(expected.index).equals(expected):
            raise InputError(f"{pair}: have different labels, subjects or parts; train both on one split")
    return rows


def _split(run: RunFolder) -> dict[str, Any]:
    """Return what identifies the split of a run: its method and the checksums of the manifest and the partitions."""
    shared = {name: value for name, value in run.info.checksums.items() if name not in OWN_INPUTS}
    return {"method": run.info.split, **shared}


def _scores(run: RunFolder, rows: pd.DataFrame) -> np.ndarray:
    own = run.predictions.set_index(["path", "fold"])["score"]
    return own.reindex(pd.MultiIndex.from_frame(rows[["path", "fold"]])).to_numpy()


def _by_fold(rows: pd.DataFrame) -> dict[int | None, np.ndarray]:
    """Return which rows are of each fold; without cross-validation, all of None."""
    if rows["fold"].isna().all():
        return {None: np.full(len(rows), True)}
    return {int(fold): (rows["fold"] == fold).to_numpy(bool) for fold in sorted(rows["fold"].unique())}


def _calibrations(
    members: Sequence[RunFolder], rows: pd.DataFrame, raw_score: np.ndarray
) -> tuple[dict[int | None, Calibration | None], dict[int | None, str]]:
    """Fit the calibration of each fold on its validation part, for the class share of its members' calibrations."""
    found: dict[int | None, Calibration | None] = {}
    reasons: dict[int | None, str] = {}
    for fold, of in _by_fold(rows).items():
        held = of & (rows["part"] == "validation").to_numpy()
        shares = [each.share for member in members if (each := member.info.calibration_of(fold)) is not None]
        found[fold], reasons[fold] = None, ""
        if set(rows["label"][held]) != set(LABELS):
            reasons[fold] = "the validation part lacks a class, or there is none"
        elif not shares:
            reasons[fold] = "none of the combined runs was calibrated"
        else:
            positive, group = (rows["label"][held] == POSITIVE).to_numpy(), rows["subject_group"][held].to_numpy()
            found[fold] = fit_calibration(raw_score[held], positive, group, share=shares[0])
            reasons[fold] = "" if found[fold] else BELOW_CHANCE
    return found, reasons


def _run_info(
    members: Sequence[RunFolder],
    names: Sequence[str],
    out: Path,
    calibrations: dict[int | None, Calibration | None],
    reasons: dict[int | None, str],
) -> RunInfo:
    first = members[0].info
    seconds = {
        "fit": sum(sum(member.info.seconds.values()) - member.info.seconds["predict"] for member in members),
        "predict": sum(member.info.seconds["predict"] for member in members),
    }
    notes = [f"{member.name}: {member.info.note}" for member in members if member.info.note]
    return RunInfo(
        family=COMBINED,
        recipe=RECIPES.join(member.info.recipe for member in members),
        parameters={
            "rule": "mean of the log odds of the calibrated probabilities",
            "members": {
                name: sha256_of(member.folder / "run.json") for name, member in zip(names, members, strict=True)
            },
        },
        background=first.background,
        seed=first.seed,
        split=first.split,
        leaky=any(member.info.leaky for member in members),
        classes=first.classes,
        shared_subject_groups=first.shared_subject_groups,
        checksums={name: value for name, value in first.checksums.items() if name not in OWN_INPUTS},
        seconds=seconds,
        command=command_line("combine", [os.fspath(member.folder) for member in members], {"--out": os.fspath(out)}),
        changed=tuple(f"{member.info.recipe}: {each}" for member in members for each in member.info.changed),
        excluded={path: reason for member in members for path, reason in member.info.excluded.items()},
        calibration=by_fold(calibrations),
        note="; ".join([*notes, *notes_by_fold(reasons)]),
    )


def _member_name(number: int, run: RunFolder) -> str:
    """Return the name of a member's folder: its number keeps the order and makes the name unique."""
    return f"{number}_{run.name}"
