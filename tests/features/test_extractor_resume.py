"""An extraction that is stopped in any way goes on where it was, and its table is that of an unbroken run."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import leukobench.features.batch
from leukobench.cells.cell import Cell
from leukobench.cohort.manifest import read_manifest, write_manifest
from leukobench.core.errors import InputError, UnfinishedError
from leukobench.core.files import unfinished_path
from leukobench.features.extractor import extract
from leukobench.features.settings import MeasurementSettings
from leukobench.results.feature_table import read_feature_table
from tests.conftest import REPOSITORY

# the command extract with 4 images a task, which stops itself: as soon as frame number `frame` is written, of which the
# first `cut` bytes stay, or as `how` says
STOPPED = """
import os, resource, signal, sys
import leukobench.features.extractor, leukobench.results.feature_table
from leukobench.cli import main
from leukobench.features.journal import Journal

frame, cut, how = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
leukobench.features.extractor.IMAGES_PER_TASK = 4
append, recut, written = Journal._append, leukobench.results.feature_table._recut, 0

def torn(self, content):
    global written
    begin = self.path.stat().st_size
    append(self, content)
    if written == frame and how == "ctrl-c":
        os.killpg(0, signal.SIGINT)  # a terminal sends it to the workers too
    elif written == frame and how == "terminate":
        os.killpg(0, signal.SIGTERM)
    elif written == frame:
        os.truncate(self.path, begin + cut)
        os.kill(os.getpid(), signal.SIGKILL)
    written += 1

def while_writing(blocks, rows):
    for number, block in enumerate(recut(blocks, 16)):
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        yield block

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs tests in the background ignores it
    if how in ("kill", "ctrl-c", "terminate"):
        Journal._append = torn
    elif how == "kill while writing":
        leukobench.results.feature_table._recut = while_writing
    elif how == "kill before cleaning up":
        Journal.remove = lambda self: os.kill(os.getpid(), signal.SIGKILL)
    elif how == "full disk":
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
    main(["extract", "--set", "patel", *sys.argv[4:]])
"""


def stopped(
    folder: Path, out: Path, *options: object, frame: int = 0, cut: int = 0, how: str = "kill"
) -> subprocess.CompletedProcess[str]:
    """Run the command extract in a process that stops itself."""
    arguments = [folder / "images", "--manifest", folder / "manifest.csv", "-o", out, *options]
    killed = how.startswith("kill")
    run = subprocess.run(
        [sys.executable, "-c", STOPPED, *map(str, (frame, cut, how, *arguments))],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if killed else subprocess.PIPE,  # workers that outlive a kill would hold a pipe open
        text=True,
        start_new_session=True,
    )
    assert run.returncode == (-signal.SIGKILL if killed else 1)
    return run


@pytest.fixture(scope="module")
def whole(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cohort's table as an unbroken run writes it, as CSV and Parquet, two of its images broken."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(cohort / "images", folder / "images")
    shutil.copy(cohort / "manifest.csv", folder)
    paths = read_manifest(cohort / "manifest.csv")["path"]
    (folder / "images" / paths[5]).write_bytes(b"no image")
    (folder / "images" / paths[30]).unlink()
    for name in ("features.csv", "features.parquet"):
        done = extract(
            folder / "images", folder / "manifest.csv", folder / "whole" / name[9:] / name, feature_set="patel"
        )
        assert list(done.failed) == [paths[5], paths[30]]
    return folder


def assert_same_files(folder: Path, other: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name


def resume(whole: Path, out: Path, **changes: object) -> None:
    extract(whole / "images", whole / "manifest.csv", out, feature_set="patel", resume=True, **changes)


@pytest.mark.parametrize(
    ("suffix", "frame", "cut"),
    [("csv", 0, 5), ("csv", 2, 8), ("csv", 9, 240), ("csv", 10, 1), ("parquet", 1, 0), ("parquet", 5, 500)],
)
def test_after_a_kill_in_the_middle_of_a_write(whole: Path, tmp_path: Path, suffix: str, frame: int, cut: int) -> None:
    out = tmp_path / f"features.{suffix}"
    stopped(whole, out, frame=frame, cut=cut)
    assert {path.name for path in tmp_path.iterdir()} == {f"features.{suffix}.partial", f".features.{suffix}.lock"}
    resume(whole, out)
    assert_same_files(tmp_path, whole / "whole" / suffix)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_after_a_kill_while_the_table_is_written(whole: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"features.{suffix}"
    stopped(whole, out, how="kill while writing")
    assert not out.exists()
    resume(whole, out)
    assert_same_files(tmp_path, whole / "whole" / suffix)


def test_after_a_kill_with_the_table_written_it_is_whole(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "features.csv"
    stopped(whole, out, how="kill before cleaning up")
    assert out.read_bytes() == (whole / "whole" / "csv" / "features.csv").read_bytes()
    with pytest.raises(InputError, match="already exists"):
        resume(whole, out)


def test_a_run_may_be_stopped_again_and_end_with_other_processes(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "features.csv"
    stopped(whole, out, "--jobs", 2, frame=3, cut=9)
    stopped(whole, out, "--resume", frame=3, cut=50)
    resume(whole, out, jobs=2)
    assert_same_files(tmp_path, whole / "whole" / "csv")


@pytest.mark.parametrize(("how", "jobs"), [("ctrl-c", 1), ("ctrl-c", 2), ("terminate", 1), ("terminate", 2)])
def test_ctrl_c_and_sigterm_keep_what_was_measured_and_say_how_to_go_on(
    whole: Path, tmp_path: Path, how: str, jobs: int
) -> None:
    out = tmp_path / "features.csv"
    run = stopped(whole, out, "--jobs", jobs, frame=4, how=how)
    error = run.stderr.splitlines()[-1]
    assert error.startswith(f"Error: {out}: interrupted; ")
    assert error.endswith(f" of 40 images are kept in {out}.partial; to resume it, rerun the command with --resume")
    assert "Traceback" not in run.stderr
    resume(whole, out)
    assert_same_files(tmp_path, whole / "whole" / "csv")


@pytest.fixture(scope="module")
def killed(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a killed extraction leaves: a journal of 24 images, and its lock."""
    folder = tmp_path_factory.mktemp("killed")
    stopped(whole, folder / "features.csv", frame=7)
    return folder


@pytest.fixture
def kept(killed: Path, tmp_path: Path) -> bytes:
    """The journal of 24 images of a killed extraction, which lies in `tmp_path` with its lock."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    return unfinished_path(tmp_path / "features.csv").read_bytes()


def test_after_the_file_was_cut_off_anywhere_or_a_byte_changed(whole: Path, kept: bytes, tmp_path: Path) -> None:
    out = tmp_path / "features.csv"
    header = 8 + int.from_bytes(kept[:4], "little")
    for offset in (0, 1, 9, header - 1, header, header + 7, header + 9, 3001, len(kept) - 1):
        unfinished_path(out).write_bytes(kept[:offset])
        resume(whole, out)
        assert_same_files(tmp_path, whole / "whole" / "csv")
        remove_all(tmp_path)
    for offset in (header, header + 5, 3001, len(kept) - 1):
        unfinished_path(out).write_bytes(with_a_bit_flipped(kept, offset))
        resume(whole, out)
        assert_same_files(tmp_path, whole / "whole" / "csv")
        remove_all(tmp_path)
    for offset in (0, 5, 8, header - 1):  # what was measured, and how, can no longer be told
        unfinished_path(out).write_bytes(with_a_bit_flipped(kept, offset))
        with pytest.raises(InputError, match="is damaged or not from an extraction; remove it"):
            resume(whole, out)


def with_a_bit_flipped(content: bytes, offset: int) -> bytes:
    return content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :]


def remove_all(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"settings": MeasurementSettings(levels=32)}, "levels 64, not 32"),
        ({"settings": MeasurementSettings(distances=(1, 2))}, r"columns 27, not 32; distances \[1\], not \[1, 2\]"),
        ({"settings": MeasurementSettings(size=128, channel="b")}, "channel grey, not b; size None, not 128"),
        ({"background": "white"}, "background black, not white"),
    ],
)
def test_other_settings_are_refused(whole: Path, kept: bytes, tmp_path: Path, changes: dict, told: str) -> None:
    out = tmp_path / "features.csv"
    with pytest.raises(InputError, match=f"features.csv.partial: is of a run with {told}; resume with the same"):
        resume(whole, out, **changes)
    assert unfinished_path(out).read_bytes() == kept


def test_another_manifest_is_refused(whole: Path, kept: bytes, tmp_path: Path) -> None:
    write_manifest(read_manifest(whole / "manifest.csv").iloc[::-1], tmp_path / "manifest.csv")
    with pytest.raises(InputError, match=r"is of a run with manifest [0-9a-f]{16}, not [0-9a-f]{16}; resume"):
        extract(
            whole / "images", tmp_path / "manifest.csv", tmp_path / "features.csv", feature_set="patel", resume=True
        )
    assert unfinished_path(tmp_path / "features.csv").read_bytes() == kept


def test_other_images_are_refused(whole: Path, kept: bytes, tmp_path: Path) -> None:
    out, paths = tmp_path / "features.csv", read_manifest(whole / "manifest.csv")["path"]
    shutil.copytree(whole / "images", tmp_path / "images")  # with their times: the same images in another place
    changed = tmp_path / "images" / paths[7]
    changed.write_bytes((whole / "images" / paths[8]).read_bytes())
    with pytest.raises(InputError, match=f"{paths[7]}: is not the file that was measured in .*features.csv.partial"):
        extract(tmp_path / "images", whole / "manifest.csv", out, feature_set="patel", resume=True)
    assert unfinished_path(out).read_bytes() == kept
    shutil.copy2(whole / "images" / paths[7], changed)
    extract(tmp_path / "images", whole / "manifest.csv", out, feature_set="patel", resume=True)
    shutil.rmtree(tmp_path / "images")
    assert_same_files(tmp_path, whole / "whole" / "csv")


@pytest.mark.usefixtures("kept")
def test_strict_does_not_overlook_what_a_run_that_was_not_strict_let_pass(whole: Path, tmp_path: Path) -> None:
    broken = read_manifest(whole / "manifest.csv")["path"][5]
    with pytest.raises(InputError, match=f"{broken}: .*found by an extraction that was not strict"):
        resume(whole, tmp_path / "features.csv", strict=True)


def test_an_interrupted_run_is_not_overwritten_unasked(whole: Path, kept: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds the measurements of an interrupted extraction; resume it, or remove"):
        extract(whole / "images", whole / "manifest.csv", tmp_path / "features.csv", feature_set="patel")
    assert unfinished_path(tmp_path / "features.csv").read_bytes() == kept


def test_resume_begins_where_there_is_nothing_to_go_on_from(whole: Path, tmp_path: Path) -> None:
    resume(whole, tmp_path / "features.csv")
    assert_same_files(tmp_path, whole / "whole" / "csv")


def test_a_full_disk_is_one_line_and_what_it_took_is_kept(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "features.csv"
    run = stopped(whole, out, how="full disk")
    assert run.stderr.splitlines()[-1].startswith(f"Error: {out}: File too large; 20 of 40 images")
    assert "Traceback" not in run.stderr
    resume(whole, out)
    assert_same_files(tmp_path, whole / "whole" / "csv")


def test_images_that_failed_are_tried_again(whole: Path, cohort: Path, tmp_path: Path) -> None:
    out, paths = tmp_path / "features.csv", read_manifest(whole / "manifest.csv")["path"]
    images = tmp_path / "images"
    shutil.copytree(whole / "images", images)
    stopped(whole, out, frame=9, cut=40)
    shutil.copy(cohort / "images" / paths[5], images / paths[5])  # of 32 images in the journal, the one that failed
    extract(images, whole / "manifest.csv", out, feature_set="patel", resume=True)
    extract(cohort / "images", cohort / "manifest.csv", tmp_path / "expected.csv", feature_set="patel")
    found, expected = read_feature_table(out), read_feature_table(tmp_path / "expected.csv")
    assert list(found.failed) == [paths[30]]
    assert found.values.equals(expected.values.drop(index=paths[30]))


def failing_at(number: int, fail: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen before the image of a number is read."""
    read, count = leukobench.features.batch.read_cell, iter(range(10**6))

    def read_or_fail(*arguments: object) -> Cell:
        if next(count) == number:
            fail()
        return read(*arguments)

    monkeypatch.setattr(leukobench.features.batch, "read_cell", read_or_fail)


def no_more_files() -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "cell.bmp")


def no_memory() -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("fail", "told"), [(no_more_files, "cell.bmp: Too many open files"), (no_memory, "memory ran out; use fewer")]
)
def test_a_failure_of_the_surroundings_stops_and_is_none_of_the_image(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[[], object], told: str
) -> None:
    out = tmp_path / "features.csv"
    with monkeypatch.context() as patch:
        failing_at(34, fail, patch)
        with pytest.raises(UnfinishedError, match=f"{told}.*; 32 of 40 images are kept in"):
            extract(whole / "images", whole / "manifest.csv", out, feature_set="patel")
    resume(whole, out)
    assert_same_files(tmp_path, whole / "whole" / "csv")


def test_a_folder_that_vanishes_stops_and_its_images_are_not_called_missing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, out = tmp_path / "images", tmp_path / "out" / "features.csv"
    shutil.copytree(whole / "images", images)
    with monkeypatch.context() as patch:
        failing_at(34, lambda: images.rename(tmp_path / "unmounted"), patch)
        with pytest.raises(UnfinishedError, match=f"{images}: The folder of the images has vanished; 32 of 40"):
            extract(images, whole / "manifest.csv", out, feature_set="patel")
    (tmp_path / "unmounted").rename(images)
    extract(images, whole / "manifest.csv", out, feature_set="patel", resume=True)
    assert_same_files(tmp_path / "out", whole / "whole" / "csv")
