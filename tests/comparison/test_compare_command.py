"""What `leukobench compare` refuses, with real run folders, and the line that it ends in."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from leukobench.cli import main
from tests.comparison.cohorts import make_rows, make_run
from tests.conftest import REPOSITORY


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def fewer_rows(folder: Path) -> list[object]:
    make_run(folder / "b", rows=make_rows()[3:])
    return [folder / "b"]


def no_shared_row(folder: Path) -> list[object]:
    rows = make_rows()
    make_run(folder / "b", rows=rows.assign(path="other/" + rows["path"]))
    return [folder / "b", "--common"]


def leaky(folder: Path) -> list[object]:
    make_run(folder / "b", leaky=True)
    return [folder / "b"]


def other_manifest(folder: Path) -> list[object]:
    make_run(folder / "b", manifest="fedcba9876543210")
    return [folder / "b", "--common", "--allow-leaky"]


def other_background(folder: Path) -> list[object]:
    make_run(folder / "b", background="smear")
    return [folder / "b"]


def other_label(folder: Path) -> list[object]:
    rows = make_rows()
    rows.loc[5, "label"] = "all"
    make_run(folder / "b", rows=rows)
    return [folder / "b"]


def torn(folder: Path) -> list[object]:
    make_run(folder / "b")
    (folder / "b" / "predictions.csv").unlink()
    return [folder / "b"]


def changed(folder: Path) -> list[object]:
    make_run(folder / "b")
    with open(folder / "b" / "predictions.csv", "a") as file:
        file.write("x.bmp,1,1,all,test,,0.5,all\n")
    return [folder / "b"]


def half_written(folder: Path) -> list[object]:
    make_run(folder / "b")
    text = (folder / "b" / "run.json").read_text()
    (folder / "b" / "run.json").write_text(text[: len(text) // 2])
    return [folder / "b"]


def no_run(folder: Path) -> list[object]:
    (folder / "b").mkdir()
    return [folder / "b"]


def one_class(folder: Path) -> list[object]:
    rows = make_rows()
    make_run(folder / "b", rows=rows[rows["label"] == "hem"])
    return [folder / "b", "--common"]


def no_test_part(folder: Path) -> list[object]:
    make_run(folder / "b", rows=make_rows(part="train"))
    return [folder / "b"]


def stands_twice(folder: Path) -> list[object]:
    rows = make_rows()
    make_run(folder / "b", rows=pd.concat([rows, rows[:1]], ignore_index=True))
    return [folder / "b"]


def no_probability(folder: Path) -> list[object]:
    run = make_run(folder / "b")
    table, info = folder / "b" / "predictions.csv", folder / "b" / "run.json"
    run.predictions.assign(score=np.linspace(-1, 1, 120)).to_csv(table, index=False)
    files = {name: checksum for name, checksum in run.info.files.items() if name != table.name}
    info.write_text(json.dumps(json.loads(info.read_text()) | {"files": files}))
    return [folder / "b"]


def named_twice(folder: Path) -> list[object]:
    return [folder / "a"]


def other_folds(folder: Path) -> list[object]:
    make_run(folder / "b", folds=3)
    return [folder / "b"]


def repeats(folder: Path) -> list[object]:
    for number in range(2):
        make_run(folder / "b" / f"repeat_{number}")
    return [folder / "b"]


def broken_repeat(folder: Path) -> list[object]:
    (folder / "b" / "repeat_0").mkdir(parents=True)
    return [folder / "b"]


def broken_importance(folder: Path) -> list[object]:
    make_run(folder / "b")
    (folder / "b" / "importance.csv").write_text("what,ever\n1,2\n")
    return [folder / "b"]


def lacking_images(folder: Path) -> list[object]:
    make_run(folder / "b", seed=1)
    (folder / "images").mkdir()
    return [folder / "b", "--images", folder / "images"]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (fewer_rows, "120 and 117 rows, 3 of them in one run only (first: H0_0.bmp); train both on one partition, or "),
        (fewer_rows, "or compare the rows that all runs share with --common"),
        (no_shared_row, "share no test row"),
        (leaky, "b has a split with subjects shared between parts, the other run a subject-level split"),
        (leaky, "marked as LEAKY, add --allow-leaky"),
        (other_manifest, "different manifests (0123456789abcdef and fedcba9876543210)"),
        (other_background, "read the cells on black and smear; train both with the same --background"),
        (other_label, "1 test images have a different label (first: H0_5.bmp)"),
        (torn, "is incomplete: predictions.csv is missing"),
        (changed, "predictions.csv: was changed after the run was written"),
        (half_written, "run.json: cannot be read"),
        (no_run, "is no run folder, or an incomplete one"),
        (one_class, "the 60 test rows are all hem"),
        (no_test_part, "has no test row"),
        (stands_twice, "'H0_0.bmp' is tested twice"),
        (no_probability, "'H0_0.bmp' has a score that is not a probability"),
        (named_twice, "is given twice"),
        (other_folds, "were cross-validated on different folds, so that their scores cannot be compared within folds"),
        (other_folds, "or compare with all folds pooled with --common"),
        (repeats, "a has 1 and b 2 repeats"),
        (broken_repeat, "repeat_0: is no run folder, or an incomplete one"),
        (broken_importance, "importance.csv: is no table of importances"),
        (lacking_images, "no such image; --images must be the folder"),
    ],
)
def test_what_may_not_be_compared_is_refused_in_one_line(
    tmp_path: Path, broken: Callable[[Path], list[object]], says: str
) -> None:
    make_run(tmp_path / "a")
    arguments = broken(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = compare(tmp_path / "a", *arguments, "-o", tmp_path / "report")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)  # click's own way out; anything else would be a traceback
    error = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(error) == 1
    assert says in error[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_an_existing_report_is_kept(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    (tmp_path / "report").mkdir()
    assert "already exists" in compare(tmp_path / "a", "-o", tmp_path / "report").output


def test_the_rows_in_common_and_leaky_runs_on_request(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", leaky=True, rows=make_rows()[3:])
    refused = compare(tmp_path / "a", tmp_path / "b", "--allow-leaky", "-o", tmp_path / "report")
    assert "--common" in refused.output
    result = compare(tmp_path / "a", tmp_path / "b", "--allow-leaky", "--common", "-o", tmp_path / "report")
    assert result.exit_code == 0, result.output
    assert "LEAKY (b)" in result.output
    assert "Only the 117 cells that all runs were tested on are used" in result.output


def test_repeats_a_sensitivity_and_a_margin(tmp_path: Path) -> None:
    for name, seed in itertools.product("ab", range(2)):
        make_run(tmp_path / name / f"repeat_{seed}", groups=24, seed=seed, shift=1.5, validation=True)
    options = ["--sensitivity", "0.9", "--margin", "0.1", "-o", tmp_path / "report"]
    result = compare(tmp_path / "a", tmp_path / "b", *options)
    assert result.exit_code == 0, result.output
    assert "they are equivalent within 0.1" in result.output  # the same scores
    text = " ".join((tmp_path / "report" / "report.html").read_text(encoding="utf-8").split())
    assert "Repeats of the cross-validation" in text
    assert "sensitivity of at least 0.9" in text
    command = f"leukobench compare {tmp_path / 'a'} {tmp_path / 'b'} --sensitivity 0.9 --margin 0.1 -o report"
    assert command in text


def test_it_loads_no_model_library(tmp_path: Path) -> None:
    for seed, name in enumerate("abc"):
        make_run(tmp_path / name, groups=60, cells=30, seed=seed)
    code = (
        "import sys\nfrom leukobench.cli import main\n"
        f"sys.argv = ['leukobench', 'compare', *{[str(tmp_path / name) for name in 'abc']!r}, '-o', "
        f"{str(tmp_path / 'report')!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'skops'}\n"
        "heavy |= {f'leukobench.{room}' for room in ('classifiers', 'cnn', 'features')}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
