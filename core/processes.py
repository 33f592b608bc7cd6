"""Worker processes on this machine: they end with the process that started them, and none dies without a word."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from typing import Any

from joblib import Parallel

WATCH = 0.5  # s between two looks at whether the parent lives
STOPPING = (signal.SIGINT, signal.SIGTERM)  # the parent answers them, and ends its workers

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]  # as `joblib.delayed` makes it


def in_processes(
    calls: Iterable[Call], jobs: int, *, batch_size: int = 1, pre_dispatch: str = "3 * n_jobs"
) -> Generator[Any, None, None]:
    """Make calls in worker processes (joblib's, loky), and yield their results in order.

    Args:
        calls: The calls, made with `joblib.delayed`; taken while results come back.
        jobs: Number of parallel processes; with 1 the calling process does the work.
        batch_size: Number of calls that are sent to a worker at a time.
        pre_dispatch: How many calls are sent ahead, see `joblib.Parallel`.

    Raises:
        ChildProcessError: a worker process was killed.
    """
    if jobs == 1:
        for function, arguments, options in calls:
            yield function(*arguments, **options)
        return
    try:
        with _signals_held(), _tracker_silenced():
            results = Parallel(
                n_jobs=jobs,
                return_as="generator",
                batch_size=batch_size,
                pre_dispatch=pre_dispatch,
                initializer=_begin_worker,
                initargs=(os.getpid(),),
            )(calls)
        with _manager_silenced(), _closed_quietly(results):
            for result in results:  # noqa: UP028  `yield from` would close the results before the block does
                yield result
    except BrokenExecutor:
        raise ChildProcessError(
            "a worker process was killed; if memory ran out, use fewer parallel processes"
        ) from None


def _begin_worker(parent: int) -> None:
    """Prepare a worker process: it leaves signals to its parent, and ends when its parent is gone."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    if os.name != "nt":  # where a process keeps the number of a parent that is gone
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH)
    os._exit(1)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back while processes are started: these inherit that, and never see them.

    On Windows, Ctrl-C is ignored meanwhile.
    """
    if os.name != "nt":
        before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    elif threading.current_thread() is threading.main_thread():
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, handler)
    else:
        yield


@contextlib.contextmanager
def _tracker_silenced() -> Iterator[None]:
    """Start loky's resource tracker without its warnings: after an early stop it may print some below our error.

    It removes what killed workers left all the same. loky starts it with the `-W` options of this process.
    """
    option = "ignore:resource_tracker:UserWarning"
    sys.warnoptions.append(option)
    try:
        yield
    finally:
        sys.warnoptions.remove(option)


@contextlib.contextmanager
def _closed_quietly(results: Generator[Any, None, None]) -> Iterator[None]:
    """Close the results at the end of the block without joblib's warning that some were not used."""
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*could benefit from adjusting the input task iterator")
            results.close()


@contextlib.contextmanager
def _manager_silenced() -> Iterator[None]:
    """Keep loky's managing thread from printing how it was stopped: it may fail on workers that are already gone.

    joblib raises every error of a task or worker in the calling thread. After an early stop the hook stays, because the
    thread may fail later; it is installed once, and affects no other thread.
    """
    before = threading.excepthook
    if isinstance(before, _ManagerHook):
        yield
        return
    threading.excepthook = _ManagerHook(before)
    yield
    threading.excepthook = before


class _ManagerHook:
    """A `threading.excepthook` that ignores the managing thread of loky."""

    def __init__(self, other: Callable[[threading.ExceptHookArgs], Any]) -> None:
        self.other = other

    def __call__(self, problem: threading.ExceptHookArgs, /) -> None:
        if problem.thread is None or problem.thread.name != "ExecutorManagerThread":
            self.other(problem)
