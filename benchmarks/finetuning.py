"""Is fine-tuning better than a frozen network on unseen subjects, and which of its settings matter?

    LEUKOBENCH_CNMC=C-NMC_Leukemia KERAS_BACKEND=jax python -m benchmarks.finetuning --weights imagenet --work DIR

trains the recipe `leukobench-gpu`, the same with one setting changed, and the frozen `leukobench`, each by
`leukobench train-cnn`, several at a time on one GPU. Finished runs in DIR are kept, so that an interrupted benchmark
goes on, and `--minutes` ends it in time. With `--svm`, it then trains `leukobench-svm` on the same splits and combines
runs by `leukobench combine`, on the CPU; that can be done later, on another machine (`--minutes 0 --svm`). It prints a
line a variant; AUROC of cells, of the test parts:

    subjects    five folds of subject groups, seed 1: within folds, all subject groups of a class weighted equally
    cells       the same with all cells weighted equally
    folds 2     "subjects" with other folds
    batch       trained on the early batch (normal subjects up to H24), tested on the later ones, see
                benchmarks/unseen_subjects.py; mean and lowest of three draws
    later       trained without the twelve subjects of benchmarks/later_subjects.py, tested on these

The last line is the estimate for the choice among the variants of the network with folds of seed 1: for each fold the
variant is taken that has the highest "subjects" on the other folds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.later_subjects import partition as later_subjects
from benchmarks.unseen_subjects import batch_splits, weighted_auroc
from leukobench.cnn.data import load_images
from leukobench.cnn.recipe_catalog import network_recipe
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import POSITIVE, labelled, manifest_checksum, read_manifest, write_manifest
from leukobench.cohort.partition import Partition, write_split
from leukobench.cohort.splitting import split
from leukobench.results.run import read_run_folder

DRAWS = 3
CORES = str(os.cpu_count() or 1)
GPU, SECOND, SVM = "leukobench-gpu", "other random seed", "leukobench-svm"
BLOCKS = {"until": ["conv_pw_5_relu", "conv_pw_8_relu", "conv_pw_11_relu"]}
VARIANTS: dict[str, tuple[str, ...]] = {  # name -> options of train-cnn
    GPU: (),
    SECOND: ("--seed", "2"),
    "60 epochs": ("--epochs", "60"),
    "three blocks": ("--set", f"options={json.dumps(BLOCKS)}"),
    "dropout instead of batch normalisation in the head": ("--set", "head=cell-average,dropout=0.3,sigmoid"),
    "batch normalisation trained": ("--set", "trained=all"),
    "weights not capped": ("--set", "class_weights=balanced-subjects"),
    "leukobench (frozen)": ("--recipe", "leukobench"),
}
COMBINATIONS = {
    "two random seeds": (GPU, SECOND),
    f"{SVM} + {GPU}": (SVM, GPU),
    f"{SVM} + two random seeds": (SVM, GPU, SECOND),
}
ROWS = [*VARIANTS, SVM, *COMBINATIONS]
FOLDS, OTHER_FOLDS, LATER = "folds-1", "folds-2", "later.csv"
BATCHES = tuple(f"batch-{draw}.csv" for draw in range(DRAWS))
SPLITS = (FOLDS, OTHER_FOLDS, LATER, *BATCHES)
# in this order, as far as the time reaches
JOBS = [
    *((name, FOLDS) for name in list(VARIANTS)[:-1]),
    *((name, of) for name in (GPU, SECOND) for of in SPLITS[1:]),
    *((name, of) for name in list(VARIANTS)[2:] for of in (LATER, *BATCHES)),
    (list(VARIANTS)[-1], FOLDS),
]


def prepare(images: Path, work: Path) -> None:
    """Write manifest and splits, and read the images into the cache that all trainings share."""
    work.mkdir(exist_ok=True)
    if not (work / "manifest.csv").exists():
        write_manifest(index_folder(images), work / "manifest.csv")
    manifest = read_manifest(work / "manifest.csv")
    rows = labelled(manifest)
    if not (work / BATCHES[-1]).exists():
        for seed, folder in ((1, FOLDS), (2, OTHER_FOLDS)):
            write_split(split(manifest, "kfold", folds=5, seed=seed), work / folder)
        write_split(later_subjects(manifest), work / LATER)
        positive, group = (rows["label"] == POSITIVE).to_numpy(), rows["subject_group"].to_numpy()
        for name, (_, test) in zip(BATCHES, batch_splits(positive, group), strict=False):
            part = np.where(np.isin(np.arange(len(rows)), test), "test", "train")
            write_split(Partition(rows.assign(part=part), "batch shift", manifest_checksum(manifest)[:16]), work / name)
    recipe = network_recipe("leukobench-gpu")
    load_images(images, rows, frame=recipe.frame, side=recipe.input_side, jobs=int(CORES))


def place(work: Path, name: str, of: str) -> Path:
    """Return the run folder of a variant on a split."""
    return work / f"{ROWS.index(name)}-{of.removesuffix('.csv')}"


def run(name: str, of: str, command: Sequence[str | os.PathLike[str]], seconds: float | None = None) -> None:
    """Run a command of leukobench, and print how long it took."""
    start = time.monotonic()
    try:
        command = [sys.executable, "-m", "leukobench.cli", *command]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        print(f"# {name}, {of}: not finished in time", flush=True)
        return
    failed = "" if done.returncode == 0 else f"; failed: {done.stderr.strip()[-300:]}"
    print(f"# {name}, {of}: {time.monotonic() - start:.0f} s{failed}", flush=True)


def train(images: Path, work: Path, job: tuple[str, str], weights: str, device: str, end: float) -> None:
    """Train a variant of the network on a split, if it is not trained and the time is not up."""
    name, of = job
    out = place(work, name, of)
    if out.exists() or time.monotonic() > end:
        return
    command = [
        "train-cnn", images, "--manifest", work / "manifest.csv", "--split", work / of, "--weights", weights,
        "--seed", "1", "--recipe", GPU, *VARIANTS[name], "--device", device, "--resume", "-o", out,
    ]  # fmt: skip
    run(name, of, command, end - time.monotonic())


def train_svm_and_combine(images: Path, work: Path) -> None:
    """Train the SVM on all splits, and combine runs where all members of a combination are there."""
    features = work / "features.csv"
    if not features.exists():
        run(
            "features", "all", ["extract", images, "--manifest", work / "manifest.csv", "-o", features, "--jobs", CORES]
        )
    for of in SPLITS:
        if not (out := place(work, SVM, of)).exists():
            run(SVM, of, ["train-svm", features, "--split", work / of, "--seed", "1", "--jobs", CORES, "-o", out])
        for name, members in COMBINATIONS.items():
            places = [place(work, member, of) for member in members]
            if all(each.exists() for each in places) and not (out := place(work, name, of)).exists():
                run(name, of, ["combine", *places, "-o", out])


def rows_of_test(work: Path, name: str, of: str) -> pd.DataFrame | None:
    """Return the predictions of the test part, or None if the variant is not trained on this split."""
    if not place(work, name, of).exists():
        return None
    rows = read_run_folder(place(work, name, of)).predictions
    return rows[rows["part"] == "test"].reset_index(drop=True)


def measured(rows: pd.DataFrame, *, equal: bool = True) -> float:
    """Return the AUROC of cells within folds."""
    fold = rows["fold"].to_numpy(int) if rows["fold"].notna().all() else np.zeros(len(rows), int)
    of = rows["label"] == POSITIVE, rows["score"], rows["subject_group"]
    positive, score, group = (column.to_numpy() for column in of)
    return weighted_auroc(positive, score, group, fold, equal)


def line(work: Path, name: str) -> str:
    """Return the line of a variant."""
    found = {of: rows_of_test(work, name, of) for of in SPLITS}
    value = {of: None if rows is None else measured(rows) for of, rows in found.items()}
    batch = [value[of] for of in BATCHES if value[of] is not None]
    cells = None if found[FOLDS] is None else measured(found[FOLDS], equal=False)
    columns = [value[FOLDS], cells, value[OTHER_FOLDS]]
    texts = ["" if each is None else f"{each:.3f}" for each in columns]
    texts.append(f"{np.mean(batch):.3f} ({min(batch):.3f})" if len(batch) == DRAWS else "")
    texts.append("" if value[LATER] is None else f"{value[LATER]:.3f}")
    return f"| {name} | {' | '.join(texts)} |"


def chosen_by_other_folds(work: Path) -> str:
    """Return the line of the choice among the variants of the network that are trained on the folds."""
    trained = {name: rows for name in VARIANTS if (rows := rows_of_test(work, name, FOLDS)) is not None}
    if len(trained) < 2:
        return "| chosen by the other folds | | | | | |"
    parts, names = [], []
    folds = next(iter(trained.values()))["fold"]
    for fold in sorted(folds.unique()):
        others = (folds != fold).to_numpy()
        best = max(trained, key=lambda name: measured(trained[name][others]))
        parts.append(trained[best][~others])
        names.append(best)
    rows = pd.concat(parts, ignore_index=True)
    counted = ", ".join(f"{name}: {names.count(name)}" for name in dict.fromkeys(names))
    return f"| chosen by the other folds ({counted}) | {measured(rows):.3f} | {measured(rows, equal=False):.3f} | | | |"


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="imagenet", help="ImageNet weights of MobileNet: a file, or imagenet")
    parser.add_argument("--work", type=Path, required=True, help="folder of manifest, splits and runs")
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--processes", type=int, default=8, help="trainings of networks at a time")
    parser.add_argument("--minutes", type=float, default=60, help="no training of a network goes on after so many")
    parser.add_argument("--svm", action="store_true", help="train SVMs as well, and combine runs")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    images, work = Path(os.environ["LEUKOBENCH_CNMC"]), arguments.work
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    prepare(images, work)
    with ThreadPoolExecutor(arguments.processes) as pool:
        for job in JOBS:
            pool.submit(train, images, work, job, arguments.weights, arguments.device, end)
    if arguments.svm:
        train_svm_and_combine(images, work)
    print("| variant | subjects | cells | folds 2 | batch: mean (lowest) | later |\n|---|---|---|---|---|---|")
    for name in ROWS:
        print(line(work, name))
    print(chosen_by_other_folds(work))


if __name__ == "__main__":
    main()
