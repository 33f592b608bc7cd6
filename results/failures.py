"""The list of failed images, next to the table that lacks them: `features.csv` -> `features.csv.failures.csv`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from leukobench.core.files import read_csv_columns, write_csv

COLUMNS = ("path", "reason")


def failures_path(table: Path) -> Path:
    """Return the path of the list of failed images of a table."""
    return table.with_name(f"{table.name}.failures.csv")


def write_failures(failed: Mapping[str, str], table: Path) -> None:
    """Write the list of failed images (reason by path) next to a table; no failed image, no list."""
    if failed:
        write_csv(pd.DataFrame(failed.items(), columns=COLUMNS), failures_path(table), replace=True)


def read_failures(table: Path) -> dict[str, str]:
    """Return the reason of each failed image, by path.

    Raises:
        InputError: the list is malformed.
    """
    path = failures_path(table)
    if not path.exists():
        return {}
    rows = read_csv_columns(path, COLUMNS, "list of failures")
    return dict(zip(rows["path"], rows["reason"], strict=True))
