"""Is fine-tuning better than a frozen network on unseen subjects, and which of its settings matter?

    LEUKOBENCH_CNMC=C-NMC_Leukemia KERAS_BACKEND=jax python -m benchmarks.finetuning --weights imagenet --work DIR

trains the recipe `leukobench-gpu`, the same with one setting changed, and the frozen `leukobench`, each by
`leukobench train-cnn`, several at a time on one GPU. Finished runs in DIR are kept, so that an interrupted benchmark
goes on, and `--minutes` ends it in time. Then it prints a line a variant; AUROC of cells, of the test parts:

    subjects    five folds of subject groups, seed 1: within folds, all subject groups of a class weighted equally
    cells       the same with all cells weighted equally
    seed 2      "subjects" with other folds
    batch       trained on the early batch (normal subjects up to H24), tested on the later ones, see
                benchmarks/unseen_subjects.py; mean and lowest of three draws
    later       trained without the twelve subjects of benchmarks/later_subjects.py, tested on these

The last line is the estimate for the choice among the variants with folds of seed 1: for each fold the variant is
taken that has the highest "subjects" on the other folds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
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
VARIANTS: dict[str, tuple[str, ...]] = {  # name -> options of train-cnn
    "leukobench-gpu": (),
    "dropout instead of batch normalisation in the head": ("--set", "head=cell-average,dropout=0.3,sigmoid"),
    "batch normalisation trained": ("--set", "trained=all"),
    "weights not capped": ("--set", "class_weights=balanced-subjects"),
    "60 epochs": ("--set", "epochs=60"),
    "leukobench (frozen)": (),
}
FOLDS, OTHER_FOLDS, LATER = "folds-1", "folds-2", "later.csv"
BATCHES = tuple(f"batch-{draw}.csv" for draw in range(DRAWS))
# in this order, as far as the time reaches
JOBS = [
    *((name, FOLDS) for name in list(VARIANTS)[:2]),
    *(("leukobench-gpu", of) for of in (OTHER_FOLDS, LATER, *BATCHES)),
    *((name, FOLDS) for name in list(VARIANTS)[2:]),
    *(("leukobench (frozen)", of) for of in (OTHER_FOLDS, LATER, *BATCHES)),
    *((list(VARIANTS)[1], of) for of in (OTHER_FOLDS, LATER, *BATCHES)),
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
    load_images(images, rows, frame=recipe.frame, side=recipe.input_side, jobs=os.cpu_count() or 1)


def place(work: Path, name: str, of: str) -> Path:
    """Return the run folder of a variant on a split."""
    return work / f"{list(VARIANTS).index(name)}-{of.removesuffix('.csv')}"


def train(images: Path, work: Path, job: tuple[str, str], weights: str, device: str, end: float) -> None:
    """Train a variant on a split, if it is not trained and the time is not up."""
    name, of = job
    out = place(work, name, of)
    if out.exists() or time.monotonic() > end:
        return
    recipe = name.split()[0] if name.startswith("leukobench") else "leukobench-gpu"
    command = [
        sys.executable, "-m", "leukobench.cli", "train-cnn", str(images), "--manifest", str(work / "manifest.csv"),
        "--split", str(work / of), "--recipe", recipe, "--weights", weights, *VARIANTS[name], "--seed", "1",
        "--device", device, "--resume", "-o", str(out),
    ]  # fmt: skip
    start = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(end - start, 1))
    except subprocess.TimeoutExpired:
        print(f"# {name}, {of}: not finished in time", flush=True)
        return
    failed = "" if done.returncode == 0 else f"; failed: {done.stderr.strip()[-300:]}"
    print(f"# {name}, {of}: {time.monotonic() - start:.0f} s{failed}", flush=True)


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
    found = {of: rows_of_test(work, name, of) for of in (FOLDS, OTHER_FOLDS, LATER, *BATCHES)}
    value = {of: None if rows is None else measured(rows) for of, rows in found.items()}
    batch = [value[of] for of in BATCHES if value[of] is not None]
    cells = None if found[FOLDS] is None else measured(found[FOLDS], equal=False)
    columns = [value[FOLDS], cells, value[OTHER_FOLDS]]
    texts = ["" if each is None else f"{each:.3f}" for each in columns]
    texts.append(f"{np.mean(batch):.3f} ({min(batch):.3f})" if len(batch) == DRAWS else "")
    texts.append("" if value[LATER] is None else f"{value[LATER]:.3f}")
    return f"| {name} | {' | '.join(texts)} |"


def chosen_by_other_folds(work: Path) -> str:
    """Return the line of the choice among the variants that are trained on the folds."""
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
    parser.add_argument("--processes", type=int, default=5, help="trainings at a time")
    parser.add_argument("--minutes", type=float, default=60, help="no training goes on after so many")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    images, work = Path(os.environ["LEUKOBENCH_CNMC"]), arguments.work
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str((work / "compiled").resolve()))
    prepare(images, work)
    with ThreadPoolExecutor(arguments.processes) as pool:
        for job in JOBS:
            pool.submit(train, images, work, job, arguments.weights, arguments.device, end)
    print("| variant | subjects | cells | seed 2 | batch: mean (lowest) | later |\n|---|---|---|---|---|---|")
    for name in VARIANTS:
        print(line(work, name))
    print(chosen_by_other_folds(work))


if __name__ == "__main__":
    main()
