from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from leukobench.core.errors import InputError
from leukobench.results.feature_table import (
    PARQUET_ROWS,
    Block,
    TableFacts,
    facts_path,
    read_feature_table,
    write_feature_table,
)


def blocks(values: np.ndarray, rows: int) -> list[Block]:
    """Cut a table in blocks of so many rows."""
    paths = [f"fold_0/all/{row}.bmp" for row in range(len(values))]
    return [(paths[row : row + rows], values[row : row + rows]) for row in range(0, len(values), rows)]


def any_numbers(count: int) -> np.ndarray:
    """Draw finite floats whose bits are random: every sign, exponent and mantissa."""
    bits = np.random.default_rng(0).integers(0, 2**64, 2 * count, dtype=np.uint64)
    numbers = bits.view(np.float64)
    return numbers[np.isfinite(numbers)][:count]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_every_number_reads_back_unchanged(tmp_path: Path, name: str) -> None:
    special = [0.0, -0.0, 1.0, 0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 2.0**53 + 2, 1e22, 123456789.0]
    values = np.concatenate([special, any_numbers(29_990)]).reshape(-1, 3)
    write_feature_table(blocks(values, 32), ["a_x", "a_y", "a_z"], None, {}, tmp_path / name)
    table = read_feature_table(tmp_path / name).values
    assert np.array_equal(table.to_numpy().view(np.uint64), values.view(np.uint64))
    assert table.index.tolist() == [f"fold_0/all/{row}.bmp" for row in range(len(values))]


def test_python_reads_the_same_numbers_from_the_csv(tmp_path: Path) -> None:
    values = any_numbers(1000)[:, None]
    write_feature_table(blocks(values, 1000), ["a_x"], None, {}, tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_bytes().decode().split("\n")
    assert (lines[0], lines[-1], len(lines)) == ("path,a_x", "", 1002)
    assert [float(line.split(",")[1]) for line in lines[1:-1]] == values[:, 0].tolist()


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_the_bytes_do_not_depend_on_the_blocks(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(0).normal(size=(2 * PARQUET_ROWS + 5, 3))
    for folder, rows in (("one", len(values)), ("few", 32), ("odd", 5003)):
        write_feature_table(blocks(values, rows), ["a", "b", "c"], None, {}, tmp_path / folder / name)
    written = [(tmp_path / folder / name).read_bytes() for folder in ("one", "few", "odd")]
    assert written[0] == written[1] == written[2]


def test_a_parquet_file_has_row_groups_of_one_size(tmp_path: Path) -> None:
    write_feature_table(blocks(np.ones((PARQUET_ROWS + 5, 1)), 32), ["a_x"], None, {}, tmp_path / "a.parquet")
    metadata = pyarrow.parquet.ParquetFile(tmp_path / "a.parquet").metadata
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [PARQUET_ROWS, 5]


def test_paths_with_commas_quotes_and_letters_of_other_alphabets_read_back(tmp_path: Path) -> None:
    paths = ["a,b.bmp", 'say "cell".bmp', "Zelle 1/бласт.bmp", "007", "NA", "1e5"]
    write_feature_table([(paths, np.ones((6, 1)))], ["a_x"], None, {}, tmp_path / "a.csv")
    assert read_feature_table(tmp_path / "a.csv").values.index.tolist() == paths
    assert pd.read_csv(tmp_path / "a.csv", dtype=str, keep_default_na=False)["path"].tolist() == paths


def test_a_table_as_large_as_the_training_images_reads_in_seconds(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(10_661, 250))
    columns = [f"texture_{number}" for number in range(250)]
    write_feature_table(blocks(values, 32), columns, None, {}, tmp_path / "a.csv")
    begin = time.process_time()
    table = read_feature_table(tmp_path / "a.csv").values
    assert time.process_time() - begin < 10  # 1 s where it was written
    assert np.array_equal(table.to_numpy(), values)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,geometry_area\na.bmp,1\na.bmp,2\n", "is duplicated"),
        ("path,geometry_area\na.bmp,\nb.bmp,2\n", "not finite numbers"),
        ("path,geometry_area\na.bmp,large\n", "not finite numbers"),
        ("path,geometry_area\na.bmp,inf\n", "not finite numbers"),
        ("path,geometry_area,geometry_area\na.bmp,1,2\n", "'geometry_area' is duplicated"),
        ("file,geometry_area\na.bmp,1\n", "is not a feature table"),
        ("path,geometry_area\n", "is not a feature table"),
        ("path,geometry_area\na.bmp,1,2\n", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(InputError, match=reason):
        read_feature_table(tmp_path / "bad.csv")


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_text("path,geometry_area\na.bmp,1\n")
    with pytest.raises(InputError, match=r"bad.parquet: cannot be read as a feature table"):
        read_feature_table(tmp_path / "bad.parquet")


def test_facts_that_are_no_json_are_refused(tmp_path: Path) -> None:
    write_feature_table([(["a.bmp"], np.ones((1, 1)))], ["a_x"], FACTS, {}, tmp_path / "a.csv")
    facts_path(tmp_path / "a.csv").write_text('{"columns": ')
    with pytest.raises(InputError, match=r"a.csv.json: cannot be read"):
        read_feature_table(tmp_path / "a.csv")


def test_a_table_saved_by_a_spreadsheet_reads(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("\ufeffpath,geometry_area\r\na.bmp,1\r\n".encode())
    assert read_feature_table(tmp_path / "a.csv").values.to_dict() == {"geometry_area": {"a.bmp": 1.0}}


FACTS = TableFacts(
    feature_set="patel",
    feature_set_version="1.0",
    settings={"levels": 64, "distances": [1]},
    background="black",
    columns=1,
    manifest="0" * 16,
)


def test_facts_read_back_unchanged(tmp_path: Path) -> None:
    write_feature_table(blocks(np.ones((3, 1)), 3), ["a_x"], FACTS, {}, tmp_path / "a.csv")
    assert read_feature_table(tmp_path / "a.csv").facts == FACTS
    assert FACTS.measurement["levels"] == 64
    assert "manifest" not in FACTS.measurement


def test_facts_belong_to_one_table(tmp_path: Path) -> None:
    for number, name in enumerate(("a.csv", "a.parquet")):
        write_feature_table(
            blocks(np.full((3, 1), number), 3), ["a_x"], replace(FACTS, background=name), {}, tmp_path / name
        )
    for name in ("a.csv", "a.parquet"):
        assert read_feature_table(tmp_path / name).facts.background == name
    (tmp_path / "a.csv").write_text((tmp_path / "a.csv").read_text() + "more.bmp,3\n")
    with pytest.raises(
        InputError, match=r"a\.csv\.json: describes another table than .*a\.csv \(the checksum differs\)"
    ):
        read_feature_table(tmp_path / "a.csv")
    facts_path(tmp_path / "a.csv").rename(tmp_path / "a.json")
    with pytest.raises(
        InputError, match=r"a\.json: was written by leukobench 0\.4 or older.*; extract again, or remove"
    ):
        read_feature_table(tmp_path / "a.csv")


def test_a_table_of_version_0_1_is_refused_in_one_line(tmp_path: Path) -> None:
    write_feature_table(blocks(np.ones((3, 1)), 3), ["a_x"], FACTS, {}, tmp_path / "a.csv")
    old = {name: value for name, value in FACTS.to_json().items() if name != "format"} | {"leukobench": "0.1.0"}
    facts_path(tmp_path / "a.csv").write_text(json.dumps(old))
    with pytest.raises(InputError, match=r"a\.csv\.json: was written by leukobench 0\.1\.0, .*extract again"):
        read_feature_table(tmp_path / "a.csv")


@pytest.mark.parametrize("facts", [[], {"format": 2}, FACTS.to_json() | {"settings": 3}])
def test_malformed_facts_are_refused(tmp_path: Path, facts: object) -> None:
    write_feature_table(blocks(np.ones((3, 1)), 3), ["a_x"], None, {}, tmp_path / "a.csv")
    facts_path(tmp_path / "a.csv").write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"a\.csv\.json: .*extract again"):
        read_feature_table(tmp_path / "a.csv")


def test_two_tables_of_one_stem_have_a_list_of_failures_each(tmp_path: Path) -> None:
    for name in ("a.csv", "a.parquet"):
        write_feature_table(blocks(np.ones((2, 1)), 2), ["a_x"], None, {f"{name}.bmp": "truncated"}, tmp_path / name)
    for name in ("a.csv", "a.parquet"):
        assert read_feature_table(tmp_path / name).failed == {f"{name}.bmp": "truncated"}
