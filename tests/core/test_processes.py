"""Worker processes: none outlives its parent, and a killed one ends the command in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

import leukobench.classifiers.search
import leukobench.cohort.indexing
from leukobench.cli import main
from leukobench.core.processes import in_processes
from tests.conftest import REPOSITORY, interrupted_after

SLEEPING = """
import os, time
from joblib import delayed
from leukobench.core.processes import in_processes

if __name__ == "__main__":
    print("begun", flush=True)
    calls = [delayed(os.getpid)()] * 8 + [delayed(time.sleep)(60)] * 4
    for number in in_processes(calls, 2, pre_dispatch="all"):
        print(number, flush=True)
"""


@contextmanager
def sleeping() -> Iterator[subprocess.Popen[str]]:
    """A process whose two workers sleep."""
    command = [sys.executable, "-c", SLEEPING]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as one:
        assert one.stdout.readline() == "begun\n"
        for _ in range(8):
            assert int(one.stdout.readline())
        yield one


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell that a parent is gone")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent_and_let_go_of_its_output(how: signal.Signals) -> None:
    with sleeping() as parent:
        parent.send_signal(how)
        begun = time.monotonic()
        with interrupted_after(20):
            assert parent.stdout.read() == ""  # ends when the last process that holds the pipe has ended
        assert time.monotonic() - begun < 2


def test_calls_come_back_in_order_and_errors_are_those_of_the_calls() -> None:
    calls = [(divmod, (number, 7), {}) for number in range(50)]
    assert (
        list(in_processes(calls, 2, batch_size=4)) == list(in_processes(calls, 1)) == [divmod(n, 7) for n in range(50)]
    )
    with pytest.raises(ZeroDivisionError):
        list(in_processes([(divmod, (1, 0), {})] * 3, 2))


@pytest.mark.parametrize(
    ("module", "function", "command"),
    [
        (leukobench.classifiers.search, "_decisions", ["train-svm", "features.csv", "--split", "split.csv"]),
        (leukobench.cohort.indexing, "_read_file", ["manifest", "images"]),
    ],
)
def test_a_killed_worker_ends_a_command_in_one_line(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, function: str, command: list[str]
) -> None:
    monkeypatch.setattr(module, function, lambda *_: os._exit(1))
    monkeypatch.chdir(cohort)
    result = CliRunner().invoke(main, [*command, "--jobs", "2", "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == (
        "Error: a worker process was killed; if memory ran out, use fewer parallel processes"
    )
    assert isinstance(result.exception, SystemExit)


def test_the_resource_tracker_prints_no_warning_of_its_own() -> None:
    """It is told by an option, which lasts only while processes are started."""
    program = """
import os, sys
from joblib import delayed
from joblib.externals.loky.backend import resource_tracker
from leukobench.core.processes import in_processes

if __name__ == "__main__":
    assert list(in_processes([delayed(abs)(-1), delayed(abs)(-2)], 2)) == [1, 2]
    assert not sys.warnoptions
    resource_tracker.register("/no/such/file", "file")  # left behind: the tracker would warn at its end
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
