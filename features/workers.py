"""Who does the work: processes of this machine, or the workers of a Dask or Ray cluster.

On this machine joblib (loky) runs the processes. A cluster is asked through its own futures instead of joblib's
backends for it: that for Dask waits forever once a worker cannot load or survive a task, and that for Ray holds all
results back until the last. Both clusters repeat by themselves what a worker was doing when it died.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from functools import partial
from operator import methodcaller
from typing import Any, TypeVar

from joblib import Parallel, delayed

from leukobench.core.errors import InputError

BACKENDS = ("loky", "dask", "ray")  # the first is this machine
WINDOW = 256  # tasks that are with a cluster at a time: enough to keep it busy, few enough to hold in memory
PATIENCE = 30  # seconds to wait for a scheduler, and for its first worker

# joblib warns where a run stops before its end; who stops it says why
warnings.filterwarnings("ignore", message=".*could benefit from adjusting the input task iterator")

Task, Result = TypeVar("Task"), TypeVar("Result")


def in_order(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    jobs: int = 1,
    backend: str = BACKENDS[0],
    scheduler: str | None = None,
) -> Iterator[Result]:
    """Call a function on each task elsewhere, and yield the results in the tasks' order, as they come.

    Tasks are taken from the iterable while results come back, so that memory does not grow with their number. A worker
    that dies costs time only on a cluster, where another one repeats its tasks.

    Args:
        function: What to call; workers must be able to import it.
        tasks: Its arguments.
        jobs: Processes, for loky.
        backend: One of `BACKENDS`.
        scheduler: Address of the cluster, for dask (`tcp://host:8786`) and ray (`host:6379`).

    Raises:
        InputError: what the function raised, the extra is not installed, nothing answers at the address, or a task
            killed every worker that tried it.
    """
    if backend == "dask":
        return _on_dask(function, tasks, str(scheduler))
    if backend == "ray":
        return _on_ray(function, tasks, str(scheduler))
    if backend != "loky":
        raise InputError(f"no backend {backend!r}; there is {', '.join(BACKENDS)}")
    return _on_this_machine(function, tasks, jobs)


def _on_this_machine(function: Callable[[Task], Result], tasks: Iterable[Task], jobs: int) -> Iterator[Result]:
    calls = (delayed(function)(task) for task in tasks)
    try:
        with _interrupts_ignored():
            results = Parallel(n_jobs=jobs, return_as="generator", batch_size=1, pre_dispatch="3 * n_jobs")(calls)
        with _manager_silenced():
            yield from results
    except BrokenExecutor:
        raise InputError("a worker process was killed; if memory ran out, take fewer --jobs") from None


@contextlib.contextmanager
def _manager_silenced() -> Iterator[None]:
    """Let loky's managing thread not print how it was stopped: it may stumble over workers that are gone already.

    What goes wrong in a task, or with a worker, joblib raises in the calling thread. After a stop this stays so: the
    thread may stumble later.
    """
    before = threading.excepthook

    def told(problem: threading.ExceptHookArgs) -> None:
        if problem.thread is None or problem.thread.name != "ExecutorManagerThread":
            before(problem)

    threading.excepthook = told
    yield
    threading.excepthook = before


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C while processes are started: they inherit that, and only the parent answers Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():  # Python lets no other one say so
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _on_dask(function: Callable[[Task], Result], tasks: Iterable[Task], scheduler: str) -> Iterator[Result]:
    try:
        from distributed import Client
    except ImportError:
        raise InputError("--backend dask needs an extra: pip install 'leukobench[dask]'") from None
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


def _on_ray(function: Callable[[Task], Result], tasks: Iterable[Task], scheduler: str) -> Iterator[Result]:
    try:
        import ray
    except ImportError:
        raise InputError("--backend ray needs an extra: pip install 'leukobench[ray]'") from None
    host, _, port = scheduler.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()  # Ray itself would try for minutes
        context = ray.init(address=scheduler, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError) as error:
        raise InputError(f"{scheduler}: no Ray cluster answers ({_line(error)})") from None
    with context:
        yield from _windowed(partial(ray.remote(_call).remote, function), ray.get, tasks, scheduler)


def _windowed(
    submit: Callable[[Task], Any], result: Callable[[Any], Result], tasks: Iterable[Task], scheduler: str
) -> Iterator[Result]:
    """Submit tasks, at most `WINDOW` ahead of the result that is waited for."""
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
    """Ray makes remote only what is a plain function."""
    return function(task)


def _line(error: Exception) -> str:
    """The last line of what an error says: the cause, where a cluster sends a traceback along."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
