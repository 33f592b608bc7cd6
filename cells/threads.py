"""OpenCV on one thread for the length of a block, without changing the caller's process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import cv2


@contextlib.contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Let OpenCV use one thread inside the block, and as many as before after it.

    Images are processed in parallel by processes; threads of OpenCV inside them would compete for the same cores.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
