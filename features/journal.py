"""The journal of an extraction: the measurements so far, on disk. It survives a kill; the extraction can be resumed.

`features.csv.partial` is a sequence of frames. A frame is the length and the CRC-32 of its content (two 32-bit
numbers), then the content. The first frame holds the facts of the run as JSON. Each other frame holds a batch of
images, in manifest order: a line of JSON (number of its first image, reasons of those that failed), then stamps and
features as arrays. A frame of images that failed before and were measured again has their numbers instead. An
incomplete or damaged frame ends the journal; the images after it are measured again.
"""

from __future__ import annotations

import contextlib
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from leukobench.core.errors import InputError, UnfinishedError
from leukobench.features.batch import Batch

_HEAD = struct.Struct("<II")


class Journal:
    """The images measured so far, in manifest order.

    Attributes:
        path: The file.
        images: Number of images in it.
        failed: Reason of each image that failed, by its number.
    """

    def __init__(self, path: Path, facts: dict[str, Any], *, resume: bool = False) -> None:
        """Start a journal or, with `resume`, continue an existing one.

        Args:
            path: The file.
            facts: What is measured and how; `columns` is the number of features.
            resume: Continue the journal of an interrupted extraction, if there is one.

        Raises:
            UnfinishedError: there is a journal and `resume` is false.
            InputError: the journal has other facts, or the file is not a journal.
        """
        if path.exists() and not resume:
            raise UnfinishedError(
                f"{path}: holds the measurements of an interrupted extraction; resume it, or remove the file"
            )
        self.path = path
        self.images = 0
        self.failed: dict[int, str] = {}
        self._again: dict[int, Batch] = {}  # later measurements of images that failed at first
        self._columns: int = facts["columns"]
        header = json.dumps(facts).encode()
        end = _check_header(path, header)
        for numbers, batch, end in self._entries():  # noqa: B007  the last one's end is needed
            self._count(numbers, batch)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab")  # noqa: SIM115  closed by `close`
        self._file.truncate(end)
        if not end:
            self._append(header)

    def append(self, batch: Batch) -> None:
        """Add the next images; after that, a kill of this process does not lose them.

        Raises:
            OSError: the disk is full, or the file cannot be written.
        """
        self._append(_packed({"first": self.images}, batch))
        self._count(None, batch)

    def replace(self, numbers: Sequence[int], batch: Batch) -> None:
        """Replace the measurements of images that failed before, by their numbers.

        Raises:
            OSError: see `append`.
        """
        self._append(_packed({"again": list(numbers)}, batch))
        self._count(numbers, batch)

    def batches(self) -> Iterator[tuple[int, Batch]]:
        """Read the journal from the beginning: the number of each batch's first image, and the batch.

        Raises:
            InputError: the file was damaged after it was written.
        """
        images = 0
        for numbers, batch, _ in self._entries():
            if numbers is None:
                yield images, self._corrected(images, batch)
                images += len(batch)
        if images < self.images:
            raise InputError(f"{self.path}: was damaged after {images} images")

    def measured(self, paths: Sequence[str]) -> Iterator[tuple[list[str], np.ndarray]]:
        """Read the images that did not fail: blocks of their paths and features. `paths` are those of all images.

        Raises:
            InputError: see `batches`.
        """
        for first, batch in self.batches():
            good = [place for place in range(len(batch)) if place not in batch.failed]
            yield [paths[first + place] for place in good], batch.values[good]

    def close(self) -> None:
        """Close the file, and remove it if it holds no image."""
        with contextlib.suppress(OSError):  # what did not fit on a full disk was not counted either
            self._file.close()
        if not self.images:
            self.remove()

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)

    def _append(self, content: bytes) -> None:
        self._file.write(_HEAD.pack(len(content), zlib.crc32(content)) + content)
        self._file.flush()

    def _count(self, numbers: Sequence[int] | None, batch: Batch) -> None:
        """Note which images of a batch failed; `numbers` are those of images that were measured again."""
        if numbers is None:
            self.failed |= {self.images + place: reason for place, reason in batch.failed.items()}
            self.images += len(batch)
            return
        for place, number in enumerate(numbers):
            self.failed.pop(number)
            self._again[number] = batch.only(place)
        self.failed |= {numbers[place]: reason for place, reason in batch.failed.items()}
        self.failed = dict(sorted(self.failed.items()))

    def _corrected(self, first: int, batch: Batch) -> Batch:
        """Return a batch with the later measurements of its images; `first` is the number of its first one."""
        places = [place for place in batch.failed if first + place in self._again]
        if not places:
            return batch
        values, stamps, failed = batch.values.copy(), batch.stamps.copy(), dict(batch.failed)
        for place in places:
            again = self._again[first + place]
            values[place], stamps[place] = again.values[0], again.stamps[0]
            if again.failed:
                failed[place] = again.failed[0]
            else:
                del failed[place]
        return Batch(values, stamps, failed)

    def _entries(self) -> Iterator[tuple[list[int] | None, Batch, int]]:
        """Read the complete batches, each with its end in the file, bytes.

        With those that were measured again come the numbers of their images.
        """
        images, failed = 0, set[int]()
        for number, (content, end) in enumerate(_frames(self.path)):
            if not number:
                continue
            entry, batch = _unpack(content, self._columns)
            again = entry.get("again")
            if again is None:
                if entry["first"] != images:  # two processes wrote to the file at the same time
                    return
                failed |= {images + place for place in batch.failed}
                images += len(batch)
            elif not failed.issuperset(again):
                return
            else:
                failed -= {number for place, number in enumerate(again) if place not in batch.failed}
            yield again, batch, end


def _packed(entry: dict[str, Any], batch: Batch) -> bytes:
    line = json.dumps(entry | {"failed": batch.failed}).encode() + b"\n"
    return line + batch.stamps.astype("<i8").tobytes() + batch.values.astype("<f8").tobytes()


def _frames(path: Path) -> Iterator[tuple[bytes, int]]:
    """Read the contents of complete frames, each with its end in the file, bytes."""
    if not path.exists():
        return
    with open(path, "rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            length, checksum = _HEAD.unpack(head)
            content = file.read(length)
            if not content or len(content) < length or zlib.crc32(content) != checksum:  # zeros after a power cut
                return
            yield content, file.tell()


def _unpack(content: bytes, columns: int) -> tuple[dict[str, Any], Batch]:
    line, _, arrays = content.partition(b"\n")
    entry = json.loads(line)
    images = len(arrays) // (8 * (2 + columns))
    stamps = np.frombuffer(arrays, "<i8", images * 2).reshape(images, 2)
    values = np.frombuffer(arrays, "<f8", offset=stamps.nbytes).reshape(images, columns)
    return entry, Batch(values, stamps, {int(place): reason for place, reason in entry["failed"].items()})


def _check_header(path: Path, header: bytes) -> int:
    """Return where the header of a journal ends, bytes; 0 if there is none yet.

    Raises:
        InputError: the header holds other facts, or the file is not a journal.
    """
    content, end = next(_frames(path), (b"", 0))
    if content == header:
        return end
    if not end:
        with_head = _HEAD.pack(len(header), zlib.crc32(header)) + header
        if not path.exists() or with_head.startswith(path.read_bytes()):  # killed while writing the header
            return 0
        raise InputError(f"{path}: is damaged or not from an extraction; remove it and extract again")
    then, now = _flat(json.loads(content)), _flat(json.loads(header))
    differences = "; ".join(
        f"{name} {then.get(name)}, not {now.get(name)}" for name in now | then if then.get(name) != now.get(name)
    )
    raise InputError(f"{path}: is of a run with {differences}; resume with the same, or remove it and extract again")


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    """Move the entries of `settings` up to the others."""
    return {name: value for name, value in facts.items() if name != "settings"} | facts["settings"]
