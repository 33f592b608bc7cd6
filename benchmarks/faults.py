"""Counts faults and what they cost: kills, write faults, power cuts, and damaged images, tables, model and run files.

A generated cohort goes through the commands of `benchmarks.small_study`. In a child process, a random operation on the
disk fails, or the process is killed or loses power there (`benchmarks.injection`); then the command runs again. A
finding is: a traceback or an error of several lines, a result that is there but not complete, a rerun that fails or
gives other bytes, or a file that is left behind. Commands with two worker processes are killed at a random moment; a
worker that lives 2 s later is a finding. With too little memory, a command must end in one line, and so must reading a
damaged file (`benchmarks.damage`), which must not run anything.

Rows are printed as they come, so that a count that is stopped has its result so far. Seeds are fixed.

    python -m benchmarks.faults                      # the table of docs/reliability.md, about half an hour
    python -m benchmarks.faults --scale 0.02         # the same with fewer trials
    python -m benchmarks.faults --commands extract,compare --kills 20 --writes 5
    python -m benchmarks.faults --disk --scale 0 --cuts 50    # power cuts of an ext4 file system
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

import leukobench
from benchmarks.disk_image import StudyOnDisk
from benchmarks.injection import POWER_CUT, Outcome, cut_power, orphans
from benchmarks.small_study import COMMANDS, Study, load, prepare

PATIENCE = 2  # s that a worker may live after its parent
LIBRARY_GAVE_UP = (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGALRM)  # the alarm ends what waits for memory
OPENBLAS_GAVE_UP = "OpenBLAS error: Memory allocation still failed"  # then it ends the process, with exit code 1
PARALLEL = ("manifest", "extract", "train-svm")  # commands that start worker processes
GOALS = {
    "kills": 500,
    "writes": 100,
    "cuts": 50,
    "orphans": 30,
    "memory": 40,
    "images": 150,
    "tables": 250,
    "models": 100,
    "run-files": 500,
}
HEAD = f"| {'fault':<44} | trials | findings | seconds |\n|:{'-' * 45}|-------:|---------:|--------:|"


def trials(study: Study, how: str, number: int, name: str, seed: int) -> Iterator[str | None]:
    """Let a command meet a fault at random operations, and run it again; yield the finding of each, or None."""
    rng = np.random.default_rng([seed, *how.encode(), *name.encode()])
    for trial in range(number):
        study.clear()
        full = how == "fail" and trial % 2 == 1
        at = int(np.exp(rng.uniform(0, np.log(study.largest[name])))) if full else 0
        at = at or int(rng.integers(1, study.operations[name] + 1))
        at += study.operations[name] * (how == "snapshot" and trial % 5 == 4)  # the power is cut after the end
        fault = study.run(name, at=at, how="full" if full else how, seed=trial)
        finished = how == "snapshot" and fault.code == 0
        if finished:
            cut_power(study.out, rng)
        if finished or fault.code == POWER_CUT:
            study.after_power_cut()
        lost = finished and not study.whole[name].items() <= study.results().items()
        finding = "a finished result is lost" if lost else _finding(study, name, fault)
        yield finding and f"{name}, {'full' if full else how} at {at}, trial {trial}: {finding}"


def _finding(study: Study, name: str, fault: Outcome) -> str | None:
    """Say what a fault cost, after running the command again; None if nothing."""
    if not fault.one_line:
        return f"exit code {fault.code}: {fault.output[-1000:]!r}"
    whole, found, target = study.whole[name], study.results(), study.target(name)
    if target.exists() and name != "benchmark":  # which goes on in its folder
        complete = {path for path in whole if path.startswith(target.name)}
        if any(path not in found or found[path] != whole[path] for path in complete):
            return "a result that is not complete"
        # the same command is refused, so the result is removed; the rerun must find nothing else
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        for path in study.out.glob("result.*") if target.suffix else ():
            path.unlink() if not path.name.endswith(".partial") else None
    again = study.run(name)
    if again.code:
        return f"the rerun fails: {again.output[-1000:]!r}"
    after = study.results()
    if after != whole:
        differing = {path for path in {*whole, *after} if after.get(path, 0) != whole.get(path, 0)}
        return f"after the rerun {sorted(differing)} differ"
    return None


def killed_parents(study: Study, number: int) -> Iterator[str | None]:
    """Kill commands with two workers at random moments; yield which workers live on, or None."""
    rng = np.random.default_rng(11)
    names = [name for name in PARALLEL if name in study.commands]
    for trial in range(number):
        study.clear()
        name = names[trial % len(names)]
        seconds = float(rng.uniform(0.2, study.seconds[name] + 4))  # workers take a while to start
        left = orphans(study.arguments(name, "--jobs", "2"), seconds, PATIENCE)
        yield f"{name}, killed after {seconds:.2f} s: {left} live on" if left else None


def little_memory(study: Study, number: int) -> Iterator[str | None]:
    """Run commands with little memory; yield the finding of each, or None.

    A library that gets no memory for a thread or a buffer may end the process, which then counts as killed.
    """
    rng = np.random.default_rng(12)
    names = [name for name in study.commands if name != "train-cnn"]  # TensorFlow ends the process itself
    for trial in range(number):
        study.clear()
        name = names[trial % len(names)]
        limit = int(2 ** rng.uniform(24, 29))
        fault = study.run(name, at=limit, how="memory")
        if fault.code in LIBRARY_GAVE_UP or OPENBLAS_GAVE_UP in fault.output:
            fault = replace(fault, code=-signal.SIGKILL)
        finding = _finding(study, name, fault)
        yield finding and f"{name} with {limit >> 20} MB more, trial {trial}: {finding}"


def count(what: str, findings: Iterable[str | None]) -> bool:
    """Print findings as they come, and then a row of the table; return whether there was none."""
    begun, number, bad = time.perf_counter(), 0, 0
    for number, finding in enumerate(findings, 1):  # noqa: B007
        if finding is not None:
            bad += 1
            print(f"FINDING: {what}: {finding}", file=sys.stderr, flush=True)
    print(f"| {what:<44} | {number:6} | {bad:8} | {time.perf_counter() - begun:7.0f} |", flush=True)
    return not bad


def counts(study: Study, names: Sequence[str], wanted: argparse.Namespace) -> Iterator[bool]:
    """Do all trials, print the rows of the table, and yield whether each is without a finding."""
    yield in_a_child(lambda: all(list(damage_counts(study, wanted))))
    yield count("killed parent of two workers", killed_parents(study, wanted.orphans))
    yield count("too little memory", little_memory(study, wanted.memory))
    kinds = {
        "kill (SIGKILL)": ("kill", math.ceil(wanted.kills / len(names))),
        "power cut": (study.cut, math.ceil(wanted.cuts / len(names))),
        "write fault": ("fail", wanted.writes),
    }
    for name in names:
        for seed, (what, (how, number)) in enumerate(kinds.items()):
            yield count(f"{what}, {name}", trials(study, how, number, name, seed))


def damage_counts(study: Study, wanted: argparse.Namespace) -> Iterator[bool]:
    """Count what damaged files do."""
    from benchmarks import damage

    images = damage.image_files(study.folder / "images", study.folder / "copies")
    yield count("damaged image", damage.tried(images, wanted.images, 4))
    yield count("damaged table", damage.tried(damage.table_files(study.folder), wanted.tables, 5))
    yield count("damaged model file", damage.tried(damage.model_files(study.folder), wanted.models, 6))
    yield count("damaged run file", damage.tried(damage.run_files(study.folder), wanted.run_files, 7))


def in_a_child(work: Callable[[], bool]) -> bool:
    """Do something that starts threads, such as to load a network, where it does no harm; return whether it is well."""
    process = os.fork()
    if not process:
        try:
            os._exit(not work())
        finally:
            os._exit(70)
    return os.waitpid(process, 0)[1] == 0


def main() -> None:
    """Count and print; the exit code is 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in GOALS.items():
        each = " for each command" if name == "writes" else ""
        parser.add_argument(f"--{name}", type=int, default=None, help=f"trials{each}; default: {number}")
    parser.add_argument("--scale", type=float, default=1, help="multiplies the defaults")
    parser.add_argument("--commands", default=",".join(COMMANDS), help="which commands; default: all")
    parser.add_argument("--disk", action="store_true", help="cut the power under a real file system; needs root")
    wanted = parser.parse_args()
    for name, number in GOALS.items():
        key = name.replace("-", "_")
        if getattr(wanted, key) is None:
            setattr(wanted, key, math.ceil(number * wanted.scale))
    names = wanted.commands.split(",")
    load(networks="train-cnn" in names)
    machine = f"{os.cpu_count()} CPU cores, {platform.system()}, Python {platform.python_version()}"
    print(f"leukobench {leukobench.__version__}, {date.today()}, {machine}\n\n{HEAD}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        study = StudyOnDisk(Path(folder)) if wanted.disk else Study(Path(folder))
        try:
            good = list(counts(prepare(study, names), names, wanted))
        finally:
            study.close()
    sys.exit(not all(good))


if __name__ == "__main__":
    main()
