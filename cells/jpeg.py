"""JPEGs whose pixels are incomplete: a walk through the Huffman codes counts the blocks that a scan holds.

libjpeg fills what is missing with grey and only warns, and Pillow does not pass its warnings on. A file that was
cut off and then got an end marker would be measured.

Source: ITU-T T.81 (JPEG), annexes A.2 (order of the blocks), B (markers), F.2 (sequential) and G.2 (progressive).
"""

from __future__ import annotations

import functools
import io
import re
import struct
from dataclasses import dataclass, field
from typing import IO

import numpy as np
from PIL import Image

from leukobench.core.compiled import compiled

_SOI, _EOI, _SOS, _DHT, _DRI = 0xD8, 0xD9, 0xDA, 0xC4, 0xDD
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2  # start of a frame with Huffman codes
_OTHER_FRAMES = {*range(0xC3, 0xD0)} - {_DHT, 0xC8, 0xCC}  # lossless, hierarchical, arithmetic coding
_MARKER, _STUFFED = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL), re.compile(rb"\xff+\x00")
_UNSENT = 99  # the number of bits that a coefficient lacks before it was sent
_PADDING = bytes(8)  # after the codes, so that the walk can look ahead


@dataclass
class _Component:
    """A colour channel: its sampling factors, and what the scans have told of it so far.

    Attributes:
        across: Horizontal sampling factor.
        down: Vertical sampling factor.
        blocks: Blocks of 8 x 8 px across and down, without those that fill up the last MCU.
        known: A bit for each coefficient of a block that is not zero, of a progressive file. [shape=(blocks,), uint64]
        lacking: Lowest bits of each coefficient that no scan has sent. [shape=(64,)]
    """

    across: int
    down: int
    blocks: tuple[int, int] = (0, 0)
    known: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    lacking: np.ndarray = field(default_factory=lambda: np.full(64, _UNSENT))


def refuse_incomplete_jpeg(file: IO[bytes]) -> None:
    """Raise ValueError if a JPEG does not hold all of its pixels, or if its codes are damaged.

    Its frame must have Huffman codes; the position in the file stays as it is.
    """
    position = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(position)
    tables, mcus, interval, frame, place = dict(_usual_tables()), (0, 0), 0, 0, 2
    components: dict[int, _Component] = {}
    while True:
        found = _MARKER.search(content, place)
        if found is None or found[1][0] == _EOI:
            break
        kind, place = found[1][0], found.end()
        if kind in _OTHER_FRAMES:
            raise ValueError("has no Huffman codes of baseline or progressive JPEG")
        if kind == 0x01 or 0xD0 <= kind <= _SOI:  # markers without content
            continue
        length = struct.unpack_from(">H", content, place)[0]
        segment, place = content[place + 2 : place + length], place + length
        if kind == _DHT:
            tables |= _read_tables(segment)
        elif kind == _DRI:
            interval = struct.unpack(">H", segment)[0]
        elif kind in (*_SEQUENTIAL, _PROGRESSIVE):
            frame = kind
            components, mcus = _read_frame(segment)
        elif kind == _SOS:
            place = _walk_scan(content, place, segment, frame == _PROGRESSIVE, components, mcus, interval, tables)
    lacking = max((each.lacking.max() for each in components.values()), default=_UNSENT)
    if lacking:
        raise ValueError("is incomplete: ends before its last scan")


def _read_frame(segment: bytes) -> tuple[dict[int, _Component], tuple[int, int]]:
    """Return the components of a frame by their numbers, and how many MCUs are across and down."""
    height, width, number = struct.unpack_from(">xHHB", segment)
    parts = [segment[6 + 3 * each : 9 + 3 * each] for each in range(number)]
    components = {part[0]: _Component(part[1] >> 4, part[1] & 15) for part in parts}
    across, down = (max(getattr(each, way) for each in components.values()) for way in ("across", "down"))
    for each in components.values():
        each.blocks = (-(-width * each.across // (8 * across)), -(-height * each.down // (8 * down)))
        each.known = np.zeros(each.blocks[0] * each.blocks[1], np.uint64)
    return components, (-(-width // (8 * across)), -(-height // (8 * down)))


def _read_tables(segment: bytes) -> dict[int, np.ndarray]:
    """Return Huffman tables by class (16: AC) and number: for any 16 bits, 256 x code length + symbol; 0: no code."""
    tables = {}
    while segment:
        lengths = np.repeat(np.arange(1, 17), list(segment[1:17]))
        symbols = np.frombuffer(segment, np.uint8, len(lengths), 17)
        table = np.repeat(256 * lengths + symbols, 1 << (16 - lengths))
        if len(table) > 1 << 16:
            raise ValueError("has a Huffman table with too many codes")
        tables[segment[0]] = np.pad(table, (0, (1 << 16) - len(table))).astype(np.int32)
        segment = segment[17 + len(lengths) :]
    return tables


@functools.cache
def _usual_tables() -> dict[int, np.ndarray]:
    """Return the tables of annex K.3, which single frames of a video leave out: any small JPEG has them."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    content, tables = file.getvalue(), dict[int, np.ndarray]()
    for found in re.finditer(b"\xff\xc4(..)", content, re.DOTALL):
        tables |= _read_tables(content[found.end() : found.start() + 2 + int.from_bytes(found[1])])
    return tables


def _walk_scan(
    content: bytes,
    place: int,
    header: bytes,
    progressive: bool,
    components: dict[int, _Component],
    mcus: tuple[int, int],
    interval: int,
    tables: dict[int, np.ndarray],
) -> int:
    """Walk through the codes of a scan, and return where they end.

    Args:
        content: The file.
        place: Where the codes begin.
        header: Content of the segment before them.
        progressive: Whether the frame is progressive.
        components: The components of the frame.
        mcus: How many MCUs are across and down.
        interval: MCUs between two restart markers; 0: no such marker.
        tables: The Huffman tables.

    Raises:
        ValueError: the scan is incomplete or damaged.
    """
    number = header[0]
    chosen = [(components[header[1 + 2 * each]], header[2 + 2 * each]) for each in range(number)]
    first, last, bits = header[1 + 2 * number : 4 + 2 * number]
    if not progressive:
        first, last, bits = 0, 63, 0
    high, low = bits >> 4, bits & 15
    total = int(np.prod(mcus if number > 1 else chosen[0][0].blocks))
    repeats = [each.across * each.down if number > 1 else 1 for each, _ in chosen]
    nothing = np.zeros(1 << 16, np.int32)
    order = np.repeat(np.arange(number), repeats)
    dc = np.stack([tables.get(choice >> 4, nothing) for _, choice in chosen])
    ac = np.stack([tables.get(16 + (choice & 15), nothing) for _, choice in chosen])
    walked = 0
    for restart in range(-(-total // (interval or total))):
        found = _MARKER.search(content, place)
        end = found.start() if found else len(content)
        codes = np.frombuffer(_STUFFED.sub(b"\xff", content[place:end]) + _PADDING, np.uint8)
        wanted = min(interval or total, total - walked)
        known = chosen[0][0].known[walked : walked + wanted]
        walked += _walk(codes, wanted, order, dc, ac, known, first, last, high, progressive)
        place = end
        complete = walked == min((restart + 1) * (interval or total), total)
        follows = walked == total or (found is not None and found[1][0] == 0xD0 + restart % 8)
        if not complete or not follows:
            raise ValueError(f"is incomplete or damaged: {walked:,} of {total:,} blocks of a scan")
        if walked < total:
            place = found.end() if found else end
    for each, _ in chosen:
        each.lacking[first : last + 1] = low
    return place


@compiled
def _walk(
    codes: np.ndarray,
    wanted: int,
    order: np.ndarray,
    dc: np.ndarray,
    ac: np.ndarray,
    known: np.ndarray,
    first: int,
    last: int,
    high: int,
    progressive: bool,
) -> int:
    """Return how many MCUs the codes hold, at most those wanted; 8 bytes of padding follow the codes.

    `order` has the component of each block of an MCU, whose tables are the rows of `dc` and `ac`.
    """
    end, place, run = 8 * (len(codes) - 8), 0, 0
    for mcu in range(wanted):
        for component in order:
            coefficient = first
            if coefficient == 0:
                if high:
                    place += 1
                else:
                    code = dc[component, _next_16(codes, place)]
                    if code == 0:
                        return mcu
                    place += (code >> 8) + (code & 255)
                coefficient = 1
            if place > end:
                return mcu
            if run == 0:
                while coefficient <= last:
                    code = ac[component, _next_16(codes, place)]
                    if code == 0:
                        return mcu
                    zeros, size = (code >> 4) & 15, code & 15
                    place += code >> 8
                    if size == 0 and zeros < 15:  # the rest of the block is zero, and so are blocks after it
                        run = 1 << zeros
                        if zeros and progressive:
                            run += _next_16(codes, place) >> (16 - zeros)
                            place += zeros
                        elif zeros:
                            run = 1
                        break
                    place += size
                    if high == 0:
                        coefficient += zeros
                    else:
                        while coefficient <= last:  # a bit more of each coefficient that is passed over
                            if known[mcu] >> np.uint64(coefficient) & np.uint64(1):
                                place += 1
                            elif zeros == 0:
                                break
                            else:
                                zeros -= 1
                            coefficient += 1
                    if size and coefficient > 63:
                        return mcu
                    if size and progressive:
                        known[mcu] |= np.uint64(1) << np.uint64(coefficient)
                    coefficient += 1
                    if place > end:
                        return mcu
            if run:
                if high:
                    for rest in range(coefficient, last + 1):
                        place += int(known[mcu] >> np.uint64(rest) & np.uint64(1))
                run -= 1
            if place > end:
                return mcu
    return wanted


@compiled
def _next_16(codes: np.ndarray, place: int) -> int:
    """Return the 16 bits at a place."""
    byte = place >> 3
    three = int(codes[byte]) << 16 | int(codes[byte + 1]) << 8 | int(codes[byte + 2])
    return three >> (8 - (place & 7)) & 0xFFFF
