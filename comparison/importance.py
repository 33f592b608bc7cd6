"""The tables of permutation importance that run folders hold."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from leukobench.comparison.results import ComparedRuns
from leukobench.core.errors import InputError
from leukobench.results.run import RunFolder

IMPORTANCE = {"importance.csv": "features", "importance_by_family.csv": "feature families"}


def importance_tables(comparison: ComparedRuns) -> dict[str, pd.DataFrame]:
    """Read the importances of every run that has them, by the name of their figure; see `read_importance`."""
    return {
        importance_name(number, file): read_importance(run, file)
        for number, run in enumerate(comparison.runs.values())
        for file in IMPORTANCE
        if (run.folder / file).is_file()
    }


def importance_name(number: int, file: str) -> str:
    """Return the name of the figure of an importance file of a run, which is counted from 0."""
    return f"{Path(file).stem}_{number + 1}"


def read_importance(run: RunFolder, file: str) -> pd.DataFrame:
    """Read importances: the name first, then `importance` (in the file also `drop`), and `low` and `high` if known.

    Raises:
        InputError: the file cannot be read or is no such table.
    """
    path = run.folder / file
    try:
        table = pd.read_csv(path).rename(columns={"drop": "importance"})
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); train again") from None
    name = next((column for column in ("feature", "family") if column in table), None)
    if name is None or "importance" not in table or table.empty:
        raise InputError(f"{path}: is no table of importances (feature or family, importance); train again")
    numbers = ["importance", *(column for column in ("low", "high") if column in table)]
    if not all(map(pd.api.types.is_numeric_dtype, table[numbers].dtypes)):
        raise InputError(f"{path}: contains importances that are not numbers; train again")
    return table[[name, *numbers]]
