"""The feature table, which the extractor writes and classifiers read: one row an image, one column a feature.

features.csv               `path`, then one column a feature (or features.parquet)
features.csv.json          feature set, its version, settings, background, manifest, and the table's checksum
features.csv.failures.csv  only if images failed: `path` and `reason`
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

import leukobench
from leukobench.core.errors import MEMORY, InputError
from leukobench.core.files import kind_of_table, read_json, refuse_existing, sha256_of, whole_file, write_json
from leukobench.core.progress import ProgressBar
from leukobench.results.failures import failures_path, read_failures, write_failures

LOG = logging.getLogger(__name__)

SUFFIXES = (".csv", ".parquet")
CHECKSUM = "table_sha256"  # key of the facts in their file
FORMAT = 2  # version of the format of feature tables; leukobench 0.1 wrote none
CSV_ROWS = 1024  # formatted at a time
PARQUET_ROWS = 8192  # of a row group: 16 MB at 250 features

Block = tuple[Sequence[str], np.ndarray]  # paths, and their features [shape=(paths, features)]


@dataclass(frozen=True, kw_only=True)
class TableFacts:
    """The content of `features.csv.json`: how the cells of a feature table were measured.

    Attributes:
        feature_set: Name of the feature set.
        feature_set_version: Version of the feature catalogue.
        settings: Settings of the measurement, by name.
        background: What surrounds the cells, see `leukobench.cells.cell.find_cell`.
        columns: Number of features.
        manifest: First 16 digits of the manifest's checksum.
        leukobench: Version.
        format: Version of the feature table's format.
    """

    feature_set: str
    feature_set_version: str
    settings: Mapping[str, Any]
    background: str
    columns: int
    manifest: str
    leukobench: str = leukobench.__version__
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """Return the content of `features.csv.json` but for the table's checksum."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, content: object, path: Path) -> TableFacts:
        """Check and return the content of the file `path`.

        Raises:
            InputError: the file is of another format or lacks a key.
        """
        if not isinstance(content, dict):
            raise InputError(f"{path}: does not describe a feature table; extract again")
        if content.get("format") != FORMAT:
            version = content.get("leukobench", "another version")
            raise InputError(
                f"{path}: was written by leukobench {version}, whose feature tables this version "
                f"({leukobench.__version__}) does not read; extract again"
            )
        names = [each.name for each in fields(cls)]
        missing = [name for name in names if name not in content]
        if missing:
            raise InputError(f"{path}: lacks {', '.join(missing)}; extract again")
        kinds: dict[str, tuple[type, str]] = dict.fromkeys(names, (str, "text"))
        kinds |= dict.fromkeys(("columns", "format"), (int, "a whole number"))
        kinds["settings"] = dict, "a table of names and values"
        for name, (kind, what) in kinds.items():
            if type(content[name]) is not kind:
                raise InputError(f"{path}: {name} is not {what}; extract again")
        return cls(**{name: content[name] for name in names})

    @property
    def measurement(self) -> dict[str, Any]:
        """How the cells were measured, with the settings by name; tables with equal values are interchangeable."""
        facts = self.to_json()
        of_table = {name: facts[name] for name in ("feature_set", "feature_set_version", "background", "columns")}
        return of_table | facts["settings"]


@dataclass(frozen=True)
class FeatureTable:
    """A feature table as read.

    Attributes:
        values: One row an image, indexed by `path`, one column a feature.
        facts: How the cells were measured; None without `features.csv.json`, such as for a table of another program.
        failed: Reason of each failed image, by path.
    """

    values: pd.DataFrame
    facts: TableFacts | None
    failed: dict[str, str]


def facts_path(table: Path) -> Path:
    """Return the path of the facts of a feature table: `features.csv` -> `features.csv.json`."""
    return table.with_name(f"{table.name}.json")


def check_destination(path: Path, *, resumed: bool = False) -> None:
    """Raise InputError if a feature table cannot be written to `path`.

    Args:
        path: The table.
        resumed: Whether the two files next to the table may exist, written by the interrupted run; they are replaced.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: is not a name of a feature table; choose one that ends in {' or '.join(SUFFIXES)}")
    for file in (path,) if resumed else (path, facts_path(path), failures_path(path)):
        refuse_existing(file)


def write_feature_table(
    blocks: Iterable[Block], columns: Sequence[str], facts: TableFacts | None, failed: dict[str, str], path: Path
) -> None:
    """Write a feature table and the two files next to it; the table gets its name last.

    About a thousand rows are in memory at a time. The bytes do not depend on the sizes of the blocks, and every number
    reads back unchanged.

    Args:
        blocks: The rows, in blocks of any size.
        columns: Names of the features.
        facts: Content of `features.csv.json`; None for no such file.
        failed: Reason of each failed image, by path.
        path: `.csv` or `.parquet`.
    """
    refuse_existing(path)
    write_failures(failed, path)
    write = _write_csv if path.suffix == ".csv" else _write_parquet
    with whole_file(path) as unfinished:
        write(ProgressBar(LOG, blocks, desc="writing", unit="block"), columns, unfinished)
        if facts is not None:
            write_facts(facts, unfinished, facts_path(path))


def write_facts(facts: TableFacts, table: Path, path: Path) -> None:
    """Write the facts of a complete table, with its checksum, to `path`."""
    write_json(facts.to_json() | {CHECKSUM: sha256_of(table)}, path, replace=True)


def _write_csv(blocks: Iterable[Block], columns: Sequence[str], path: Path) -> None:
    without_header = pyarrow.csv.WriteOptions(include_header=False)
    with open(path, "w", newline="", encoding="utf-8") as file:
        file.write(",".join(map(_csv_cell, ("path", *columns))) + "\n")
        for paths, values in _recut(blocks, CSV_ROWS):
            numbers = pa.BufferOutputStream()
            # much faster than Python's own, and as exact: the shortest text that reads back as the same number
            pyarrow.csv.write_csv(pa.Table.from_arrays(list(values.T), names=list(columns)), numbers, without_header)
            lines = numbers.getvalue().to_pybytes().decode().splitlines()
            file.writelines(f"{_csv_cell(path)},{line}\n" for path, line in zip(paths, lines, strict=True))


def _csv_cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if re.search('[",\r\n]', text) else text


def _write_parquet(blocks: Iterable[Block], columns: Sequence[str], path: Path) -> None:
    schema = pa.schema([("path", pa.string()), *((column, pa.float64()) for column in columns)])
    # feature values rarely repeat, so a dictionary would cost time and space
    with pyarrow.parquet.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for paths, values in _recut(blocks, PARQUET_ROWS):
            writer.write_table(pa.Table.from_arrays([pa.array(paths), *values.T], schema=schema))


def _recut(blocks: Iterable[Block], rows: int) -> Iterator[Block]:
    """Regroup rows into blocks of `rows` rows; the last block may be shorter."""
    paths: list[str] = []
    parts: list[np.ndarray] = []
    for more, values in blocks:
        paths += more
        parts.append(values)
        if len(paths) >= rows:
            joined = np.concatenate(parts)
            whole = len(paths) // rows * rows
            for first in range(0, whole, rows):
                yield paths[first : first + rows], joined[first : first + rows]
            paths, parts = paths[whole:], [joined[whole:]]
    if paths:
        yield paths, np.concatenate(parts)


def read_feature_table(path: Path) -> FeatureTable:
    """Read a feature table.

    Raises:
        InputError: not a feature table, a duplicated path or column, a value that is not a finite number, or a
            `features.csv.json` that cannot be read or is of another table.
    """
    try:
        if path.suffix == ".parquet":
            values = pyarrow.parquet.read_table(path).to_pandas()
        else:
            types = pyarrow.csv.ConvertOptions(column_types={"path": pa.string()})
            values = pyarrow.csv.read_csv(path, convert_options=types).to_pandas()
    except MemoryError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:  # most of pyarrow's own errors are ValueErrors
        if "launch worker thread" in str(error):
            raise MemoryError(MEMORY) from None
        raise InputError(f"{path}: cannot be read as a feature table ({' '.join(str(error).split())})") from None
    found = kind_of_table(values.columns)
    if found not in ("", "feature table"):
        raise InputError(f"{path}: is a {found}; `extract` makes the feature table")
    if "path" not in values.columns or len(values.columns) < 2 or values.empty:
        raise InputError(f"{path}: is not a feature table; expected the column path and one column for each feature")
    if not values.columns.is_unique:
        duplicate = values.columns[values.columns.duplicated()][0]
        raise InputError(f"{path}: the column {duplicate!r} is duplicated; fix it or extract again")
    if values["path"].duplicated().any():
        duplicate = values["path"][values["path"].duplicated()].iloc[0]
        raise InputError(f"{path}: {duplicate!r} is duplicated; extract again")
    values = values.set_index("path")
    for column in values.columns:
        if not pd.api.types.is_numeric_dtype(values[column]) or not np.isfinite(values[column]).all():
            raise InputError(f"{path}: the column {column!r} contains values that are not finite numbers; fix it")
    return FeatureTable(values.astype(float), _read_facts(path), read_failures(path))


def _read_facts(table: Path) -> TableFacts | None:
    path, old = facts_path(table), table.with_suffix(".json")
    if not path.exists():
        if old.exists():
            raise InputError(
                f"{old}: was written by leukobench 0.4 or older, and does not tell which table it describes; "
                f"extract again, or remove it if it is not of {table.name}"
            )
        return None
    content = read_json(path, "extract again")
    facts = TableFacts.from_json(content, path)
    if content.get(CHECKSUM) != sha256_of(table):
        raise InputError(
            f"{path}: describes another table than {table} (the checksum differs); extract again, "
            "or remove it if the table was changed on purpose"
        )
    return facts
