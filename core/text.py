"""Plain text for the terminal: counted nouns, short lists, aligned tables."""

from __future__ import annotations

import difflib
import itertools
import re
import textwrap
from collections.abc import Iterable, Sequence

EXAMPLES = 10  # of each finding on the terminal; the written reports list all


def printable(text: str) -> str:
    """Return a text in one line that can be encoded, control characters and bytes that are not UTF-8 as escapes.

    >>> printable("a\\rb\\udcff")
    'a\\\\rb\\\\udcff'
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", lambda found: ascii(found[0])[1:-1], text)


def markdown_cell(text: str) -> str:
    """Return a text for a cell of a Markdown table: neither pandas nor tabulate escapes what separates cells.

    >>> markdown_cell("a|b")
    'a\\\\|b'
    """
    return text.replace("|", "\\|")


def counted(number: int, noun: str) -> str:
    """Return `1 image`, `2,586 images`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def listed(items: Sequence[str], most: int = EXAMPLES) -> str:
    """Join the first items by commas and append the number of the others."""
    more = [f"and {len(items) - most:,} more"] * (len(items) > most)
    return ", ".join([*items[:most], *more])


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'mir-resnet50'?)` for the known name that is most similar or contains it; "" if none.

    >>> nearest("resnet50", ["dhuri-mobilenet", "mir-resnet50"])
    " (did you mean 'mir-resnet50'?)"
    >>> nearest("lr", ["epochs", "optimizer.learning_rate"])
    " (did you mean 'optimizer.learning_rate'?)"
    >>> nearest("x", ["epochs"])
    ''
    """
    known = list(known)
    found = (
        [each for each in known if len(name) > 2 and name.lower() in each.lower()]
        or [each for each in known if len(name) > 1 and _initials(each) == name.lower()]
        or difflib.get_close_matches(name, known, 1)
    )
    return f" (did you mean {found[0]!r}?)" if found else ""


def _initials(name: str) -> str:
    """Return the first letters of the words of a name, after its last dot: `lr` for `optimizer.learning_rate`."""
    return "".join(word[:1] for word in re.split("[^a-z0-9]+", name.split(".")[-1].lower()))


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


def wrapped(rows: Iterable[Sequence[str]], most: int = 44) -> list[str]:
    """Return the lines of a table of texts, header first; a text longer than `most` continues on further lines.

    >>> wrapped([("name", "says"), ("a", "one two")], most=4)
    ['name  says', 'a     one', '      two']
    """
    cells = [[textwrap.wrap(cell, most, break_long_words=False) or [""] for cell in row] for row in rows]
    widths = [max(len(line) for cell in column for line in cell) for column in zip(*cells, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for row in cells
        for line in itertools.zip_longest(*row, fillvalue="")
    ]
