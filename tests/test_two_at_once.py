"""Two processes that would make the same table or run folder: the second is told, and nothing of the first is lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from leukobench.classifiers.training import train_classifier
from leukobench.cli import main
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer
from tests.comparison.cohorts import make_run
from tests.conftest import QUICK_RECIPE, REPOSITORY

# the command line, which stops before the function that writes the result until it is told to go on, or killed
WAITING = """
import importlib, sys
from leukobench.cli import main

module, name = importlib.import_module(sys.argv[1]), sys.argv[2]
write = getattr(module, name)

def wait(*arguments, **options):
    print("about to write", flush=True)
    sys.stdin.read()
    return write(*arguments, **options)

if __name__ == "__main__":
    setattr(module, name, wait)
    if "train-cnn" in sys.argv:
        from tests.cnn.networks import quick_recipe  # as the fixture `quick_network`

        quick_recipe()
    main(sys.argv[3:])
"""


def leukobench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@contextmanager
def waiting(before: tuple[str, str], command: Sequence[object]) -> Iterator[subprocess.Popen[str]]:
    """A process that runs a command, and waits at its end."""
    arguments = [sys.executable, "-c", WAITING, *before, *map(str, command)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(arguments, cwd=REPOSITORY, text=True, **pipes) as process:
        assert "about to write\n" in iter(process.stdout.readline, "")  # reads up to this line
        yield process


def extraction(cohort: Path, out: Path) -> tuple[tuple[str, str], tuple[object, ...]]:
    command = ("extract", cohort / "images", "--manifest", cohort / "manifest.csv", "--jobs", 2, "-o", out)
    return ("leukobench.features.extractor", "write_feature_table"), command


def training(cohort: Path, out: Path) -> tuple[tuple[str, str], tuple[object, ...]]:
    files = ("--manifest", cohort / "manifest.csv", "--split", cohort / "split.csv")
    network = ("--recipe", QUICK_RECIPE, "--epochs", 1)
    return ("leukobench.cnn.training", "_write"), ("train-cnn", cohort / "images", *files, *network, "-o", out)


def indexing(cohort: Path, out: Path) -> tuple[tuple[str, str], tuple[object, ...]]:
    return ("leukobench.cohort.indexing", "write_manifest"), ("manifest", cohort / "images", "-o", out)


def splitting(cohort: Path, out: Path) -> tuple[tuple[str, str], tuple[object, ...]]:
    return ("leukobench.cohort.partition", "_write_parts"), ("split", cohort / "manifest.csv", "-o", out)


def splitting_in_folds(cohort: Path, out: Path) -> tuple[tuple[str, str], tuple[object, ...]]:
    command = ("split", cohort / "manifest.csv", "--method", "kfold", "--folds", 3, "-o", out)
    return ("leukobench.cohort.partition", "_write_parts"), command


def classifier(family: str, cohort: Path, out: Path) -> tuple[tuple[str, str], tuple[object, ...]]:
    command = (f"train-{family}", cohort / "features.csv", "--split", cohort / "split.csv", "--no-importance")
    return ("leukobench.classifiers.training", "write_run"), (*command, "-o", out)


def comparing(cohort: Path, out: Path) -> tuple[tuple[str, str], tuple[object, ...]]:
    return ("leukobench.comparison.report", "_html"), ("compare", made_once(cohort), "-o", out)


def predicting(cohort: Path, out: Path) -> tuple[tuple[str, str], tuple[object, ...]]:
    command = ("predict", trained_once(cohort), cohort / "features.csv", "-o", out)
    return ("leukobench.workflows.prediction", "write_csv"), command


def explaining(cohort: Path, out: Path) -> tuple[tuple[str, str], tuple[object, ...]]:
    image = min((cohort / "images").rglob("*.bmp"))
    command = ("explain", trained_once(cohort), image, "--brief", "-o", out)
    return ("leukobench.workflows.explanation", "explanations_table"), command


def auditing(cohort: Path, out: Path) -> tuple[tuple[str, str], tuple[object, ...]]:
    return ("leukobench.cohort.audit_page", "write_ties"), ("audit", cohort / "manifest.csv", "-o", out)


def describing(cohort: Path, out: Path) -> tuple[tuple[str, str], tuple[object, ...]]:
    return ("leukobench.cohort.croissant", "write_json"), ("croissant", "-o", out)


def made_once(cohort: Path) -> Path:
    folder = cohort / "two-at-once" / "made"
    return folder if folder.exists() else make_run(folder).folder


def trained_once(cohort: Path) -> Path:
    folder = cohort / "two-at-once" / "knn"
    if not folder.exists():
        train_classifier(
            cohort / "features.csv", cohort / "split.csv", folder, recipe="leukobench-knn", importance=False
        )
    return folder


def refused(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)  # click's own way out; anything else would be a traceback
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    return line


@pytest.mark.usefixtures("quick_network")
@pytest.mark.parametrize("work", [extraction, training])
def test_the_second_is_told_in_one_line_and_a_kill_of_the_first_locks_nobody_out(
    cohort: Path, tmp_path: Path, work
) -> None:
    out = tmp_path / "result.csv"
    before, command = work(cohort, out)
    with waiting(before, command) as first:
        held = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert len(held) >= 2  # the lock, and what was computed so far
        line = refused(leukobench(*command, "--resume"))
        assert (
            line
            == f"Error: {out}: another process is writing it; wait for that process to finish, or choose another name"
        )
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == held
        first.kill()
    result = leukobench(*command, "--resume")
    assert result.exit_code == 0, result.output
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith((".lock", ".partial"))]


def test_a_kill_between_the_ties_and_the_manifest_is_resumed(cohort: Path, tmp_path: Path) -> None:
    before, command = indexing(cohort, tmp_path / "manifest.csv")
    with waiting(before, command) as first:
        assert (tmp_path / "manifest.ties.csv").exists()
        first.kill()
    assert leukobench(*command, "--resume").exit_code == 0
    assert (tmp_path / "manifest.csv").read_bytes() == (cohort / "manifest.csv").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.csv", "manifest.ties.csv"}


@pytest.mark.parametrize(("work", "name"), [(indexing, "manifest.csv"), (extraction, "features.csv")])
@pytest.mark.parametrize("end", [bytes(8), bytes(200_000)])
def test_what_a_power_cut_may_leave_at_the_end_of_a_journal_is_not_believed(
    cohort: Path, tmp_path: Path, work, name: str, end: bytes
) -> None:
    before, command = work(cohort, tmp_path / name)
    with waiting(before, command) as first:
        first.kill()
    with open(tmp_path / f"{name}.partial", "ab") as journal:
        journal.write(end)
    result = leukobench(*command, "--resume")
    assert result.exit_code == 0, result.output
    assert (tmp_path / name).read_bytes() == (cohort / name).read_bytes()


@pytest.mark.parametrize(
    "work",
    [
        indexing,
        splitting,
        splitting_in_folds,
        partial(classifier, "svm"),
        partial(classifier, "knn"),
        comparing,
        predicting,
        explaining,
        auditing,
        describing,
    ],
)
def test_while_one_writes_a_second_is_refused_at_once_and_the_first_result_stands(
    cohort: Path, tmp_path: Path, work
) -> None:
    out = tmp_path / "result.csv"
    before, command = work(cohort, out)
    with waiting(before, command) as first:
        assert "another process is writing it" in refused(leukobench(*command))
        first.communicate(timeout=60)
        assert first.returncode == 0
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert out.exists()
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    again = leukobench(*command)
    assert again.exit_code != 0
    assert "already exists" in again.output
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == written


def test_the_first_ends_as_if_no_second_had_tried_and_then_its_result_stands(cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "features.csv"
    before, command = extraction(cohort, out)
    with waiting(before, command) as first:
        assert "another process is writing it" in refused(leukobench(*command))
        first.communicate(timeout=60)
        assert first.returncode == 0
    assert out.read_bytes() == (cohort / "features.csv").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"features.csv", "features.csv.json"}
    with pytest.raises(InputError, match="already exists"), only_writer(out):
        pass


def test_what_fails_lets_go_of_the_lock_and_others_are_free_all_the_time(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_writer(tmp_path / "table.csv"):
        with only_writer(tmp_path / "other.csv"):
            pass
        1 / 0  # noqa: B018
    assert not list(tmp_path.iterdir())
    with only_writer(tmp_path / "table.csv"):
        assert [path.name for path in tmp_path.iterdir()] == [".table.csv.lock"]
