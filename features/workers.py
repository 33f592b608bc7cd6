"""Execution backends: the processes of this machine, or the workers of a Dask or Ray cluster.

On this machine `core.processes` runs them with joblib (loky). A cluster is used through its own futures instead of
joblib's backends for it: the one for Dask waits forever once a worker cannot load or survive a task, and the one for
Ray holds all results back until the last. Both clusters repeat the tasks of a worker that died.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable
from functools import partial
from operator import methodcaller
from typing import Any, TypeVar, cast

from joblib import delayed

from leukobench.core.errors import InputError
from leukobench.core.processes import in_processes

BACKENDS = ("loky", "dask", "ray")  # the first is this machine
WINDOW = 256  # tasks submitted to a cluster at a time: enough to keep it busy, few enough to hold in memory
PATIENCE = 30  # seconds to wait for a scheduler, and for its first worker

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    jobs: int = 1,
    backend: str = BACKENDS[0],
    scheduler: str | None = None,
) -> Generator[Result, None, None]:
    """Call a function on each task in worker processes, and yield the results in the order of the tasks.

    Tasks are taken from the iterable while results come back, so that memory does not grow with their number. On a
    cluster another worker repeats the tasks of a worker that died.

    Args:
        function: The function; workers must be able to import it.
        tasks: Its arguments.
        jobs: Number of parallel processes, for `loky`; with 1 the calling process does the work.
        backend: Execution backend, one of `BACKENDS`.
        scheduler: Address of the cluster, for `dask` (`tcp://host:8786`) and `ray` (`host:6379`).

    Raises:
        InputError: the function raised it, `jobs` is 0, there is no such backend or its extra is not installed,
            nothing answers at the address, or a task killed every worker of a cluster that tried it.
        ChildProcessError: a worker process on this machine was killed.
    """
    if jobs == 0:
        raise InputError("jobs is 0; expected 1 or more processes")
    if backend not in BACKENDS:
        raise InputError(f"no backend {backend!r}; there is {', '.join(BACKENDS)}")
    if backend == BACKENDS[0]:
        return in_processes((delayed(function)(task) for task in tasks), jobs)
    if scheduler is None:
        raise InputError(f"the backend {backend} needs the address of a scheduler")
    run_on_cluster = _on_dask if backend == "dask" else _on_ray
    return run_on_cluster(function, tasks, scheduler)


def _on_dask(
    function: Callable[[Task], Result], tasks: Iterable[Task], scheduler: str
) -> Generator[Result, None, None]:
    try:
        from distributed import Client
    except ImportError:
        raise InputError("the backend dask needs an extra: pip install 'leukobench[dask]'") from None
    try:
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{scheduler}: no Dask scheduler answers ({_line(error)})") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise InputError(f"{scheduler}: the Dask scheduler has no worker; start some with `dask worker`") from None
        yield from _windowed(partial(client.submit, function, pure=False), methodcaller("result"), tasks, scheduler)


def _on_ray(function: Callable[[Task], Result], tasks: Iterable[Task], scheduler: str) -> Generator[Result, None, None]:
    try:
        import ray
    except ImportError:
        raise InputError("the backend ray needs an extra: pip install 'leukobench[ray]'") from None
    host, _, port = scheduler.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()  # Ray itself would try for minutes
        context = ray.init(address=scheduler, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError) as error:
        raise InputError(f"{scheduler}: no Ray cluster answers ({_line(error)})") from None
    with context:
        call, result = cast(Any, ray.remote(_call)), cast(Callable[[Any], Result], ray.get)
        yield from _windowed(partial(call.remote, function), result, tasks, scheduler)


def _windowed(
    submit: Callable[[Task], Any], result: Callable[[Any], Result], tasks: Iterable[Task], scheduler: str
) -> Generator[Result, None, None]:
    """Submit tasks, at most `WINDOW` ahead of the result that is waited for, and yield the results in order."""
    waiting: deque[Any] = deque()

    def oldest() -> Result:
        try:
            return result(waiting.popleft())
        except InputError as error:
            raise InputError(_line(error)) from None
        except Exception as error:  # of the cluster: a worker that cannot import us, a task that kills its workers
            raise InputError(f"{scheduler}: the cluster failed ({type(error).__name__}: {_line(error)})") from error

    for task in tasks:
        waiting.append(submit(task))
        if len(waiting) == WINDOW:
            yield oldest()
    while waiting:
        yield oldest()


def _call(function: Callable[[Task], Result], task: Task) -> Result:
    """Call a function: Ray can only send plain functions."""
    return function(task)


def _line(error: Exception) -> str:
    """Return the last line of an error: its cause, if a cluster sends a traceback with it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
