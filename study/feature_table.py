"""The feature table: one row an image, one column a feature; what the extractor writes and classifiers read.

features.csv           `path`, then one column a feature (or features.parquet)
features.json          which feature set of which version, on which background, and the manifest it was extracted by
features.failures.csv  only where images failed: `path` and `reason`
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from study.errors import StudyError
from study.files import read_csv_columns, refuse_existing, whole_file, write_csv, write_json

SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class FeatureTable:
    """A feature table as read.

    Attributes:
        values: One row an image, indexed by `path`, one column a feature.
        facts: What `features.json` says; empty where it is missing.
        failed: Reason of each image that failed, by path.
    """

    values: pd.DataFrame
    facts: dict[str, Any]
    failed: dict[str, str]


def facts_path(table: Path) -> Path:
    """Where the facts about a feature table lie."""
    return table.with_suffix(".json")


def failures_path(table: Path) -> Path:
    """Where the images that failed are listed."""
    return table.with_suffix(".failures.csv")


def check_destination(path: Path) -> None:
    """Raise StudyError where a feature table cannot be written to `path`."""
    if path.suffix not in SUFFIXES:
        raise StudyError(f"{path}: a feature table ends in {' or '.join(SUFFIXES)}")
    for file in (path, facts_path(path), failures_path(path)):
        refuse_existing(file)


def write_feature_table(values: pd.DataFrame, facts: dict[str, Any], failed: dict[str, str], path: Path) -> None:
    """Write a feature table and what belongs beside it; the table itself comes last.

    Args:
        values: One row an image, indexed by path.
        facts: For `features.json`.
        failed: Reason of each image that failed, by path.
        path: `.csv` or `.parquet`.
    """
    check_destination(path)
    if failed:
        write_csv(pd.DataFrame({"path": list(failed), "reason": list(failed.values())}), failures_path(path))
    write_json(facts, facts_path(path))
    table = values.rename_axis("path").reset_index()
    if path.suffix == ".csv":
        write_csv(table, path)
    else:
        with whole_file(path) as partial:
            table.to_parquet(partial, index=False)


def read_feature_table(path: Path) -> FeatureTable:
    """Read a feature table.

    Raises:
        StudyError: not a feature table, a path that stands twice, or a value that is no finite number.
    """
    try:
        values = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"path": str})
    except (OSError, ValueError) as error:  # pandas' and pyarrow's own errors are ValueErrors
        raise StudyError(f"{path}: cannot be read as a feature table ({' '.join(str(error).split())})") from None
    if "path" not in values.columns or len(values.columns) < 2 or values.empty:
        raise StudyError(f"{path}: is no feature table; expected the column path and one column a feature")
    if values["path"].duplicated().any():
        twice = values["path"][values["path"].duplicated()].iloc[0]
        raise StudyError(f"{path}: {twice!r} stands twice; extract again")
    values = values.set_index("path")
    for column in values.columns:
        if not pd.api.types.is_numeric_dtype(values[column]) or not np.isfinite(values[column]).all():
            raise StudyError(f"{path}: the column {column!r} holds values that are no finite numbers; mend it")
    facts, failures = facts_path(path), failures_path(path)
    failed = read_csv_columns(failures, ("path", "reason"), "list of failures") if failures.exists() else None
    return FeatureTable(
        values=values.astype(float),
        facts=json.loads(facts.read_text(encoding="utf-8")) if facts.exists() else {},
        failed={} if failed is None else dict(zip(failed["path"], failed["reason"], strict=True)),
    )
