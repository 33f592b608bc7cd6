"""Faults at the n-th operation on the disk: a child process fails, is killed, or loses power there.

The operations are the opening of a file for writing, fsync, rename, link, mkdir, unlink, rmdir and the reservation of
space. A power cut leaves the state that a disk may have: a file has the content of its last fsync, or is empty without
one, and a name whose folder was not synced is there or not.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import errno
import io
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TOO_LONG = 120  # s; a child process that takes longer is ended by SIGALRM
COMMIT = 1  # s; after so long the kernel writes the names of an ext4 file system, also without fsync
POWER_CUT = 99  # exit code of a child process that lost power
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl: processes whose parent ends become children of this one
OPERATIONS = ("fsync", "rename", "replace", "link", "mkdir", "unlink", "rmdir", "posix_fallocate")
REASONS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)


@dataclass
class Disk:
    """Counts the operations on the files of a folder, and does something before the n-th.

    Attributes:
        root: The folder.
        at: Number of the operation, from 1; 0: none.
        act: What is done before it, with the path.
    """

    root: Path
    at: int = 0
    act: Callable[[str], None] = lambda path: None
    count: int = 0

    def __post_init__(self) -> None:
        # content of files at their last fsync; what was there before is on the disk
        self.synced = {str(path): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}
        self.loose: dict[str, str | None] = {}  # names that their folder does not have on the disk yet: their old name

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the operations of this process in the block."""
        before = {name: getattr(os, name) for name in OPERATIONS}
        opened, handle = io.open, os.open
        for name, call in before.items():
            setattr(os, name, self._counting(name, call))
        os.open = self._counting_handle(handle)
        io.open = builtins.open = self._counting_open(opened)  # type: ignore[assignment]
        try:
            yield
        finally:
            io.open = builtins.open = opened
            os.open = handle
            for name, call in before.items():
                setattr(os, name, call)

    def _mine(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and f"{path}/".startswith(f"{self.root}/")

    def _operation(self, path: str) -> None:
        self.count += 1
        if self.count == self.at:
            self.act(path)

    def _counting(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(first: Any, *others: Any, **options: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else first
            if options.get("dir_fd") is not None:
                path = os.path.join(os.readlink(f"/proc/self/fd/{options['dir_fd']}"), path)
            if self._mine(path):
                self._operation(str(path))
            result = call(first, *others, **options)
            if self._mine(path):
                self._done(name, str(path), str(others[0]) if others else "")
            return result

        return wrapper

    def _counting_open(self, opened: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(file: Any, mode: str = "r", *others: Any, **options: Any) -> Any:
            if self._mine(file) and set(mode) & set("wax+"):
                self._operation(str(file))
                if not os.path.exists(file):
                    self.loose[str(file)] = None
            return opened(file, mode, *others, **options)

        return wrapper

    def _counting_handle(self, opened: Callable[..., int]) -> Callable[..., int]:
        def wrapper(path: Any, flags: int, *others: Any, **options: Any) -> int:
            if self._mine(path) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self._operation(str(path))
                if not os.path.exists(path):
                    self.loose[str(path)] = None
            return opened(path, flags, *others, **options)

        return wrapper

    def _done(self, name: str, path: str, other: str) -> None:
        if name == "fsync" and os.path.isdir(path):
            self.loose = {each: old for each, old in self.loose.items() if os.path.dirname(each) != path}
        elif name == "fsync":
            self.synced[path] = Path(path).read_bytes()
        elif name in ("rename", "replace", "link"):
            self.loose[other] = path
            for known in [each for each in self.synced if each == path or each.startswith(f"{path}/")]:
                self.synced[other + known[len(path) :]] = self.synced[known]
        elif name == "mkdir":
            self.loose[path] = None

    def after_power_cut(self, to: Path, rng: np.random.Generator) -> None:
        """Write to another folder what the disk may hold if the power is cut now."""
        shutil.copytree(self.root, to, symlinks=True)
        for path in [each for each in to.rglob("*") if each.is_file()]:
            there = str(self.root / path.relative_to(to))
            path.write_bytes(self.synced.get(there, b""))
        for name, old in self.loose.items():
            path = to / Path(name).relative_to(self.root)
            if not path.exists() or rng.random() < 0.5:
                continue
            before = to / Path(old).relative_to(self.root) if old else None
            if before is not None and not before.exists() and before.parent.exists():
                path.rename(before)
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def image_of(mounted: Path) -> Path:
    """Return the file that is the disk of a folder, see `benchmarks.disk_image`."""
    return mounted.with_name(f"{mounted.name}.img")


def cut_power(mounted: Path, rng: np.random.Generator) -> None:
    """Keep what the disk of a folder contains, at once or after the kernel has written something by itself."""
    time.sleep(rng.choice([0, rng.uniform(0, 2 * COMMIT)]))
    image = image_of(mounted)
    before, now = b"", image.read_bytes()
    while before != now:
        before, now = now, image.read_bytes()
    image.with_suffix(".after").write_bytes(now)


@dataclass(frozen=True)
class Outcome:
    """How a command ended in a child process.

    Attributes:
        code: Exit code; negative: the signal that killed it.
        output: What it printed.
        operations: How many operations on the disk it did.
        seconds: How long it ran.
    """

    code: int
    output: str
    operations: int
    seconds: float

    @property
    def one_line(self) -> bool:
        """Whether it ended well, or with one line that tells the error, or as the fault wanted it."""
        lines = [line for line in self.output.splitlines() if line.startswith("Error: ")]
        ended = self.code in (0, POWER_CUT, -signal.SIGKILL) or (self.code in (1, 2) and len(lines) == 1)
        return ended and "Traceback" not in self.output


def refuse_threads() -> None:
    """Raise RuntimeError if this process has more than one thread: a fork copies one, and locks of the others."""
    names = [Path("/proc/self/task", task, "comm").read_text().strip() for task in os.listdir("/proc/self/task")]
    if len(names) > 1:
        raise RuntimeError(f"a process with threads ({', '.join(names)}) cannot be forked safely")


def apart(work: Callable[[], object]) -> None:
    """Do something in a child process, so that this one starts no threads and can fork again.

    Raises:
        RuntimeError: it failed.
    """
    refuse_threads()
    process = os.fork()
    if not process:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(process, 0)[1]:
        raise RuntimeError("the child process failed")


def run(command: list[str], root: Path, *, at: int = 0, how: str = "", seed: int = 0) -> Outcome:
    """Run a command of leukobench in a child process.

    Args:
        command: The command and its arguments.
        root: Folder whose operations count.
        at: Number of the operation before which something happens.
        how: What happens: `fail`, `kill`, `cut`, or `snapshot` (a power cut of `benchmarks.disk_image`); or `full`: no
            file grows over `at` bytes; or `memory`: the process gets no more than `at` bytes beside those that it has.
        seed: Seed of what is drawn.
    """
    refuse_threads()
    reading, writing = os.pipe()  # a file for the output would count as one that grows
    begun = time.perf_counter()
    process = os.fork()
    if not process:
        try:
            _child(command, root, writing, at, how, np.random.default_rng(seed))
        finally:
            os._exit(70)
    os.close(writing)
    with open(reading, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    head, mark, operations = text.rpartition("\noperations ")
    return Outcome(status, head if mark else text, int(operations) if mark else 0, time.perf_counter() - begun)


def _child(command: list[str], root: Path, output: int, at: int, how: str, rng: np.random.Generator) -> None:
    _begin(output)
    disk = Disk(root, at if how in ("fail", "kill", "cut", "snapshot") else 0)

    def act(path: str) -> None:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "cut":
            disk.at = 0
            disk.after_power_cut(root.with_name(f"{root.name}.after"), rng)
            os._exit(POWER_CUT)
        if how == "snapshot":
            cut_power(root, rng)
            os._exit(POWER_CUT)
        reason = int(rng.choice(REASONS))
        raise OSError(reason, os.strerror(reason), path)

    disk.act = act
    if how == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (at, resource.RLIM_INFINITY))
    if how == "memory":
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + at, resource.RLIM_INFINITY))
    with disk.watched():
        code = _main(command)
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_AS):
        resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(2, f"\noperations {disk.count}".encode())
    os._exit(code)


def _begin(output: int) -> None:
    """Let a child process print to a pipe, and end it if it takes too long."""
    signal.alarm(TOO_LONG)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)


def _main(command: list[str]) -> int:
    """Run a command, and return its exit code."""
    from leukobench.cli import main

    try:
        main(command, standalone_mode=True, prog_name="leukobench")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BaseException:
        traceback.print_exc()
        return 71
    return 0


def orphans(command: list[str], seconds: float, patience: float) -> list[str]:
    """Kill a command that has worker processes, and return which processes of it still live after some time.

    Args:
        command: The command and its arguments.
        seconds: When it is killed (SIGKILL), after its start; it may have ended by then.
        patience: How long the others may live on, s.

    Returns:
        Their command lines; they are ended, too.
    """
    refuse_threads()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    process = os.fork()
    if not process:
        try:
            _begin(os.open(os.devnull, os.O_WRONLY))
            os._exit(_main(command))
        finally:
            os._exit(70)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    end = time.monotonic() + patience
    while _children() and time.monotonic() < end:
        time.sleep(0.02)
    left = _children()
    names = [Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode() for each in left]
    while left := _children():
        for each in left:
            os.kill(each, signal.SIGKILL)
        time.sleep(0.02)
    return names


def _children() -> list[int]:
    """Reap the child processes that have ended, and return the others."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return [int(child) for child in Path("/proc/self/task", str(os.getpid()), "children").read_text().split()]
