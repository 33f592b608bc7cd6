"""Counts faults and what they cost: kills, write faults, power cuts, and damaged images, tables, model and run files.

A generated cohort goes through `manifest`, `split`, `extract`, `train-svm`, `train-knn` and `compare`, and with
`--networks` through `train-cnn`. In a child process, a random operation on the disk fails, or the process is killed or
loses power there (`benchmarks.injection`); then the command runs again. A finding is: a traceback or an error of
several lines, a result that is there but not complete, a rerun that fails or gives other bytes, or a file that is left
behind. Damaged input must be used or refused in one line.

    python -m benchmarks.faults                      # the table of docs/reliability.md
    python -m benchmarks.faults --kills 20 --writes 5 --cuts 5 --images 20 --tables 20 --models 10 --run-files 40
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

import leukobench
import leukobench.classifiers.training  # loaded once, for all child processes
import leukobench.comparison.report
import leukobench.features.extractor
from benchmarks.injection import POWER_CUT, Outcome, apart, run
from leukobench.cells.cell import read_cell
from leukobench.classifiers.storage import load_model
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest
from leukobench.cohort.partition import read_split
from leukobench.cohort.synthetic import generate_cohort
from leukobench.core.errors import InputError
from leukobench.results.feature_table import read_feature_table
from leukobench.results.run import read_run_folder

TRAIN = ("--no-importance", "--calibration", "none")
SVM = ("--kernel", "rbf", "--C", "1", "--gamma", "scale", *TRAIN)
KNN = ("--neighbors", "5", "--metric", "euclidean", "--neighbor-weight", "uniform", *TRAIN)
NETWORK = ("--recipe", "small-lightxception", "--set", "input_side=32", "--epochs", "1")
SAME = ("*.csv", "metrics.json")  # files that do not depend on the time or the place


@dataclass
class Study:
    """A generated cohort, and the commands with their whole results.

    Attributes:
        folder: Where everything lies.
        commands: Arguments of each command without its output, by name.
        whole: What each command writes when nothing happens: content by name, None where it may differ.
        operations: Number of operations of each command on the disk.
    """

    folder: Path
    commands: dict[str, list[str]] = field(default_factory=dict)
    whole: dict[str, dict[str, bytes | None]] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        """The folder of the outputs, whose operations count."""
        return self.folder / "out"

    def run(self, name: str, resume: bool = False, **fault: object) -> Outcome:
        """Run a command, with a fault of `injection.run` or without."""
        target = self.out / ("result.csv" if name in ("manifest", "split", "extract") else "result")
        more = ["--resume"] if resume and target.with_name(f"{target.name}.partial").exists() else []
        command = [*self.commands[name], "-o", str(target), *more]
        return run(command, self.out, self.folder / "log", **fault)  # type: ignore[arg-type]

    def results(self) -> dict[str, bytes | None]:
        """Return what lies in the folder of the outputs."""
        files = {path.relative_to(self.out): path for path in self.out.rglob("*") if path.is_file()}
        known = {str(name): any(name.match(pattern) for pattern in SAME) for name in files}
        return {str(name): path.read_bytes() if known[str(name)] else None for name, path in files.items()}

    def clear(self) -> None:
        """Empty the folder of the outputs."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()


def prepare(folder: Path, networks: bool) -> Study:
    """Make the cohort, and run every command once without a fault."""
    study = Study(folder)
    study.clear()
    images, manifest, split, table = (str(folder / name) for name in ("images", "m.csv", "s.csv", "f.csv"))
    apart(lambda: generate_cohort(folder / "images", subjects=12, cells_per_subject=2, seed=4))
    apart(lambda: index_folder(folder / "images", out=manifest))
    study.commands = {
        "manifest": ["manifest", images],
        "split": ["split", manifest, "--test-size", "0.3"],
        "extract": ["extract", images, "--manifest", manifest],
        "train-svm": ["train-svm", table, "--split", split, *SVM],
        "train-knn": ["train-knn", table, "--split", split, *KNN],
        "compare": ["compare", str(folder / "svm"), str(folder / "knn")],
    }
    if networks:
        study.commands["train-cnn"] = ["train-cnn", images, "--manifest", manifest, "--split", split, *NETWORK]
    keep = {"split": ["s.csv"], "extract": ["f.csv", "f.csv.json"], "train-svm": ["svm"], "train-knn": ["knn"]}
    for name in study.commands:
        outcome = study.run(name)
        if outcome.code:
            sys.exit(f"{name} fails without a fault:\n{outcome.output}")
        study.whole[name], study.operations[name] = study.results(), outcome.operations
        for target, made in zip(keep.get(name, ()), sorted(study.out.iterdir()), strict=True) if name in keep else ():
            made.rename(folder / target)
        study.clear()
    return study


def trials(study: Study, how: str, number: int, names: Sequence[str], seed: int) -> Iterator[str | None]:
    """Let commands meet a fault at random operations, and run them again; yield the finding of each, or None."""
    rng = np.random.default_rng([seed, *how.encode()])
    after = study.folder / "out.after"
    for trial in range(number):
        name = names[trial % len(names)]
        study.clear()
        full = how == "fail" and trial // len(names) % 2 == 1
        at = int(rng.integers(4096, 40_000)) if full else int(rng.integers(1, study.operations[name] + 1))
        fault = study.run(name, at=at, how="full" if full else how, seed=trial)
        if fault.code == POWER_CUT:
            shutil.rmtree(study.out)
            after.rename(study.out)
        yield _finding(study, name, fault, f"{name}, {how} at {at}")


def _finding(study: Study, name: str, fault: Outcome, where: str) -> str | None:
    if not fault.one_line:
        return f"{where}: {fault.output[-300:]!r}"
    whole, found = study.whole[name], study.results()
    if (study.out / next(iter(whole)).split("/")[0]).exists() and found.keys() >= whole.keys():
        if any(found[path] != content for path, content in whole.items()):
            return f"{where}: a result that is not complete"
        first = next(iter(whole)).split("/")[0]
        shutil.rmtree(study.out / first) if (study.out / first).is_dir() else None
        for path in study.out.glob("result.*"):  # complete: the rerun is refused, and must find nothing to make again
            path.unlink()
    again = study.run(name, resume=True)
    if again.code:
        return f"{where}: the rerun fails: {again.output[-300:]!r}"
    if study.results() != whole:
        differing = {path for path in {*whole, *study.results()} if study.results().get(path, 0) != whole.get(path, 0)}
        return f"{where}: after the rerun {sorted(differing)} differ"
    return None


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Change random bytes of a file, cut it off, or repeat a part of it."""
    changed = np.frombuffer(content, np.uint8).copy()
    kind = rng.integers(4)
    if kind == 0:
        return content[: rng.integers(0, len(content))]
    if kind == 1:
        begin = int(rng.integers(0, len(content)))
        return content[:begin] + bytes(min(64, len(content) - begin)) + content[begin + 64 :]
    if kind == 2:
        begin, end = sorted(rng.integers(0, len(content), 2))
        return content[:end] + content[begin:]
    changed[rng.integers(0, min(len(changed), 400), 5)] = rng.integers(0, 256, 5)
    return changed.tobytes()


def inputs(files: Iterable[Path], read: Callable[[Path], object], number: int, seed: int) -> Iterator[str | None]:
    """Damage files one at a time, and read them; yield what is not refused in one line, or None."""
    rng, files = np.random.default_rng(seed), list(files)
    for trial in range(number):
        file = files[trial % len(files)]
        content = file.read_bytes()
        file.write_bytes(damaged(content, rng))
        try:
            read(file)
        except InputError as error:
            yield None if "\n" not in str(error) else f"{file.name}: {error}"
        except Exception as error:
            yield f"{file.name}, trial {trial}: {type(error).__name__}: {error}"
        else:
            yield None
        finally:
            file.write_bytes(content)


def read_table(path: Path) -> object:
    """Read a table by its kind."""
    readers: dict[str, Callable[[Path], object]] = {"m.csv": read_manifest, "s.csv": read_split}
    return readers.get(path.name, read_feature_table)(path)


def count(what: str, findings: Iterable[str | None]) -> dict[str, object]:
    """Count trials and findings; print the findings."""
    begun, found = time.perf_counter(), list(findings)
    for finding in filter(None, found):
        print(f"FINDING: {what}: {finding}", file=sys.stderr)
    bad = sum(finding is not None for finding in found)
    return {"fault": what, "trials": len(found), "findings": bad, "seconds": round(time.perf_counter() - begun)}


def counts(study: Study, wanted: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Do all trials, and yield the rows of the table."""
    names = list(study.commands)
    yield count("kill (SIGKILL) at an operation on the disk", trials(study, "kill", wanted.kills, names, 1))
    for name in names:
        yield count(f"write fault, {name}", trials(study, "fail", wanted.writes, [name], 2))
    yield count("power cut", trials(study, "cut", wanted.cuts, names, 3))
    images, table = sorted((study.folder / "images").rglob("*.bmp")), study.folder / "f.csv"
    yield count("damaged image", inputs(images, read_cell, wanted.images, 4))
    tables = [study.folder / name for name in ("m.csv", "s.csv", "f.csv", "f.csv.json")]
    read = {"f.csv.json": lambda _: read_feature_table(table)}
    yield count("damaged table", inputs(tables, lambda path: read.get(path.name, read_table)(path), wanted.tables, 5))
    models = [study.folder / name / "model.skops" for name in ("svm", "knn")]
    yield count("damaged model file", inputs(models, load_model, wanted.models, 6))
    runs = [path for path in (study.folder / "svm").iterdir() if path.suffix in (".json", ".csv")]
    yield count(
        "damaged run file", inputs(sorted(runs), lambda path: read_run_folder(path.parent), wanted.run_files, 7)
    )


def main() -> None:
    """Count and print; the exit code is 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    goals = {"kills": 500, "writes": 100, "cuts": 50, "images": 150, "tables": 250, "models": 100, "run-files": 500}
    for name, number in goals.items():
        parser.add_argument(f"--{name}", type=int, default=number, help=f"trials; default: {number}")
    parser.add_argument("--networks", action="store_true", help="with train-cnn, some seconds a trial")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LEUKOBENCH_CACHE"] = f"{folder}/cache"
        rows = list(counts(prepare(Path(folder), wanted.networks), wanted))
    machine = f"{os.cpu_count()} CPU cores, {platform.system()}, Python {platform.python_version()}"
    print(f"leukobench {leukobench.__version__}, {date.today()}, {machine}\n")
    print(pd.DataFrame(rows).to_markdown(index=False))
    sys.exit(any(row["findings"] for row in rows))


if __name__ == "__main__":
    main()
