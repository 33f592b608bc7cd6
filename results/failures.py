"""The images that failed, listed beside the table that lacks them: `features.csv` -> `features.failures.csv`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from leukobench.core.files import read_csv_columns, write_csv

COLUMNS = ("path", "reason")


def failures_path(table: Path) -> Path:
    """Where the images that failed are listed."""
    return table.with_suffix(".failures.csv")


def write_failures(failed: Mapping[str, str], table: Path) -> None:
    """List the reason of each image that failed, by path, beside a table; where none failed there is no list."""
    if failed:
        write_csv(pd.DataFrame(failed.items(), columns=COLUMNS), failures_path(table))


def read_failures(table: Path) -> dict[str, str]:
    """Return the reason of each image that failed, by path.

    Raises:
        InputError: the list is malformed.
    """
    path = failures_path(table)
    if not path.exists():
        return {}
    rows = read_csv_columns(path, COLUMNS, "list of failures")
    return dict(zip(rows["path"], rows["reason"], strict=True))
