"""Intervals and tests of ten runs of 10,661 images, compared with a bootstrap in a loop over scikit-learn's metrics.

    python -m benchmarks.comparison [--runs 10] [--images 10661] [--loop 20]

The runs are generated (73 subjects, 47 with leukemia, as in C-NMC's training phase). The loop computes twelve metrics
of the cells on `--loop` of 2,000 resamples of the subjects of one run, and its time is extrapolated to all resamples
and runs. The values of both implementations on all rows are compared.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.comparison.plots import draw_figures
from leukobench.comparison.results import FIXED
from leukobench.comparison.runs import compare
from leukobench.results.metrics import classification_metrics
from leukobench.results.resampling import draw_counts
from leukobench.results.run import RunFolder, predictions_table, write_run
from leukobench.results.run_info import RunInfo, command_line

SUBJECTS, LEUKEMIC = 73, 47
RESAMPLES = 2000


def make_run(folder: Path, images: int, seed: int) -> RunFolder:
    """Write a run of generated scores, with equal variance between subjects and within subjects."""
    number = np.arange(images) % SUBJECTS
    label = np.where(number < LEUKEMIC, "all", "hem")
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=SUBJECTS)[number] + rng.normal(size=images) + 2.0 * (label == "all")
    names = pd.Series(number).astype(str)
    rows = pd.DataFrame(
        {"path": [f"{row}.bmp" for row in range(images)], "subject": names, "subject_group": names, "label": label}
    ).assign(part="test")
    info = RunInfo(
        family="svm",
        recipe="generated",
        parameters={},
        background="black",
        seed=seed,
        split="subject",
        leaky=False,
        shared_subject_groups=0,
        checksums={"manifest": "0" * 16},
        seconds={"fit": 0.0, "predict": 0.0},
        command=command_line("train-svm", ["features.csv"], {"--split": "split.csv"}),
    )
    return write_run(folder, info, predictions_table(rows, 1 / (1 + np.exp(-logit))), lambda folder: None)


def in_a_loop(rows: pd.DataFrame, score: np.ndarray, counts: np.ndarray, codes: np.ndarray) -> None:
    """Compute the metrics of each resample in a loop, by repeating rows."""
    label = rows["label"].to_numpy()
    for count in counts:
        times = count[codes].astype(int)
        classification_metrics(np.repeat(label, times), np.repeat(score, times))


def main() -> None:
    """Write the runs, time both implementations, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--images", type=int, default=10_661)
    parser.add_argument("--loop", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [make_run(Path(folder) / f"run_{seed}", arguments.images, seed) for seed in range(arguments.runs)]
        start = time.perf_counter()
        comparison = compare(runs)
        computed = time.perf_counter() - start
        start = time.perf_counter()
        draw_figures(comparison)
        drawn = time.perf_counter() - start
        start = time.perf_counter()
        compare([run.folder for run in runs]).report(Path(folder) / "report")
        report = time.perf_counter() - start
    rows = comparison.rows
    counts = draw_counts(comparison.groups.positive, RESAMPLES, np.random.default_rng(0))
    codes = comparison.groups.number(rows["subject_group"])
    start = time.perf_counter()
    in_a_loop(rows, rows["run_0"].to_numpy(), counts[: arguments.loop], codes)
    loop = (time.perf_counter() - start) / arguments.loop * RESAMPLES * arguments.runs
    expected = classification_metrics(rows["label"].to_numpy(), rows["run_0"].to_numpy())
    found = comparison.assessment("run_0")
    ours = found.metrics | found.thresholded[FIXED].metrics
    difference = max(abs(ours[name].value - value) for name, value in expected.items() if value is not None)
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, pandas {pd.__version__}")
    print(f"{arguments.runs} runs of {arguments.images:,} images of {SUBJECTS} subjects")
    print(f"all metrics of cells and of subjects with intervals, {len(comparison.differences)} pairs: {computed:.2f} s")
    print(f"12 metrics of the cells, {RESAMPLES:,} bootstrap resamples in a loop: {loop:.0f} s")
    print(f"all figures: {drawn:.2f} s; run folders to report, with all figures as files: {report:.2f} s")
    print(f"largest difference between the values of the two implementations: {difference:.1e}")


if __name__ == "__main__":
    main()
