"""A manifest of a million rows: time and memory of reading, splitting and auditing it.

    python benchmarks/cohort.py [--rows 1000000]

The rows are generated (5,000 subjects; 1% of the images are copies), because no public dataset is as large.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leukobench.cohort.audit import audit
from leukobench.cohort.identity import subject_groups
from leukobench.cohort.manifest import COLUMNS, read_manifest, write_manifest
from leukobench.cohort.partition import read_split, write_split
from leukobench.cohort.splitting import split
from leukobench.cohort.ties import accepted, find_ties

SUBJECTS = 5_000
COPIES = 0.01  # share of the images that are byte-identical with another


def make_manifest(rows: int) -> pd.DataFrame:
    """Generate a manifest: every second subject has leukemia, and a few images are duplicated."""
    rng = np.random.default_rng(0)
    subject = rng.integers(0, SUBJECTS, rows)
    label = np.where(subject % 2, "all", "hem")
    digests = np.array([hashlib.sha256(str(row).encode()).hexdigest() for row in range(rows)])
    # copies within a subject: a cohort whose subjects are all joined to one group could not be split
    order = np.argsort(subject, kind="stable")
    copies = order[1:][(rng.random(rows - 1) < COPIES) & (subject[order[1:]] == subject[order[:-1]])]
    before = np.empty(rows, int)
    before[order[1:]] = order[:-1]
    digests[copies] = digests[before[copies]]
    names = pd.Series(subject).map(lambda number: f"{'' if number % 2 else 'H'}{number}")
    manifest = pd.DataFrame(
        {
            "path": [f"fold_{row % 3}/{of}/cell_{row}.bmp" for row, of in enumerate(label)],
            "label": label,
            "subject": names,
            "phase": "train",
            "fold": (np.arange(rows) % 3).astype(str),
            "sha256": digests,
            "size_bytes": 608_454,
            "original_name": "",
        }
    )
    manifest["subject_group"] = subject_groups(manifest["subject"], accepted(find_ties(manifest)))
    return manifest[list(COLUMNS)]


def timed(task: str, run: Callable[[], Any]) -> Any:
    """Run a step, and print its time and the peak memory of the process so far."""
    start = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # kilobytes on Linux
    print(f"| {task:28} | {seconds:7.1f} s | {peak:5.2f} GB |")
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--manifest", type=Path, help="an existing manifest, by default a generated one")
    rows, given = vars(parser.parse_args()).values()
    print(f"{rows:,} rows; Python {platform.python_version()}, pandas {pd.__version__}, {platform.machine()}")
    with tempfile.TemporaryDirectory() as folder:
        path = given or Path(folder) / "manifest.csv"
        if given is None:
            write_manifest(make_manifest(rows), path)
        manifest = timed("read and validate", lambda: read_manifest(path))
        partition = timed("subject-level split", lambda: split(manifest, "subject", seed=1))
        timed("5-fold cross-validation", lambda: split(manifest, "kfold", seed=1))
        timed("image-level split", lambda: split(manifest, "image", seed=1))
        timed("audit", lambda: audit(manifest))
        timed("audit of a partition", lambda: audit(manifest, partition=partition))
        timed("write partition", lambda: write_split(partition, Path(folder) / "split.csv"))
        timed("read partition", lambda: read_split(Path(folder) / "split.csv"))


if __name__ == "__main__":
    main()
