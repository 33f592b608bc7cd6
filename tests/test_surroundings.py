"""What surrounds a command fails: no inodes, a read-only disk, no memory, a killed process, another process."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest
from click.testing import CliRunner

from leukobench.cli import main
from leukobench.cnn.cache import cached
from leukobench.cnn.checkpoint import UnfinishedTraining
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, whole_folder, write_json
from leukobench.results.feature_table import read_feature_table
from leukobench.workflows import benchmark as workflow
from leukobench.workflows.benchmark import benchmark
from leukobench.workflows.study_plan import Step, Study
from tests.conftest import REPOSITORY

# mounts a small disk that only this process sees, and runs each command on it while it has few inodes or is read-only
ON_A_SMALL_DISK = """
import json, subprocess, sys
from pathlib import Path
from click.testing import CliRunner
from leukobench.cli import main

disk, commands = Path(sys.argv[1]), json.loads(sys.argv[2])

def mount(options):
    subprocess.run(["mount", "-t", "tmpfs", *options, "disk", str(disk)], check=True)

def run(command):
    result = CliRunner().invoke(main, [*command, "-o", str(disk / "result.csv")])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return [result.exit_code, *[line for line in result.output.splitlines() if line.startswith("Error: ")]]

told = []
for command in commands:
    for inodes in (1, 3, 5):
        mount(["-o", f"nr_inodes={inodes}"])
        first = run(command)
        mount(["-o", "remount,nr_inodes=1000"])
        resume = ["--resume"] if (disk / "result.csv.partial").exists() else []
        again = run([*command, *resume]) if first[0] else [0]
        told.append([first, again, sorted(path.name for path in disk.iterdir())])
        subprocess.run(["umount", str(disk)], check=True)
    mount(["-o", "ro"])
    told.append([run(command), [0], []])
    subprocess.run(["umount", str(disk)], check=True)
print(json.dumps(told))
"""


def can_mount() -> bool:
    """Whether this user may mount a disk for one process: Linux with user namespaces."""
    if sys.platform != "linux" or not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="this system lets users mount no disk of their own")
def test_a_disk_without_inodes_or_a_read_only_one_ends_in_one_line_and_a_rerun_has_the_result(
    cohort: Path, tmp_path: Path
) -> None:
    table, split = cohort / "features.csv", cohort / "split.csv"
    commands = [
        ["split", cohort / "manifest.csv"],
        ["extract", cohort / "images", "--manifest", cohort / "manifest.csv", "--set", "patel"],
        ["train-knn", table, "--split", split, "--no-importance", "--neighbors", "3"],
    ]
    (tmp_path / "disk").mkdir()
    arguments = [tmp_path / "disk", json.dumps([[str(word) for word in command] for command in commands])]
    done = subprocess.run(
        ["unshare", "-Urm", sys.executable, "-c", ON_A_SMALL_DISK, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    whole = [{"result.csv"}, {"result.csv", "result.csv.json"}, {"result.csv"}]
    for number, names in enumerate(whole):
        *few, read_only = told[4 * number : 4 * number + 4]
        assert few[0][0][0] == 1
        for first, again, found in few:
            assert first == [0] or (first[0] == 1 and len(first) == 2 and "No space left on device" in first[1])
            assert again == [0]
            assert set(found) == names
        assert read_only[0][0] == 1
        assert len(read_only[0]) == 2
        assert "Read-only file system" in read_only[0][1]


def test_no_memory_for_a_table_is_not_a_fault_of_the_table(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow and pandas have errors of their own for it, and a library in C may have none."""

    def fail(*_: object, **__: object) -> None:
        raise pa.ArrowException("Unknown error: Failed to launch worker thread: Resource temporarily unavailable")

    def parse(*_: object, **__: object) -> None:
        raise pd.errors.ParserError("Error tokenizing data. C error: out of memory")

    def fall_silent(*_: object, **__: object) -> None:
        raise SystemError("error return without exception set")

    train = ["train-knn", cohort / "features.csv", "--split", cohort / "split.csv", "-o", tmp_path / "run"]
    split = ["split", cohort / "manifest.csv", "-o", tmp_path / "split.csv"]
    for name, command, function in (
        ("pyarrow.csv.read_csv", train, fail),
        ("pandas.read_csv", split, parse),
        ("pandas.read_csv", split, fall_silent),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(name, function)
            result = CliRunner().invoke(main, [str(word) for word in command])
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        assert result.output.splitlines()[-1].startswith("Error: memory ran out; use fewer parallel processes")


def test_what_arrow_has_not_implemented_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise pa.ArrowNotImplementedError("no such\ncompression")

    monkeypatch.setattr(pyarrow.csv, "read_csv", fail)
    with pytest.raises(InputError, match=r"f\.csv: cannot be read as a feature table \(no such compression\)"):
        read_feature_table(tmp_path / "f.csv")


def test_two_studies_in_one_folder_are_refused_and_the_first_goes_on(cohort: Path, tmp_path: Path) -> None:
    study = Study(cohort / "images", tmp_path / "study", quick=True)
    refused: list[str] = []

    class Stop(Exception):
        pass

    def second(text: str) -> None:
        with pytest.raises(InputError) as caught:
            benchmark(study)
        refused.append(str(caught.value))
        raise Stop

    with pytest.raises(Stop):
        benchmark(study, second)
    page = study.path("index.html")
    assert refused == [
        f"{page}: another process is writing it; wait for that process to finish, or choose another name"
    ]
    assert not list(study.folder.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="the name of an open file is known on Linux only")
def test_after_a_power_cut_a_temporary_file_has_the_lock_by_which_it_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_the_disk: list[list[str]] = []
    fsync = os.fsync

    def watched(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            on_the_disk.append(sorted(path.name for path in tmp_path.iterdir()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    with whole_folder(tmp_path / "run") as partial:
        assert on_the_disk == [[f"{partial.name}.lock"]]


def test_a_study_removes_the_lock_of_a_step_that_was_complete_when_the_process_was_killed(tmp_path: Path) -> None:
    study = Study(tmp_path / "images", tmp_path / "study")
    study.path("audit").mkdir(parents=True)
    study.path(".audit.lock").touch()
    said: list[str] = []
    workflow._do(study, Step("audit", ("audit",), study.path("audit"), list), {}, "2/8", said.append)
    assert said == ["2/8 audit: complete"]
    assert [path.name for path in study.folder.iterdir()] == ["audit"]


def fill(folder: Path) -> None:
    np.save(folder / "pixels.npy", np.arange(100, dtype=np.uint8))


def test_what_a_killed_process_left_in_the_cache_is_removed_at_the_next_start_though_the_folder_is_whole(
    tmp_path: Path,
) -> None:
    cached(tmp_path / "key", fill)
    left = tmp_path / ".key.0123abcd.partial"
    left.mkdir()
    (tmp_path / f"{left.name}.lock").touch()
    (tmp_path / ".key.4242.damaged").mkdir()
    cached(tmp_path / "key", fill)
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_of_two_processes_that_fill_one_folder_of_the_cache_the_first_one_is_kept(tmp_path: Path) -> None:
    made: list[int] = []

    def overtaken(partial: Path) -> None:
        fill(partial)
        made.append((cached(tmp_path / "key", fill) / "pixels.npy").stat().st_ino)  # the other is ready earlier

    cached(tmp_path / "key", overtaken)
    assert [(tmp_path / "key" / "pixels.npy").stat().st_ino] == made
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_checkpoint_that_is_half_removed_is_none_and_a_folder_of_the_user_is_kept(tmp_path: Path) -> None:
    """A process was killed after its run folder was complete, while it removed the checkpoint."""
    partial = tmp_path / "run.partial"
    (partial / "fold_1").mkdir(parents=True)
    (partial / "fold_1" / "state.npz").touch()
    training = UnfinishedTraining.beside(tmp_path / "run", {"seed": 1}, resume=True)
    assert training.folder == partial
    assert not partial.exists()
    partial.mkdir()
    (partial / "notes.txt").touch()
    with pytest.raises(InputError, match="contains no training that can be resumed"):
        UnfinishedTraining.beside(tmp_path / "run", {"seed": 1}, resume=True)
    assert (partial / "notes.txt").exists()


def test_what_a_failing_disk_does_not_remove_is_removed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(call: Callable[..., object]) -> Callable[..., object]:
        def wrapper(path: str | os.PathLike[str], *others: object, **options: object) -> object:
            if os.path.basename(path) == "model.txt":
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)
            return call(path, *others, **options)

        return wrapper

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", fail(os.unlink))
        with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "run") as partial:
            (partial / "model.txt").write_text("model")
            1 / 0  # noqa: B018
    assert len(list(tmp_path.iterdir())) == 2
    with only_writer(tmp_path / "run"):
        assert [path.name for path in tmp_path.iterdir()] == [".run.lock"]


def test_a_lock_that_could_not_be_removed_is_not_in_the_finished_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink, failed = os.unlink, []

    def fail_once(path: str | os.PathLike[str], **options: int) -> None:
        if str(path).endswith(".lock") and not failed:
            failed.append(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", fail_once)
    with whole_folder(tmp_path / "run") as partial:
        write_json({}, partial / "run.json")
    assert len(failed) == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]
