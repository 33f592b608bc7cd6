"""Any content of a file is used or refused in one line, and what is written reads back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from PIL import Image

from benchmarks.damage import damaged
from benchmarks.fuzz import CORPUS, TARGETS
from benchmarks.fuzz import used_or_refused as used_or_refused_bytes
from leukobench.cells.decoding import FORMATS, read_image
from leukobench.cohort.manifest import COLUMNS, read_manifest, write_manifest
from leukobench.cohort.partition import read_split, write_split
from leukobench.cohort.splitting import SplitOptions, split_by_subject
from leukobench.core.errors import InputError
from leukobench.results.feature_table import read_feature_table, write_feature_table
from leukobench.results.run_info import read_run_info
from tests.comparison.cohorts import make_run

few = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SIGNATURES = (b"", b"BM", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"RIFF")
names = some.text(some.characters(codec="utf-8", exclude_characters="\\/:", exclude_categories=["C", "Z"]), min_size=1)
finite = some.floats(allow_nan=False, allow_infinity=False)
json_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def used_or_refused(read: object, path: Path) -> object:
    """Read a file; an error is one line that begins with its name."""
    try:
        return read(path)
    except InputError as error:
        assert "\n" not in str(error)
        assert str(error).startswith(str(path.parent))
        return None


@few
@given(
    start=some.sampled_from([b"", b"BM", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"RIFF"]), rest=some.binary()
)
def test_any_bytes_are_an_image_or_refused(tmp_path: Path, start: bytes, rest: bytes) -> None:
    (tmp_path / "a.bmp").write_bytes(start + rest)
    used_or_refused(read_image, tmp_path / "a.bmp")


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_of_the_fuzzer_and_its_mutations_are_used_or_refused(tmp_path: Path, target: str) -> None:
    """`benchmarks.fuzz` goes on from these files for as long as one likes."""
    shutil.copytree(CORPUS / "run-folder", tmp_path / "run")
    rng = np.random.default_rng(0)
    for file in sorted((CORPUS / target).iterdir()):
        content = file.read_bytes()
        used_or_refused_bytes(target, content, tmp_path / "run")
        for _ in range(30):
            used_or_refused_bytes(target, damaged(content, rng), tmp_path / "run")


@few
@given(
    form=some.sampled_from([form for form in FORMATS if form not in ("JPEG", "WEBP")]),
    height=some.integers(1, 40),
    width=some.integers(1, 40),
    seed=some.integers(0, 99),
)
def test_pixels_read_back_from_every_lossless_format(
    tmp_path: Path, form: str, height: int, width: int, seed: int
) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a", form)
    assert np.array_equal(read_image(tmp_path / "a").rgb, rgb)


@few
@given(text=some.text(max_size=200), header=some.booleans())
def test_any_text_is_a_table_or_refused(tmp_path: Path, text: str, header: bool) -> None:
    content = (",".join(COLUMNS) + "\n") * header + text
    for name, read in {"m.csv": read_manifest, "s.csv": read_split, "f.csv": read_feature_table}.items():
        (tmp_path / name).write_bytes(content.encode(errors="surrogatepass"))
        used_or_refused(read, tmp_path / name)


@few
@given(rows=some.lists(some.tuples(names, some.sampled_from(["all", "hem"]), names), min_size=1, max_size=8))
def test_a_manifest_of_any_names_reads_back(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    table = pd.DataFrame("", index=range(len(rows)), columns=list(COLUMNS))
    table["path"] = [f"{number}/{name}.bmp" for number, (name, _, _) in enumerate(rows)]
    table["label"] = [label for _, label, _ in rows]
    table["subject"] = table["subject_group"] = [subject.replace("=", "") or "x" for _, _, subject in rows]
    table["sha256"], table["size_bytes"] = "0" * 64, 1
    try:
        write_manifest(table, tmp_path / "m.csv")
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert read_manifest(tmp_path / "m.csv").equals(table)


@few
@given(groups=some.integers(4, 12), size=some.floats(0.2, 0.5), seed=some.integers(0, 999))
def test_no_subject_group_is_in_two_parts(tmp_path: Path, groups: int, size: float, seed: int) -> None:
    subject = [f"{'H' * (number % 2)}{number}" for number in range(groups) for _ in range(1 + number % 3)]
    table = pd.DataFrame("", index=range(len(subject)), columns=list(COLUMNS))
    table["path"], table["subject"], table["subject_group"] = [f"{n}.bmp" for n in table.index], subject, subject
    table["label"] = ["hem" if one.startswith("H") else "all" for one in subject]
    table["phase"], table["sha256"], table["size_bytes"] = "train", "0" * 64, 1
    try:
        made = split_by_subject(table, size, SplitOptions(seed=seed))
    except InputError as error:
        assert "\n" not in str(error)
        return
    (tmp_path / "s.csv").unlink(missing_ok=True)
    write_split(made, tmp_path / "s.csv")
    read = read_split(tmp_path / "s.csv")
    assert read.rows.equals(made.rows)
    assert (read.rows.groupby("subject_group")["part"].nunique() == 1).all()
    assert sorted(read.rows["path"]) == sorted(table["path"])


@few
@given(
    values=some.lists(some.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6),
    parquet=some.booleans(),
)
def test_every_feature_reads_back(tmp_path: Path, values: list[float], parquet: bool) -> None:
    path = tmp_path / ("f.parquet" if parquet else "f.csv")
    path.unlink(missing_ok=True)
    paths = [f"{number}.bmp" for number in range(len(values))]
    write_feature_table([(paths, np.array(values)[:, None])], ["a_x"], None, {}, path)
    assert read_feature_table(path).values["a_x"].tolist() == values


@pytest.fixture(scope="module")
def run_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run") / "made").folder / "run.json"


@few
@given(data=some.data(), value=json_values)
def test_any_value_in_run_json_is_used_or_refused(run_json: Path, data: some.DataObject, value: object) -> None:
    whole = json.loads(run_json.read_text())
    key = data.draw(some.sampled_from(sorted(whole)))
    content = run_json.read_text()
    run_json.write_text(json.dumps(whole | {key: value}))
    try:
        used_or_refused(lambda path: read_run_info(path.parent), run_json)
    finally:
        run_json.write_text(content)
