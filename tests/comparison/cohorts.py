"""Run folders with known contents, for the tests of the comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leukobench.results.run import RunFolder, predictions_table, write_run
from leukobench.results.run_info import RunInfo


def make_rows(groups: int = 12, cells: int = 10, part: str = "test", prefix: str = "") -> pd.DataFrame:
    """Rows of a partition: subjects H0, 1, H2, 3, ... with so many cells each, every second one a blast's."""
    names = np.repeat([f"{prefix}{'' if number % 2 else 'H'}{number}" for number in range(groups)], cells)
    return pd.DataFrame(
        {
            "path": [f"{name}_{number}.bmp" for number, name in enumerate(names)],
            "subject": names,
            "subject_group": names,
            "label": np.where([int(name.strip("vH")) % 2 for name in names], "all", "hem"),
            "part": part,
        }
    )


def scores(label: pd.Series, shift: float, seed: int) -> np.ndarray:
    """Scores whose logits lie `shift` standard deviations higher where the cell is a blast."""
    logit = np.random.default_rng(seed).normal(size=len(label)) + shift * (label == "all").to_numpy()
    return 1 / (1 + np.exp(-logit))


def make_run(
    folder: Path,
    *,
    groups: int = 12,
    cells: int = 10,
    shift: float = 1.0,
    seed: int = 0,
    leaky: bool = False,
    manifest: str = "0123456789abcdef",
    folds: int = 0,
    validation: bool = False,
    rows: pd.DataFrame | None = None,
    score: np.ndarray | None = None,
    history: pd.DataFrame | None = None,
    **info: Any,
) -> RunFolder:
    """Write a run: of `rows` and `score` where they are given, else of made-up ones."""
    rows = make_rows(groups, cells) if rows is None else rows
    score = scores(rows["label"], shift, seed) if score is None else score
    tables = [predictions_table(rows, score)]
    if folds:
        fold = rows.groupby("subject_group").ngroup() // 2 % folds
        tables = [predictions_table(rows[fold == number], score[fold == number], number) for number in range(folds)]
    if validation:
        held = make_rows(6, cells, "validation", "v")
        tables.append(predictions_table(held, scores(held["label"], shift, seed + 100)))
    facts = {
        "family": "svm",
        "recipe": "a-recipe",
        "parameters": {},
        "seed": seed,
        "background": "black",
        "split": "image-LEAKY test=0.2" if leaky else "kfold folds=3" if folds else "subject test=0.2",
        "leaky": leaky,
        "shared_subject_groups": groups * leaky,
        "checksums": {"manifest": manifest, "partition": "f" * 64},
        "excluded": {},
        "seconds": {"fit": 1.5, "predict": 0.1},
        "command": ("leukobench", "train-svm"),
    }

    def save(folder: Path) -> None:
        (folder / "model.txt").write_text("0123456789")

    return write_run(folder, RunInfo(**facts | info), pd.concat(tables, ignore_index=True), save, history)
