"""Execution backends: the processes of this machine, or the workers of a Dask or Ray cluster.

On this machine `core.processes` runs them with joblib (loky). A cluster is used through its own futures instead of
joblib's backends for it: the one for Dask waits forever once a worker cannot load or survive a task, and the one for
Ray holds all results back until the last. Both clusters repeat the tasks of a worker that died.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from operator import methodcaller
from typing import Any, TypeVar, cast

from joblib import delayed

import leukobench
from leukobench.core.errors import InputError
from leukobench.core.processes import Call, in_processes

BACKENDS = ("loky", "dask", "ray")  # the first is this machine
WINDOW = 256  # tasks submitted to a cluster at a time: enough to keep it busy, few enough to hold in memory
PATIENCE = 30  # seconds to wait for a scheduler, and for its first worker

Task = TypeVar("Task")
Result = TypeVar("Result")


class ClusterError(InputError):
    """A cluster that does not answer, or that failed."""


class Workers:
    """The processes of this machine."""

    def __init__(self, jobs: int = 1) -> None:
        self.jobs = jobs

    def share(self, value: Any) -> Any:
        """Return what stands for a value as an argument of calls, so that it is sent once; not inside a list."""
        return value

    def run(self, calls: Iterable[Call]) -> Generator[Any, None, None]:
        """Make calls in worker processes, and yield their results in the order of the calls.

        Calls are taken from the iterable while results come back, so that memory does not grow with their number. On a
        cluster another worker repeats the calls of a worker that died.

        Args:
            calls: The calls, made with `joblib.delayed`; workers must be able to import their functions.

        Raises:
            InputError: a function raised it.
            ClusterError: a call killed every worker of a cluster that tried it, or the cluster failed.
            ChildProcessError: a worker process on this machine was killed.
        """
        return in_processes(calls, self.jobs)


THIS_PROCESS = Workers()


class _Cluster(Workers):
    """The workers of a cluster, by its functions: submit a call, get its result, and store a value there."""

    def __init__(
        self, scheduler: str, submit: Callable[..., Any], result: Callable[[Any], Any], store: Callable[[Any], Any]
    ) -> None:
        super().__init__()
        self._scheduler, self._submit, self._result, self._store = scheduler, submit, result, store

    def share(self, value: Any) -> Any:
        return self._store(value)

    def run(self, calls: Iterable[Call]) -> Generator[Any, None, None]:
        """Submit calls, at most `WINDOW` ahead of the result that is waited for, and yield the results in order."""
        waiting: deque[Any] = deque()
        for function, arguments, options in calls:
            waiting.append(self._submit(leukobench.__version__, function, *arguments, **options))
            if len(waiting) == WINDOW:
                yield self._oldest(waiting)
        while waiting:
            yield self._oldest(waiting)

    def _oldest(self, waiting: deque[Any]) -> Any:
        try:
            return self._result(waiting.popleft())
        except InputError as error:
            raise InputError(_line(error)) from None
        except Exception as error:  # of the cluster: a worker that cannot import us, a task that kills its workers
            message = f"{self._scheduler}: the cluster failed ({type(error).__name__}: {_line(error)})"
            raise ClusterError(message) from error


def check_backend(jobs: int, backend: str, scheduler: str | None) -> None:
    """Check the arguments of `open_workers`, before there is a connection.

    Raises:
        InputError: `jobs` is 0, there is no such backend, or the address is missing or one too many.
    """
    if jobs == 0:
        raise InputError("jobs is 0; expected 1 or more processes")
    if backend not in BACKENDS:
        raise InputError(f"no backend {backend!r}; there is {', '.join(BACKENDS)}")
    if backend == BACKENDS[0] and scheduler is not None:
        raise InputError(f"the backend {backend} is this machine, which has no scheduler; choose dask or ray")
    if backend != BACKENDS[0] and scheduler is None:
        raise InputError(f"the backend {backend} needs the address of a scheduler")


@contextlib.contextmanager
def open_workers(jobs: int = 1, backend: str = BACKENDS[0], scheduler: str | None = None) -> Iterator[Workers]:
    """Connect to the workers of a backend for the duration of a block.

    Args:
        jobs: Number of parallel processes, for `loky`; with 1 the calling process does the work.
        backend: Execution backend, one of `BACKENDS`.
        scheduler: Address of the cluster, for `dask` (`tcp://host:8786`) and `ray` (`host:6379`).

    Raises:
        InputError: see `check_backend`; or the extra of the backend is not installed.
        ClusterError: nothing answers at the address.
    """
    check_backend(jobs, backend, scheduler)
    if scheduler is None:
        yield Workers(jobs)
        return
    with (_dask if backend == "dask" else _ray)(scheduler) as cluster:
        yield cluster


def in_order(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    jobs: int = 1,
    backend: str = BACKENDS[0],
    scheduler: str | None = None,
) -> Generator[Result, None, None]:
    """Call a function on each task in worker processes, and yield the results in the order of the tasks.

    Args:
        function: The function; workers must be able to import it.
        tasks: Its arguments.
        jobs: See `open_workers`.
        backend: See `open_workers`.
        scheduler: See `open_workers`.

    Raises:
        InputError: see `open_workers` and `Workers.run`.
        ChildProcessError: a worker process on this machine was killed.
    """
    check_backend(jobs, backend, scheduler)  # at the call, not at the first result

    def results() -> Generator[Result, None, None]:
        calls = (delayed(function)(task) for task in tasks)
        with open_workers(jobs, backend, scheduler) as workers, contextlib.closing(workers.run(calls)) as found:
            yield from found

    return results()


@contextlib.contextmanager
def _dask(scheduler: str) -> Iterator[Workers]:
    try:
        from distributed import Client
    except ImportError:
        raise InputError("the backend dask needs an extra: pip install 'leukobench[dask]'") from None
    try:
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(f"{scheduler}: no Dask scheduler answers ({_line(error)})") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            message = f"{scheduler}: the Dask scheduler has no worker; start some with `dask worker`"
            raise ClusterError(message) from None
        submit = partial(client.submit, _call, pure=False)

        def store(value: Any) -> Any:
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # that the value is large
                return submit(leukobench.__version__, _itself, value)  # scattered, it would die with its worker

        yield _Cluster(scheduler, submit, methodcaller("result"), store)


@contextlib.contextmanager
def _ray(scheduler: str) -> Iterator[Workers]:
    try:
        import ray
    except ImportError:
        raise InputError("the backend ray needs an extra: pip install 'leukobench[ray]'") from None
    host, _, port = scheduler.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()  # Ray itself would try for minutes
        context = ray.init(address=scheduler, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError) as error:
        raise ClusterError(f"{scheduler}: no Ray cluster answers ({_line(error)})") from None
    with context:
        call = cast(Any, ray.remote(_call))
        yield _Cluster(scheduler, call.remote, cast(Callable[[Any], Any], ray.get), ray.put)


def _call(version: str, function: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    """Call a function, in a worker of the version of leukobench that sent the call."""
    if version != leukobench.__version__:
        raise InputError(
            f"a worker has leukobench {leukobench.__version__}, not {version}; install one version everywhere"
        )
    return function(*arguments, **options)


def _itself(value: Result) -> Result:
    """Return a value: a task that stores it in a worker, and in another one if that dies."""
    return value


def _line(error: Exception) -> str:
    """Return the last line of an error: its cause, if a cluster sends a traceback with it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
