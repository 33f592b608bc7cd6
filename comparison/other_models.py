"""Scores of a model that leukobench did not train, as a run beside run folders."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from leukobench.core.errors import InputError
from leukobench.core.files import read_csv_columns, sha256_of
from leukobench.results.run import RunFolder, predictions_table
from leukobench.results.run_info import RunInfo

OTHER = "other"  # family of such a run
COLUMNS = ("path", "label", "score")
KIND = "table of scores"


def read_other_model(path: Path, beside: RunFolder) -> RunFolder:
    """Read a table of scores (CSV): `path`, `label`, `score` (the probability of `all`) and perhaps `subject`.

    Args:
        path: The table; rows that the run did not test are not used.
        beside: A run tested on the same images. It gives subject groups and folds, and has label and subject checked.

    Raises:
        InputError: a malformed table, a score that is no probability, an image that is listed twice, a label or a
            subject that is another than that of the run, or no image that the run tested.
    """
    table = read_csv_columns(path, COLUMNS, KIND, optional=["subject"])
    if table["path"].duplicated().any():
        raise InputError(f"{path}: {table['path'][table['path'].duplicated()].iloc[0]!r} is listed twice; fix it")
    score = pd.to_numeric(table["score"], errors="coerce")
    if not score.between(0, 1).all():
        wrong = table["path"][~score.between(0, 1)].iloc[0]
        raise InputError(f"{path}: the score of {wrong!r} is no probability of `all` from 0 to 1; fix it")
    given = table.assign(score=score).set_index("path")
    rows = beside.part("test")
    rows = rows[rows["path"].isin(given.index)]
    if rows.empty:
        raise InputError(
            f"{path}: lists no image that {beside.folder} tested; its paths must be those of the manifest (such as "
            f"{beside.part('test')['path'].iloc[0]})"
        )
    given = given.loc[rows["path"]]
    for column in [column for column in ("label", "subject") if column in given]:
        differs = given[column].to_numpy() != rows[column].to_numpy()
        if differs.any():
            first = rows[differs].iloc[0]
            said = given[column][first["path"]]
            raise InputError(
                f"{path}: {first['path']!r} has the {column} {said!r}, and {first[column]!r} in {beside.folder}; fix it"
            )
    predictions = predictions_table(rows, given["score"].to_numpy()).assign(fold=rows["fold"])
    info = RunInfo(
        family=OTHER,
        recipe="another program",
        parameters={},
        background=beside.info.background,
        seed=0,
        split="unknown",
        leaky=beside.info.leaky,
        shared_subject_groups=0,
        checksums={"manifest": beside.info.checksums["manifest"]},
        seconds={"fit": float("nan"), "predict": float("nan")},
        command=("#", "another program wrote", str(path)),
        note="scores of another program; its training is not known",
        device="an unknown device",
        leukobench="not used",
        files={"predictions.csv": sha256_of(path)},
    )
    return RunFolder(path, info, predictions, {}, None)
