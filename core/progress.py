"""Progress bars, and what the library logs: which long work is done, and how long it took.

The library prints nothing. Each module logs to the logger of its name, below `leukobench`, at the level INFO. Bars are
drawn on a terminal only, and not if the logger `leukobench` leaves out warnings, as with `leukobench -q`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from leukobench.core.text import counted

LIBRARY = logging.getLogger("leukobench")


class ProgressBar(tqdm):
    """A bar of `tqdm` whose work is logged when it is complete: "extracting: 40 cells in 1.2 s"."""

    def __init__(self, log: logging.Logger, iterable: Iterable[Any] | None = None, **shown: Any) -> None:
        """Begin the work.

        Args:
            log: Logger of the module.
            iterable: What is worked on, one after the other; None if `update` is called instead.
            shown: Arguments of `tqdm`: `desc`, `total`, `unit` and so on. Without `desc` there is no bar.
        """
        self._log, self._begun, self._what = log, time.monotonic(), shown.get("desc")
        size = shown.get("total", len(iterable) if isinstance(iterable, list | tuple) else None)
        if size is None:
            self._done = str(self._what)
        else:
            number = int((size - shown.get("initial", 0)) * shown.get("unit_scale", 1))
            self._done = f"{self._what}: {counted(number, shown.get('unit', 'step'))}"
        hidden = self._what is None or not LIBRARY.isEnabledFor(logging.WARNING)
        super().__init__(iterable, disable=True if hidden else None, **shown)

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        self._end()

    def __exit__(self, kind: Any, *error: Any) -> None:
        super().__exit__(kind, *error)
        if kind is None:
            self._end()

    def _end(self) -> None:
        if self._what is not None:
            self._log.info("%s in %.1f s", self._done, time.monotonic() - self._begun)


@contextmanager
def logged_to_stderr(level: int) -> Iterator[None]:
    """Write what the library logs to stderr, from a level on.

    >>> with logged_to_stderr(logging.ERROR):
    ...     LIBRARY.isEnabledFor(logging.WARNING)
    False
    """
    handler, before = _Handler(), LIBRARY.level
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    LIBRARY.addHandler(handler)
    LIBRARY.setLevel(level)
    try:
        yield
    finally:
        LIBRARY.setLevel(before)
        LIBRARY.removeHandler(handler)


class _Handler(logging.StreamHandler):
    """Writes lines to stderr, above the bars that are there."""

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)
