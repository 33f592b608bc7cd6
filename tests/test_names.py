"""Names that are hard to write, in tables, reports and commands; and surroundings in which nothing can be written."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from leukobench.classifiers.training import train_classifier
from leukobench.cli import main
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest, write_manifest
from leukobench.comparison.runs import compare
from leukobench.core.errors import InputError
from leukobench.core.files import read_json, without_formulas, write_json
from leukobench.core.text import printable
from leukobench.results.run import read_run_folder
from tests.comparison.cohorts import make_rows, make_run
from tests.conftest import REPOSITORY

NOT_UTF8 = os.fsdecode(b"caf\xe9.bmp")
HARD = [r"$\frac{$", r"a~b^c\d_e&f%g#h", "=1+1", "+a", "@b", "-c", "$x$", "a|b", "<b>&amp;", "a b", NOT_UTF8]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")


def leukobench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def process(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "leukobench.cli", *map(os.fspath, map(str, arguments))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))}
    options = {"capture_output": True, "env": environment, "timeout": 120} | options
    return subprocess.run(command, **options)


@pytest.mark.parametrize("name", ["a\rb.bmp", "a\nb.bmp", "a\tb.bmp", NOT_UTF8, "a\\b.bmp"])
def test_an_image_that_no_manifest_can_name_is_refused_in_one_line_before_images_are_read(
    cohort: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(cohort / "images", tmp_path / "images")
    first = min((tmp_path / "images").rglob("*.bmp"))
    first.rename(first.with_name(name))
    result = process("manifest", tmp_path / "images", "-o", tmp_path / "manifest.csv")
    assert result.returncode == 1
    (line,) = result.stderr.decode().splitlines()
    assert line.startswith(f"Error: {tmp_path / 'images'}: ")
    assert line.endswith("rename the file")
    assert not list(tmp_path.glob("*manifest*"))


def test_what_a_manifest_writes_it_reads(cohort: Path, tmp_path: Path) -> None:
    names = ["a,b.bmp", 'a"b.bmp', " a.bmp", "é.bmp", "名　前.bmp", "=a.bmp", "NA.bmp", "a b.bmp", "🩸.bmp", "'a.bmp"]
    shutil.copytree(cohort / "images", tmp_path / "images")
    for path, name in zip(sorted((tmp_path / "images").rglob("*.bmp")), names, strict=False):
        path.rename(path.with_name(name))
    manifest = index_folder(tmp_path / "images", subject_regex=r"fold_(\d)", out=tmp_path / "manifest.csv")
    assert {path.rpartition("/")[2] for path in manifest["path"]} >= set(names)
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "manifest.csv"), manifest)


@pytest.mark.parametrize("path", ["a\rb.bmp", "a\x00b.bmp", "a\nb.bmp"])
def test_a_manifest_with_a_control_character_is_neither_written_nor_read(
    cohort: Path, tmp_path: Path, path: str
) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    manifest.loc[0, "path"] = path
    with pytest.raises(InputError, match="has a control character"):
        write_manifest(manifest, tmp_path / "manifest.csv")
    manifest.to_csv(tmp_path / "manifest.csv", index=False, quoting=csv.QUOTE_ALL)
    with pytest.raises(InputError, match=r"manifest\.csv: ") as caught:
        read_manifest(tmp_path / "manifest.csv")
    assert len(str(caught.value).splitlines()) == 1


def test_a_size_of_10_to_the_30_in_a_manifest_is_refused(cohort: Path, tmp_path: Path) -> None:
    manifest = read_manifest(cohort / "manifest.csv").astype({"size_bytes": str})
    manifest.loc[0, "size_bytes"] = str(10**30)
    manifest.to_csv(tmp_path / "manifest.csv", index=False)
    with pytest.raises(InputError, match="size_bytes"):
        read_manifest(tmp_path / "manifest.csv")


def test_runs_of_any_name_are_reported(tmp_path: Path) -> None:
    rows = make_rows(12, 4)
    runs = [make_run(tmp_path / name, rows=rows, seed=number) for number, name in enumerate(HARD)]
    command = ("leukobench", "train-svm", "a table.csv", "--split", "$(reboot).csv")
    runs.append(make_run(tmp_path / "quoted", rows=rows, seed=99, command=command))
    out = tmp_path / "=report"
    result = process("compare", *(run.folder for run in runs), "-o", out)
    assert result.returncode == 0, result.stderr.decode()

    html = (out / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;amp;" in html
    assert "leukobench train-svm &#39;a table.csv&#39; --split &#39;$(reboot).csv&#39;" in html

    tex = (out / "table.tex").read_text(encoding="utf-8")
    assert r"a\textasciitilde b\textasciicircum c\textbackslash d\_e\&f\%g\#h" in tex
    assert r"\$\textbackslash frac\{\$" in tex

    table = pd.read_csv(out / "table.csv")
    assert {"'=1+1", "'+a", "'@b", "'-c", "$x$", r"caf\udce9.bmp"} <= set(table["run"])
    for file in ("table.csv", "subjects.csv"):
        with open(out / file, newline="", encoding="utf-8") as lines:
            cells = [cell for row in csv.reader(lines) for cell in row]
        assert not [cell for cell in cells if re.match(r"[=+@]|-[^\d.]", cell)]


def test_numbers_are_not_taken_for_formulas_and_words_within_are_kept() -> None:
    table = pd.DataFrame({"run": ["=a", "a=b", "-1", ""], "value": [-1.5, 2.0, float("nan"), 0.0]})
    safe = without_formulas(table)
    assert safe["run"].tolist() == ["'=a", "a=b", "'-1", ""]
    pd.testing.assert_series_equal(safe["value"], table["value"])


def test_a_dollar_in_the_name_of_a_run_is_a_dollar_in_its_figures(tmp_path: Path) -> None:
    run = make_run(tmp_path / r"$\frac{$")
    compare([run]).report(tmp_path / "report")
    assert r"$\frac{$" in (tmp_path / "report" / "auroc.svg").read_text(encoding="utf-8")


def test_a_run_in_a_folder_whose_name_is_not_utf8_keeps_its_command(tmp_path: Path) -> None:
    command = ("leukobench", "train-svm", NOT_UTF8, "a\rb", "--split", "split.csv")
    run = make_run(tmp_path / NOT_UTF8, command=command)
    assert read_run_folder(run.folder).info.command == command
    shown = json.loads((run.folder / "run.json").read_text(encoding="utf-8"))["command"]
    assert tuple(shlex.split(shown)) == command


def test_json_of_a_name_that_is_not_utf8_reads_back(tmp_path: Path) -> None:
    write_json({"path": NOT_UTF8}, tmp_path / "facts.json")
    assert read_json(tmp_path / "facts.json", "")["path"] == NOT_UTF8
    assert printable("é 名　前\r\x00" + NOT_UTF8) == "é 名　前\\r\\x00caf\\udce9.bmp"


def test_images_whose_names_are_not_utf8_are_refused_or_explained_with_escapes(cohort: Path, tmp_path: Path) -> None:
    run = train_classifier(
        cohort / "features.csv", cohort / "split.csv", tmp_path / "knn", recipe="leukobench-knn", importance=False
    )
    shutil.copytree(cohort / "images", tmp_path / "images")
    shutil.copyfile(min((cohort / "images").rglob("*.bmp")), tmp_path / "images" / NOT_UTF8)
    out = tmp_path / "table.csv"
    for command in (
        ("predict", run.folder, tmp_path / "images"),
        ("verify", tmp_path / "images", "--manifest", cohort / "manifest.csv"),
    ):
        result = process(*command, "-o", out)
        assert result.returncode == 1
        (line,) = result.stderr.decode().splitlines()
        assert line.startswith(rf"Error: {tmp_path / 'images'}: caf\udce9.bmp has ")
        assert not out.exists()
    result = process("explain", run.folder, tmp_path / "images" / NOT_UTF8, "-o", tmp_path / "explained")
    assert result.returncode == 0, result.stderr.decode()
    explained = pd.read_csv(tmp_path / "explained" / "explanations.csv")
    assert explained["path"].tolist() == [rf"{tmp_path / 'images'}/caf\udce9.bmp"]


def test_a_nul_in_a_path_is_refused_in_one_line(tmp_path: Path) -> None:
    for read in (read_manifest, read_run_folder):
        with pytest.raises(InputError) as caught:
            read(f"{tmp_path}/a\x00b")
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("arguments", [("--help",), ("features",), ("recipes",), ("split", "-o", "split.csv")])
def test_a_full_disk_behind_the_output_ends_in_one_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        result = process(*arguments, capture_output=False, stdout=full, stderr=subprocess.PIPE, cwd=tmp_path)
    assert result.stderr.decode() == "Error: No space left on device\n"
    assert result.returncode == 1


def test_a_deleted_working_folder_ends_in_one_line(cohort: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    script = 'mkdir "$1" && cd "$1" && rmdir "$1" && shift && exec "$@"'
    command = [sys.executable, "-m", "leukobench.cli", "extract", "images", cohort / "manifest.csv", "-o", "f.csv"]
    for arguments in (command, [*command[:3], "split", cohort / "manifest.csv", "-o", "split.csv"]):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))}
        result = subprocess.run(
            ["sh", "-c", script, "sh", gone, *arguments], capture_output=True, env=environment, cwd=REPOSITORY
        )
        assert result.returncode in (1, 2)
        assert b"Traceback" not in result.stderr
        assert result.stderr.decode().splitlines()[-1].startswith("Error: ")


def test_a_million_processes_are_not_started(cohort: Path, tmp_path: Path) -> None:
    result = leukobench("manifest", cohort / "images", "--jobs", 10**6, "-o", tmp_path / "manifest.csv")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "manifest.csv").read_bytes() == (cohort / "manifest.csv").read_bytes()


@pytest.mark.parametrize("size", [10**30, 10**5])
def test_a_size_that_no_image_can_have_is_refused_in_one_line(cohort: Path, tmp_path: Path, size: int) -> None:
    arguments = (cohort / "images", "--manifest", cohort / "manifest.csv", "--size", size, "-o", tmp_path / "f.csv")
    result = leukobench("extract", *arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert "a size of" in line


def test_an_error_is_one_line_whatever_the_names_in_it() -> None:
    assert str(InputError("a\r\nb\x1b[2J\x85\u2028: é")) == r"a\r\nb\x1b[2J\x85\u2028: é"
