"""What is on the disk, and in which order: a power cut or another process at any moment costs no finished result."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from leukobench.classifiers.training import train_classifier
from leukobench.cnn.training import train_network
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest
from leukobench.cohort.partition import write_split
from leukobench.cohort.splitting import SplitOptions, split_in_folds
from leukobench.comparison.runs import compare
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, sha256_of, whole_file, whole_folder, write_csv
from leukobench.features.extractor import extract
from leukobench.workflows.leakage import leakage
from tests.comparison.cohorts import make_run
from tests.conftest import REPOSITORY


class Disk:
    """Watches the real calls that write names and content to the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.synced: dict[Path, str] = {}  # checksum of each file when it was written to the disk
        self.waiting: dict[Path, Path] = {}  # new names whose folder is not on the disk yet
        self.removed: list[Path] = []
        self.named: list[Path] = []
        fsync, link, rename, replace, unlink = os.fsync, os.link, os.rename, os.replace, os.unlink
        rmtree, mkdir = shutil.rmtree, os.mkdir

        def watched(call: Callable[..., Any], before: Callable[..., None]) -> Callable[..., Any]:
            def wrapper(*arguments: Any, **options: Any) -> Any:
                before(*arguments, **options)
                return call(*arguments, **options)

            return wrapper

        monkeypatch.setattr(os, "fsync", watched(fsync, self._fsync))
        for name, call in {"link": link, "rename": rename, "replace": replace}.items():
            monkeypatch.setattr(os, name, watched(call, self._rename))
        monkeypatch.setattr(os, "unlink", watched(unlink, self._remove))
        monkeypatch.setattr(shutil, "rmtree", watched(rmtree, self._remove))
        monkeypatch.setattr(os, "mkdir", watched(mkdir, self._mkdir))

    def _mine(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and self.folder in Path(path).parents

    def _fsync(self, handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if path.is_dir():
            self.waiting = {name: parent for name, parent in self.waiting.items() if parent != path}
        else:
            self.synced[path] = sha256_of(path)

    def _rename(self, old: Any, new: Any, **_: Any) -> None:
        if not self._mine(new):
            return
        old, new = Path(old), Path(new)
        content = [path for path in old.rglob("*") if path.is_file()] if old.is_dir() else [old]
        assert content
        for path in content:
            assert self.synced.get(path) == sha256_of(path), f"{path} has a new name and is not on the disk"
        self.named.append(new)
        self.waiting[new] = new.parent

    def _mkdir(self, path: Any, *_: Any, **__: Any) -> None:
        if self._mine(path) and not Path(path).exists():
            self.waiting[Path(path)] = Path(path).parent

    def _remove(self, path: Any, *_: Any, **__: Any) -> None:
        if self._mine(path) and Path(path).exists() and not Path(path).name.startswith("."):  # journal, checkpoint
            lost = [name for name in self.waiting if name.exists() and not _temporary(name, self.folder)]
            assert not lost, f"{path} is removed and the names {lost} are not on the disk"
            self.removed.append(Path(path))


def _temporary(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Disk:
    if sys.platform != "linux":
        pytest.skip("the name of an open file is known on Linux only")
    return Disk(monkeypatch, tmp_path)


def indexing(cohort: Path, out: Path) -> None:
    index_folder(cohort / "images", out=out)


def extraction(cohort: Path, out: Path) -> None:
    extract(cohort / "images", cohort / "manifest.csv", out)


def splitting(cohort: Path, out: Path) -> None:
    write_split(split_in_folds(read_manifest(cohort / "manifest.csv"), 3, SplitOptions()), out)


def classifier(cohort: Path, out: Path) -> None:
    settings = {"n_neighbors": 5, "metric": "euclidean"}
    train_classifier(
        cohort / "features.csv", cohort / "split.csv", out, recipe="leukobench-knn", settings=settings, importance=False
    )


def network(cohort: Path, out: Path) -> None:
    train_network(
        cohort / "images",
        cohort / "manifest.csv",
        cohort / "split.csv",
        out,
        recipe="small-lightxception",
        changes={"input_side": 32},
        epochs=1,
    )


def levels(cohort: Path, out: Path) -> None:
    tied = cohort / f"{out.parent.parent.parent.name}.csv"  # the same manifest, with a table of ties
    index_folder(cohort / "images", out=tied)
    leakage(cohort / "features.csv", tied, out, levels=["image"], family="knn", seeds=2)


def comparing(cohort: Path, out: Path) -> None:
    compare([make_run(cohort / "runs" / out.parent.parent.parent.name)]).report(out)


WORK = {  # and what it keeps until its result is complete
    indexing: ["result.csv.partial"],
    extraction: ["result.csv.partial"],
    splitting: [],
    classifier: [],
    network: ["result.csv.partial"],
    levels: ["arguments.json"],
    comparing: [],
}


@pytest.mark.parametrize("work", WORK)
def test_a_result_is_on_the_disk_before_it_has_its_name_and_before_its_journal_is_removed(
    cohort: Path, tmp_path: Path, disk: Disk, work: Callable[[Path, Path], None]
) -> None:
    out = tmp_path / "new" / "folder" / "result.csv"
    work(cohort, out)
    assert out in disk.named
    assert [path.name for path in disk.removed] == WORK[work]
    assert not [name for name in disk.waiting if name.exists()]  # at the end, every name is on the disk
    assert not list(tmp_path.rglob("*.partial"))


def test_a_disk_that_is_full_when_it_writes_leaves_no_result_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_csv(pd.DataFrame({"a": [1]}), tmp_path / "table.csv")
    assert caught.value.filename.startswith(str(tmp_path / ".table.csv."))
    assert list(tmp_path.iterdir()) == []


def test_a_file_or_folder_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"table\.csv: already exists"), whole_file(tmp_path / "table.csv") as partial:
        partial.write_text("second")
        (tmp_path / "table.csv").write_text("first")
    with pytest.raises(InputError, match="run: already exists"), whole_folder(tmp_path / "run") as partial:
        (partial / "model.txt").write_text("second")
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "model.txt").write_text("first")
    assert {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == {
        "table.csv": "first",
        "model.txt": "first",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", "run"}


def test_a_file_system_without_hard_links_keeps_existing_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", fail)
    write_csv(pd.DataFrame({"a": [1]}), tmp_path / "table.csv")
    with pytest.raises(InputError, match="already exists"):
        write_csv(pd.DataFrame({"a": [2]}), tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == "a\n1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


WRITING = """
import pathlib, sys
from leukobench.core.files import whole_file, whole_folder

out = pathlib.Path(sys.argv[1])
with whole_file(out / "table.csv") as table, whole_folder(out / "run") as run:
    table.write_text("a")
    (run / "model.txt").write_text("b")
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_writer_leaves_is_removed_at_the_next_start_and_what_a_living_one_writes_is_not(
    tmp_path: Path,
) -> None:
    foreign = {".a.0123abcd.partial", ".b.csv.12.partial"}  # other programs use such names, too
    for name in foreign:
        (tmp_path / name).touch()
    command = [sys.executable, "-c", WRITING, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=REPOSITORY, **pipes) as writer:
        assert writer.stdout.readline() == "writing\n"
        names = {path.name for path in tmp_path.iterdir()}
        with only_writer(tmp_path / "other"):
            assert {path.name for path in tmp_path.iterdir()} == names | {".other.lock"}
        writer.kill()
    assert {path.name for path in tmp_path.iterdir()} == names
    assert len(names - foreign) == 4
    with only_writer(tmp_path / "other"):
        assert {path.name for path in tmp_path.iterdir()} == foreign | {".other.lock"}


def test_a_full_disk_is_named_by_the_result_when_a_library_tells_no_name(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device") as caught, whole_folder(tmp_path / "run"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def private() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_folders_and_files_have_the_permissions_that_the_user_asked_for(tmp_path: Path, private: None) -> None:
    with whole_folder(tmp_path / "run") as partial:
        (partial / "model.txt").write_text("model")
    write_csv(pd.DataFrame({"a": [1]}), tmp_path / "table.csv")
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.rglob("*")}
    assert modes == {"run": "0o700", "model.txt": "0o600", "table.csv": "0o600"}
