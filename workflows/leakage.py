"""The optimistic bias of an image-level split: one recipe under an image-level and a subject-level split.

For each seed, two partitions of one manifest are reduced to the same number of images of each class in training and in
test. They differ only in whether the subjects of the test part are also in training. The bias of a
seed is the metric under the image-level split minus that under the subject-level split.

    leakage.csv      one row a model, seed and split: its metrics
    leakage.json     the bias of each metric with its confidence interval, and the arguments
    leakage.md       the same as text
    leakage.png, leakage.svg
    partitions/      both partitions of each seed
    runs/            both run folders of each seed and model
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from leukobench.classifiers.training import train_classifier
from leukobench.cohort.manifest import POSITIVE, manifest_checksum, read_manifest
from leukobench.cohort.partition import Partition, write_split
from leukobench.cohort.splitting import SplitOptions, split_by_image, split_by_subject
from leukobench.core.errors import InputError
from leukobench.core.files import (
    only_writer,
    refuse_existing,
    refuse_unfinished,
    sha256_of,
    unfinished_path,
    write_json,
)
from leukobench.results.feature_table import read_feature_table
from leukobench.results.metrics import classification_metrics
from leukobench.results.run import RunFolder, read_run_folder
from leukobench.workflows.leakage_report import METRICS, SplitBias, split_biases, statements, write_leakage

ARGUMENTS = "arguments.json"  # in the unfinished folder: the arguments of the call


@dataclass(frozen=True)
class Leakage:
    """The measured bias.

    Attributes:
        folder: The folder of all results.
        table: One row a model, seed and split.
        biases: One for each model and metric.
        statements: The results as sentences.
    """

    folder: Path
    table: pd.DataFrame
    biases: list[SplitBias]
    statements: list[str]


@dataclass(frozen=True)
class _Model:
    """A recipe, and the function that trains it: partition, run folder, seed -> run."""

    name: str
    train: Callable[[Path, Path, int], RunFolder]


def leakage(
    features: str | os.PathLike[str],
    manifest: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    family: str = "svm",
    images: str | os.PathLike[str] | None = None,
    recipe: str | None = None,
    weights: str | None = None,
    epochs: int | None = None,
    test_size: float = 0.2,
    seeds: int = 5,
    seed: int = 0,
    resume: bool = False,
    jobs: int = 1,
) -> Leakage:
    """Train a recipe on both splits with several seeds, and write the folder that the module docstring describes.

    During the call, the finished runs are saved in `NAME.partial` next to the folder.

    Args:
        features: Feature table.
        manifest: Manifest that the table was extracted with.
        out: Folder to write.
        family: `svm` or `knn`, trained with its default recipe.
        images: Folder of the images, to train a network as well; needs `recipe`.
        recipe: Recipe of the network.
        weights: Pretrained weights of the network, see `leukobench.cnn.training`.
        epochs: Number of epochs of the network, if not the recipe's.
        test_size: Share of each class's images for testing, in (0, 1).
        seeds: Number of splits of each kind, at least 2.
        seed: Random seed of the first split of each kind; the others use the next seeds.
        resume: Whether to continue an interrupted call with the same arguments, if there is one.
        jobs: Number of parallel processes.

    Raises:
        InputError: a file is malformed, the table was extracted with another manifest, the cohort is too small to
            split, `out` exists, or the interrupted call had other arguments.
        UnfinishedError: an interrupted call left finished runs, and `resume` is false.
    """
    features, manifest, out = Path(features), Path(manifest), Path(out)
    refuse_existing(out)
    refuse_unfinished(out, resume=resume)
    if seeds < 2:
        raise InputError(f"seeds={seeds}: a confidence interval over seeds needs at least two seeds; give more")
    cohort, table = read_manifest(manifest), read_feature_table(features)
    if table.facts and table.facts.manifest != manifest_checksum(cohort)[:16]:
        raise InputError(
            f"{features}: was extracted with another manifest than {manifest}; name that manifest, or extract again"
        )
    numbers = list(range(seed, seed + seeds))
    partitions = {number: matched_partitions(cohort, test_size, number) for number in numbers}
    arguments = {
        "features": sha256_of(features),
        "manifest": sha256_of(manifest),
        "models": [family, *([recipe] if images else [])],
        "weights": weights,
        "epochs": epochs,
        "test_size": test_size,
        "seeds": numbers,
    }
    models = [_classical(features, family, jobs)]
    if images:
        options = {"recipe": recipe, "weights": weights, "epochs": epochs, "jobs": jobs}
        if table.facts:  # so that both models read the cells in the same way
            options["background"] = table.facts.background
        models.append(_network(Path(images), manifest, options))
    with only_writer(out), _work_folder(out, arguments) as work:
        paths = _write_splits(partitions, work / "partitions")
        metrics = pd.DataFrame(_train_all(models, paths, work / "runs"))
        found = split_biases(metrics)
        said = statements(metrics, found)
        write_leakage(work, arguments, metrics, found, said)
        (work / ARGUMENTS).unlink()
        work.rename(out)
    return Leakage(out, metrics, found, said)


def matched_partitions(cohort: pd.DataFrame, test_size: float, seed: int) -> dict[str, Partition]:
    """Make an image-level and a subject-level split with the same number of images of each class in each part.

    Both come from `cohort.splitting`. If one has more images of a class in a part, the surplus is removed, in the order
    of the hash of seed and path.

    Returns:
        The partitions, by `subject` and `image`.
    """
    options = SplitOptions(seed=seed)
    drawn = {  # subject-level first, because it fails if the cohort has too few subjects
        "subject": split_by_subject(cohort, test_size, options),
        "image": split_by_image(cohort, test_size, options),
    }
    sizes = pd.concat([partition.rows.groupby(["part", "label"]).size() for partition in drawn.values()], axis=1).min(
        axis=1
    )
    return {split: _cut(partition, sizes, seed) for split, partition in drawn.items()}


def _classical(features: Path, family: str, jobs: int) -> _Model:
    def train(partition: Path, folder: Path, seed: int) -> RunFolder:
        recipe = f"leukobench-{family}"
        return train_classifier(features, partition, folder, recipe=recipe, importance=False, seed=seed, jobs=jobs)

    return _Model(family, train)


def _network(images: Path, manifest: Path, options: dict[str, Any]) -> _Model:
    # here, so that TensorFlow is loaded only if a network is trained
    from leukobench.cnn.data import Images, load_images
    from leukobench.cnn.recipe_catalog import network_recipe
    from leukobench.cnn.training import train_network

    recipe = network_recipe(options["recipe"])  # here, so that an unknown recipe is refused before any training
    read = {"frame": recipe.frame, "side": recipe.input_side, "jobs": options["jobs"]}
    read |= {"background": options["background"]} if "background" in options else {}

    @functools.cache
    def all_images() -> Images:
        """Read the images of the manifest once: all runs share them and the outputs of a frozen base."""
        rows = read_manifest(manifest)
        return load_images(images, rows[rows["label"] != ""], **read)

    def train(partition: Path, folder: Path, seed: int) -> RunFolder:
        return train_network(all_images(), manifest, partition, folder, seed=seed, **options)

    return _Model(options["recipe"], train)


@contextlib.contextmanager
def _work_folder(out: Path, arguments: dict[str, Any]) -> Iterator[Path]:
    """Yield the folder of unfinished results: a new one, or that of an interrupted call with the same arguments.

    The folder is removed if the block ends before its first run is complete.
    """
    work = unfinished_path(out)
    begun = work / ARGUMENTS
    if begun.is_file() and json.loads(begun.read_text(encoding="utf-8")) != arguments:
        raise InputError(
            f"{work}: was written with other arguments; use the same arguments, choose another name, or remove it"
        )
    work.mkdir(parents=True, exist_ok=True)
    write_json(arguments, begun)
    try:
        yield work
    finally:
        if not any(work.glob("runs/*/run.json")):
            shutil.rmtree(work, ignore_errors=True)


def _write_splits(partitions: dict[int, dict[str, Partition]], folder: Path) -> dict[tuple[int, str], Path]:
    """Write both partitions of each seed, unless they exist, and return their paths."""
    paths = {}
    for seed, of_seed in partitions.items():
        for split, partition in of_seed.items():
            paths[seed, split] = folder / f"seed_{seed}_{split}.csv"
            if not paths[seed, split].is_file():
                write_split(partition, paths[seed, split])
    return paths


def _train_all(models: Sequence[_Model], paths: dict[tuple[int, str], Path], folder: Path) -> list[dict[str, object]]:
    """Train every model on every partition, unless its run exists; return the metrics of each run as a row."""
    rows = []
    with tqdm(total=len(models) * len(paths), desc="leakage", unit="run", disable=None) as bar:
        for (seed, split), partition in paths.items():
            for model in models:
                run_folder = folder / f"{model.name}_seed_{seed}_{split}"
                exists = run_folder.is_dir()
                run = read_run_folder(run_folder) if exists else model.train(partition, run_folder, seed)
                rows.append(_row(model.name, seed, split, run))
                bar.update()
    return rows


def _cut(partition: Partition, sizes: pd.Series, seed: int) -> Partition:
    """Keep the first `sizes` images of each part and class in the order of their hash; `method` records this."""
    rows = partition.rows
    digest = rows["path"].map(lambda path: hashlib.sha256(f"matched/{seed}/{path}".encode()).hexdigest())
    place = digest.groupby([rows["part"], rows["label"]]).rank(method="first")
    most = pd.MultiIndex.from_frame(rows[["part", "label"]]).map(sizes)
    return replace(partition, rows=rows[place <= most.to_numpy()], method=f"{partition.method} matched")


def _row(model: str, seed: int, split: str, run: RunFolder) -> dict[str, object]:
    """Return the metrics of a run on its test part, and the number of test subjects that were also in training."""
    train, test = run.part("train"), run.part("test")
    subjects = test.groupby("subject").agg(label=("label", "first"), score=("score", "mean"))
    cells = classification_metrics(test["label"].to_numpy(), test["score"].to_numpy())
    of_subjects = classification_metrics(subjects["label"].to_numpy(), subjects["score"].to_numpy())
    return {
        "model": model,
        "seed": seed,
        "split": split,
        "train_images": len(train),
        "train_all": int((train["label"] == POSITIVE).sum()),
        "test_images": len(test),
        "test_all": int((test["label"] == POSITIVE).sum()),
        "test_subjects": len(subjects),
        "seen_subjects": int(subjects.index.isin(train["subject"]).sum()),
        **{metric: cells[metric] for metric in METRICS if metric in cells},
        "subject_auroc": of_subjects["auroc"],
    }
