"""Images of which a part is missing although the file has an end: Pillow fills the rest without a word."""

from __future__ import annotations

import struct
import zlib
from typing import IO

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of each colour type of PNG
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def refuse_incomplete_png(file: IO[bytes]) -> None:
    """Raise ValueError if the compressed stream of a PNG holds fewer bytes than its rows need.

    Source: W3C, Portable Network Graphics (PNG) Specification, 3rd edition, sections 8 (interlacing) and 11.2 (chunks).
    """
    position = file.tell()
    file.seek(8)
    needed, found, stream = 0, 0, zlib.decompressobj()
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IHDR":
            width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
            needed = _bytes_of_rows(width, height, bits * _CHANNELS[colour], interlaced == 1)
        elif kind == b"IDAT":
            content = file.read(length)
            while content and not stream.eof and found < needed:
                found += len(stream.decompress(content, 1 << 20))
                content = stream.unconsumed_tail
        elif kind == b"IEND":
            break
        else:
            file.seek(length, 1)
        file.seek(4 if kind != b"IHDR" else length - 13 + 4, 1)
    file.seek(position)
    if found < needed:
        raise ValueError(f"is incomplete: {found:,} of {needed:,} bytes of its rows")


def _bytes_of_rows(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Return the size of the rows, each after its filter, bytes."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    needed = 0
    for top, left, down, across in passes:
        rows, columns = -(-(height - top) // down), -(-(width - left) // across)
        if rows > 0 and columns > 0:
            needed += rows * (1 + -(-columns * bits // 8))
    return needed
