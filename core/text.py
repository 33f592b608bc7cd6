"""Plain text for the terminal: counted nouns, short lists, aligned tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

EXAMPLES = 10  # of each finding on the terminal; the written reports list all


def printable(text: str) -> str:
    """Return a text in one line that can be encoded, control characters and bytes that are not UTF-8 as escapes.

    >>> printable("a\\rb\\udcff")
    'a\\\\rb\\\\udcff'
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", lambda found: ascii(found[0])[1:-1], text)


def counted(number: int, noun: str) -> str:
    """Return `1 image`, `2,586 images`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def listed(items: Sequence[str], most: int = EXAMPLES) -> str:
    """Join the first items by commas and append the number of the others."""
    more = [f"and {len(items) - most:,} more"] * (len(items) > most)
    return ", ".join([*items[:most], *more])


def aligned(rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a table, header first; the first column is left-aligned, the others right-aligned."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in cells
    ]
