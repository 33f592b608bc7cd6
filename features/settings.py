"""What a user can set that changes the values of features; recorded beside every feature table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from leukobench.core.errors import InputError

CHANNELS = ("grey", "red", "green", "blue", "hue", "saturation", "value", "lightness", "a", "b")
QUANTISATIONS = ("fixed", "cell")
STAINS = ("none", "standardised", "reinhard", "macenko")
MAX_DISTANCE = 64  # px


@dataclass(frozen=True)
class Settings:
    """How a cell is measured.

    Attributes:
        channel: The intensity that texture and statistics are taken of, one of `CHANNELS`.
        levels: Grey levels of the co-occurrence matrices, 2 to 256.
        quantisation: `fixed`: 0..255 in `levels` equal steps, the same for every cell. `cell`: from the cell's own
            smallest to its largest value.
        distances: Steps between the pixels of a pair, px.
        stain: How the cell's colours are brought to a common reference first, see `features.stain`; `none`: not at all.
        size: Length in px that the image's longer side is scaled to before anything is measured; None: as it is.

    Raises:
        InputError: a value out of range.
    """

    channel: str = "grey"
    levels: int = 64
    quantisation: str = "fixed"
    distances: tuple[int, ...] = (1,)
    stain: str = "none"
    size: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
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
        if self.size is not None and self.size < 16:
            raise InputError(f"a size of {self.size} px; expected 16 or more")

    def as_facts(self) -> dict[str, Any]:
        """The settings for `features.json`."""
        return asdict(self) | {"distances": list(self.distances)}
