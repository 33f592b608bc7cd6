"""Reference cells of explanations: training cells, stored in the run folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.classifiers.cells import LabelledCells, evenly, labelled_cells
from leukobench.cohort.manifest import LABELS
from leukobench.core.errors import InputError

REFERENCE = "reference.csv"
OF_EACH_CLASS = 25  # each takes about 2,000 predictions of the model with 347 features
COLUMNS = ("path", "label", "subject_group")  # followed by one column a feature


def choose_reference(values: pd.DataFrame, rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Sample up to `OF_EACH_CLASS` cells of each class, evenly from its subject groups.

    Args:
        values: Feature table, indexed by path.
        rows: The cells that the model was fitted on: `path`, `label`, `subject_group`.
        seed: Random seed.

    Returns:
        The table `reference.csv`: `COLUMNS`, then the features.
    """
    rng = np.random.default_rng(seed)
    of_classes = [rows.loc[rows["label"] == label, list(COLUMNS)] for label in LABELS]
    chosen = pd.concat([of.iloc[evenly(of["subject_group"].to_numpy(), OF_EACH_CLASS, rng)] for of in of_classes])
    features = values.loc[chosen["path"]].reset_index(drop=True)
    return pd.concat([chosen.reset_index(drop=True), features], axis=1)


def read_reference(folder: Path) -> LabelledCells:
    """Read the reference cells of a complete run folder.

    Raises:
        InputError: the run folder has none.
    """
    file = folder / REFERENCE
    if not file.is_file():
        raise InputError(f"{folder}: contains no {REFERENCE}; train again")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    features = table.iloc[:, len(COLUMNS) :].astype(float)  # from text, so that every number reads back as it was
    return labelled_cells(features, table["label"], table["subject_group"])
