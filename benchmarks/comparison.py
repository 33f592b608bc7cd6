"""Bootstrap intervals of ten runs of 2,000 images: vectorised, compared with a loop over scikit-learn's metrics.

    python -m benchmarks.comparison [--runs 10] [--images 2000] [--loop 50]

The runs are generated (73 subjects, 47 with leukemia, as in C-NMC's training phase). The loop computes the same twelve
metrics of the cells on `--loop` of the same 2,000 resamples of one run, and its time is extrapolated to all resamples.
The metrics of both implementations are compared.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.comparison.bootstrap import RESAMPLES, draw_groups
from leukobench.comparison.resampled_metrics import Scored, score_metrics, thresholded_metrics
from leukobench.comparison.runs import compare
from leukobench.results.metrics import THRESHOLD, classification_metrics
from leukobench.results.run import RunFolder, predictions_table, write_run
from leukobench.results.run_info import RunInfo, command_line

SUBJECTS, LEUKEMIC = 73, 47


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


def in_a_loop(
    rows: pd.DataFrame, score: np.ndarray, counts: np.ndarray, codes: np.ndarray
) -> list[dict[str, float | None]]:
    """Compute the metrics of each resample in a loop, by repeating rows."""
    label = rows["label"].to_numpy()
    found = []
    for count in counts:
        times = count[codes].astype(int)
        found.append(classification_metrics(np.repeat(label, times), np.repeat(score, times)))
    return found


def metrics_at_once(rows: pd.DataFrame, score: np.ndarray, counts: np.ndarray, codes: np.ndarray) -> pd.DataFrame:
    """Compute the same metrics of all resamples at once, by sums over groups, as the comparison does."""
    scored = Scored((rows["label"] == "all").to_numpy(), score, codes, counts.shape[1])
    return pd.DataFrame(score_metrics(scored, counts) | thresholded_metrics(scored, counts, THRESHOLD))


def main() -> None:
    """Write the runs, time both implementations, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--loop", type=int, default=50)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [make_run(Path(folder) / f"run_{seed}", arguments.images, seed) for seed in range(arguments.runs)]
        start = time.perf_counter()
        comparison = compare(runs)
        whole = time.perf_counter() - start
        start = time.perf_counter()
        compare([run.folder for run in runs]).report(Path(folder) / "report")
        report = time.perf_counter() - start
    rows = comparison.rows
    draws = draw_groups(rows["label"], rows["subject_group"])
    codes = draws.number(rows["subject_group"])
    start = time.perf_counter()
    looped = pd.DataFrame(in_a_loop(rows, rows["run_0"].to_numpy(), draws.counts[: arguments.loop], codes))
    loop = (time.perf_counter() - start) / arguments.loop * RESAMPLES
    start = time.perf_counter()
    vectorised = [metrics_at_once(rows, rows[name].to_numpy(), draws.counts, codes) for name in comparison.runs]
    ours = time.perf_counter() - start
    difference = (vectorised[0][: arguments.loop] - looped[vectorised[0].columns]).abs().to_numpy().max()
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, pandas {pd.__version__}")
    print(f"{arguments.runs} runs of {arguments.images:,} images of {SUBJECTS} subjects, {RESAMPLES:,} resamples")
    print(f"12 metrics of the cells of all runs: {ours:.2f} s vectorised, {loop * arguments.runs:.0f} s in a loop")
    print(f"the whole comparison (cells and subjects, BCa, {len(comparison.differences)} pairs): {whole:.2f} s")
    print(f"run folders to report, with all figures: {report:.2f} s")
    print(f"largest difference between the two implementations: {difference:.1e}")


if __name__ == "__main__":
    main()
