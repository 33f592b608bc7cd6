"""The settings that change the values of features; recorded beside every feature table."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypedDict

from leukobench.core.errors import InputError

CHANNELS = ("grey", "red", "green", "blue", "hue", "saturation", "value", "lightness", "a", "b")
QUANTISATIONS = ("fixed", "cell")
STAINS = ("none", "standardised", "reinhard", "macenko")
MAX_DISTANCE = 64  # px
MIN_SIZE, MAX_SIZE = 16, 10_000  # px


class SettingChanges(TypedDict, total=False):
    """Settings that replace those of a feature set, by name; None keeps the setting of the set."""

    channel: str | None
    levels: int | None
    quantisation: str | None
    distances: Iterable[int] | None
    stain: str | None
    size: int | Literal["native"] | None


@dataclass(frozen=True)
class MeasurementSettings:
    """How a cell is measured.

    Attributes:
        channel: The intensity for texture and statistical features, one of `CHANNELS`.
        levels: Number of grey levels of the co-occurrence matrices, 2 to 256.
        quantisation: `fixed`: 0..255 in `levels` equal steps, the same for every cell. `cell`: from the smallest to
            the largest value of the cell.
        distances: Distances between the two pixels of a co-occurring pair, px.
        stain: Stain normalisation, one of `STAINS`, see `leukobench.features.stain`; `none` leaves colours unchanged.
        size: Length that the longer side of the image is scaled to before measuring, px; None keeps the native size.

    Raises:
        InputError: a value is out of range or of another type.
    """

    channel: str = "grey"
    levels: int = 64
    quantisation: str = "fixed"
    distances: tuple[int, ...] = (1,)
    stain: str = "none"
    size: int | None = None

    def __post_init__(self) -> None:
        """Convert integers to `int`, and refuse values out of range."""
        object.__setattr__(self, "levels", _integer("levels", self.levels))
        object.__setattr__(self, "distances", _integers("distances", self.distances))
        if self.size is not None:
            object.__setattr__(self, "size", _integer("size", self.size))
        if self.channel not in CHANNELS:
            raise InputError(f"no channel {self.channel!r}; there is {', '.join(CHANNELS)}")
        if self.quantisation not in QUANTISATIONS:
            raise InputError(f"no quantisation {self.quantisation!r}; there is {', '.join(QUANTISATIONS)}")
        if self.stain not in STAINS:
            raise InputError(f"no stain normalisation {self.stain!r}; there is {', '.join(STAINS)}")
        if not 2 <= self.levels <= 256:
            raise InputError(f"{self.levels} grey levels; expected 2 to 256")
        if not self.distances or len(set(self.distances)) < len(self.distances):
            raise InputError(f"distances {self.distances}; expected one or more, each once")
        if not all(1 <= distance <= MAX_DISTANCE for distance in self.distances):
            raise InputError(f"distances {self.distances}; expected 1 to {MAX_DISTANCE} px")
        if self.size is not None and not MIN_SIZE <= self.size <= MAX_SIZE:
            raise InputError(f"a size of {self.size} px; expected {MIN_SIZE} to {MAX_SIZE}")

    def as_facts(self) -> dict[str, Any]:
        """Return the settings for `features.csv.json`."""
        return asdict(self) | {"distances": list(self.distances)}


def _integer(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise InputError(f"{name} is {value!r}; expected an integer") from None


def _integers(name: str, values: Any) -> tuple[int, ...]:
    try:
        return tuple(map(operator.index, values))
    except TypeError:
        raise InputError(f"{name} is {values!r}; expected integers, such as (1, 2)") from None
