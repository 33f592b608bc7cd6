"""The cells that a cell is explained against: training cells, kept in the run folder by training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.classifiers.cells import LabelledCells, evenly, labelled_cells
from leukobench.cohort.manifest import LABELS
from leukobench.core.errors import InputError

REFERENCE = "reference.csv"
OF_EACH_CLASS = 25  # each is a way to walk: with 347 columns some 2,000 predictions of the model
COLUMNS = ("path", "label", "subject_group")  # one column a feature follows


def choose_reference(values: pd.DataFrame, rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Take as many cells of each class as can be had up to `OF_EACH_CLASS`, evenly of its subject groups.

    Args:
        values: Feature table, indexed by path.
        rows: The cells that the model was fitted on: `path`, `label`, `subject_group`.
        seed: Which of the many such choices.

    Returns:
        The table `reference.csv`: `COLUMNS`, then the features.
    """
    rng = np.random.default_rng(seed)
    of_classes = [rows.loc[rows["label"] == label, list(COLUMNS)] for label in LABELS]
    chosen = pd.concat([of.iloc[evenly(of["subject_group"].to_numpy(), OF_EACH_CLASS, rng)] for of in of_classes])
    features = values.loc[chosen["path"]].reset_index(drop=True)
    return pd.concat([chosen.reset_index(drop=True), features], axis=1)


def read_reference(folder: Path) -> LabelledCells:
    """Read the reference cells of a run folder that `leukobench.results.run.read_run` has found whole.

    Raises:
        InputError: training did not keep them yet when the folder was written.
    """
    file = folder / REFERENCE
    if not file.is_file():
        raise InputError(f"{folder}: holds no {REFERENCE}, because an earlier leukobench trained it; train again")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    features = table.iloc[:, len(COLUMNS) :].astype(float)  # from text, so that every number reads back as it was
    return labelled_cells(features, table["label"], table["subject_group"])
