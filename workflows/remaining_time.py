"""How long the rest of a study takes, from what the finished steps of the same call took.

Each step has an expected time, measured once on one machine. Only the ratios between the steps count: the expected time
of the rest is multiplied by actual / expected time of the steps that are finished.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from leukobench.core.text import counted
from leukobench.workflows.study_plan import Step

# seconds of each step with two numbers of images: benchmarks/RESULTS.md, "The whole study in one command"
IMAGES = (1_428, 4_198)
SECONDS = {
    "manifest": (11.4, 22.3),
    "verification": (0.7, 2.9),
    "audit": (1.3, 7.1),
    "folds": (0.1, 0.2),
    "features": (5.9, 28.5),
    "svm": (12.2, 30.9),
    "knn": (16.6, 35.1),
    "network": (171.7, 295),
    "combination": (0.3, 0.9),
    "comparison": (4.1, 4.4),
    "leakage": (32.7, 131),
}
QUICK_LEAKAGE = (20.7, 57.9)  # of the image level only
BASIS = 0.02  # share of the expected time of all steps that is finished before anything is estimated


def expected_seconds(images: int, quick: bool) -> dict[str, float]:
    """Return the expected time of each step: interpolated between the measured numbers of images.

    With more images it grows in proportion to them; with fewer it stays the same.
    """
    measured = SECONDS | ({"leakage": QUICK_LEAKAGE} if quick else {})
    beyond = max(1.0, images / IMAGES[-1])
    return {name: beyond * float(np.interp(images, IMAGES, seconds)) for name, seconds in measured.items()}


class RemainingTime:
    """Estimates the time that is left, while the steps of a study are done."""

    def __init__(self, expected: dict[str, float]) -> None:
        """Begin with no finished step.

        Args:
            expected: Expected time of each step by name; only the ratios count.
        """
        self._expected = expected
        self._finished: dict[str, float] = {}

    def add(self, name: str, seconds: float | None) -> None:
        """Note what a step took; None if it was not done from its beginning to its end, so that nothing follows."""
        if seconds is not None:
            self._finished[name] = seconds

    def seconds(self, rest: Sequence[Step], limit: float = math.inf) -> float | None:
        """Estimate how long the rest takes.

        Args:
            rest: The steps that are not complete, in their order.
            limit: Seconds from now after which no optional step is begun; such steps do not count.

        Returns:
            Seconds; None if too little is finished.
        """
        basis = sum(self._expected[name] for name in self._finished)
        if not basis or basis < BASIS * (basis + sum(self._expected[step.name] for step in rest)):
            return None
        pace, left = sum(self._finished.values()) / basis, 0.0
        for step in rest:
            if not step.optional or left < limit:
                left += pace * self._expected[step.name]
        return left


def in_words(seconds: float) -> str:
    """Return `about 6 minutes left`.

    >>> in_words(20), in_words(340), in_words(9000)
    ('less than a minute left', 'about 6 minutes left', 'about 2.5 hours left')
    """
    if seconds < 60:
        return "less than a minute left"
    if seconds < 5400:
        return f"about {counted(round(seconds / 60), 'minute')} left"
    return f"about {round(seconds / 1800) / 2:g} hours left"
