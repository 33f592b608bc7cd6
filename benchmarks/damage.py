"""Damaged images, tables, model files and run files: each is used, or refused in one line, and nothing of it is run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from leukobench.cells.cell import read_cell
from leukobench.classifiers.storage import load_model
from leukobench.cohort.manifest import read_manifest
from leukobench.cohort.partition import read_split
from leukobench.cohort.ties import read_ties
from leukobench.core.errors import InputError
from leukobench.results.feature_table import read_feature_table, write_feature_table
from leukobench.results.novelty import load_novelty
from leukobench.results.run import read_run_folder

Read = Callable[[Path], object]

VALUES = [b"", b"-1", b"1e999", b"NaN", b"null", b"[]", b"{}", b'"x"', b"0", b"9" * 40, b"\xff\xfe", b"\0", b"../x"]
WORDS = re.compile(rb"[\w.+-]+")
PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect")
FORMATS = ("bmp", "png", "jpeg", "tiff", "webp")

_ran: list[str] = []  # what a damaged file made the process run


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event in PROGRAMS or (event == "pickle.find_class" and not _within_numba()):
        _ran.append(f"{event} {arguments}")


def _within_numba() -> bool:
    """Whether Numba is calling, which keeps compiled functions as pickles of its own."""
    frame = sys._getframe()
    while frame.f_back is not None and not frame.f_globals.get("__name__", "").startswith("numba."):
        frame = frame.f_back
    return frame.f_back is not None


sys.addaudithook(_audit)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut a file off, erase or repeat a part of it, change bytes at its begin or anywhere, or replace a word."""
    if not content:
        return bytes(rng.integers(0, 256, 8).tolist())
    changed = np.frombuffer(content, np.uint8).copy()
    kind = rng.integers(6)
    begin, end = sorted(rng.integers(0, len(content), 2))
    if kind == 0:
        return content[:begin]
    if kind == 1:
        return content[:begin] + bytes(min(64, len(content) - begin)) + content[begin + 64 :]
    if kind == 2:
        return content[:end] + content[begin:]
    words = list(WORDS.finditer(content[:20_000]))
    if kind == 3 and words:
        word = words[rng.integers(len(words))]
        return content[: word.start()] + VALUES[rng.integers(len(VALUES))] + content[word.end() :]
    changed[rng.integers(0, min(len(changed), 400) if kind == 4 else len(changed), 5)] = rng.integers(0, 256, 5)
    return changed.tobytes()


def tried(files: Iterable[tuple[Path, Read]], number: int, seed: int) -> Iterator[str | None]:
    """Damage files one at a time, and read them; yield what is not refused in one line, or None."""
    rng, files = np.random.default_rng(seed), list(files)
    for file, read in files:
        read(file)  # whole: what Numba loads from its own cache is not the file's doing
    for trial in range(number):
        file, read = files[trial % len(files)]
        content = file.read_bytes()
        file.write_bytes(damaged(content, rng))
        _ran.clear()
        problem = _problem(file, read)
        yield f"{file.parent.name}/{file.name}, trial {trial}: {problem or _ran[0]}" if problem or _ran else None
        file.write_bytes(content)


def _problem(file: Path, read: Read) -> str | None:
    try:
        read(file)
    except InputError as error:
        return None if "\n" not in str(error) else repr(str(error))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def image_files(images: Path, copies: Path) -> list[tuple[Path, Read]]:
    """Return a few images in every format, and how they are read."""
    copies.mkdir(exist_ok=True)
    for number, path in enumerate(sorted(images.rglob("*.bmp"))[:4]):
        for form in FORMATS:
            Image.open(path).save(copies / f"{number}.{form}")
    return [(path, read_cell) for path in sorted(copies.iterdir())]


def table_files(folder: Path) -> list[tuple[Path, Read]]:
    """Return a table of every kind, and how it is read."""
    features = folder / "f.csv"
    copy = folder / "parquet" / "f.parquet"
    if not copy.exists():
        copy.parent.mkdir()
        table = read_feature_table(features)
        rows = (table.values.index.tolist(), table.values.to_numpy())
        write_feature_table([rows], table.values.columns.tolist(), table.facts, {}, copy)
    return [
        (folder / "m.csv", read_manifest),
        (folder / "m.ties.csv", read_ties),
        (folder / "s.csv", read_split),
        (features, read_feature_table),
        (folder / "f.csv.json", lambda _: read_feature_table(features)),
        (copy, read_feature_table),
    ]


def model_files(folder: Path) -> list[tuple[Path, Read]]:
    """Return the stored models of both families and their novelty, and how they are loaded."""
    known: dict[str, Any] = {"model.skops": load_model, "novelty.npz": _novelty}
    if (folder / "cnn").exists():
        from leukobench.cnn.network import load_network

        known["model.keras"] = load_network
    runs = [folder / name for name in ("cnn", "svm", "knn")]
    return [(run / name, read) for run in runs for name, read in known.items() if (run / name).exists()]


def _novelty(path: Path) -> object:
    return load_novelty(read_run_folder(path.parent))


def run_files(folder: Path) -> list[tuple[Path, Read]]:
    """Return the text files of the run folders, and how they are read."""
    runs = [folder / name for name in ("svm", "knn", "cnn") if (folder / name).exists()]
    files = [path for run in runs for path in sorted(run.iterdir()) if path.suffix in (".json", ".csv")]
    return [(path, lambda file: read_run_folder(file.parent)) for path in files]
