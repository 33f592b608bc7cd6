"""What leakage is worth: the same recipe under a split by image and under one by subject, over several seeds.

Of each seed two partitions are made of the same manifest and cut down to the same number of images of each class, in
training and in test, so that nothing differs but whether the people of the test part stand in training too. The
inflation of a seed is the figure under the split by image less that under the split by subject.

    leakage.csv      one row a model, seed and split: its figures
    leakage.json     the optimistic bias of each metric, with its interval, and the arguments
    leakage.md       the same, to read
    leakage.png, leakage.svg
    partitions/      both partitions of each seed
    runs/            both run folders of each seed and model
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from leukobench.classifiers.training import train as train_classifier
from leukobench.cohort.manifest import POSITIVE, read_manifest
from leukobench.cohort.partition import Choice, split_by_image, split_by_subject, write_partition
from leukobench.core.errors import InputError
from leukobench.core.files import refuse_existing, sha256_of, write_json
from leukobench.results.feature_table import read_feature_table
from leukobench.results.metrics import classification_metrics
from leukobench.results.run import Run, read_run
from leukobench.workflows.leakage_report import METRICS, SplitBias, split_biases, statements, write_leakage

ASKED = "asked.json"  # in the folder to work in: the arguments that it was begun with


@dataclass(frozen=True)
class Leakage:
    """What leakage is worth.

    Attributes:
        folder: Where everything lies.
        table: One row a model, seed and split.
        biases: One for each model and metric.
        statements: Plain sentences.
    """

    folder: Path
    table: pd.DataFrame
    biases: list[SplitBias]
    statements: list[str]


@dataclass(frozen=True)
class _Model:
    """A recipe, and how it is trained on a partition into a run folder with a seed."""

    name: str
    train: Callable[[Path, Path, int], Run]


def measure_leakage(
    features: Path,
    manifest: Path,
    out: Path,
    *,
    family: str = "svm",
    images: Path | None = None,
    recipe: str | None = None,
    weights: str | None = None,
    epochs: int | None = None,
    test_size: float = 0.2,
    seeds: int = 5,
    seed: int = 0,
    jobs: int = 1,
) -> Leakage:
    """Train under both splits over several seeds, and write the folder that this module's text describes.

    What is computed lies in `.NAME.partial` beside the folder until all is there; the same call takes it up again.

    Args:
        features: Feature table.
        manifest: Manifest that it was extracted by.
        out: Folder to write.
        family: `svm` or `knn`, trained by our own recipe.
        images: Folder of the images, to train a network too; takes `recipe`.
        recipe: Recipe of the network.
        weights: Of the network, see `leukobench.cnn.training.train`.
        epochs: Of the network, instead of the recipe's.
        test_size: Share of each class to test on.
        seeds: How many splits of each kind, at least 2.
        seed: The first of them; the others follow.
        jobs: Processes.

    Raises:
        InputError: a file is malformed, the table is of another manifest, the cohort is too small to split, `out`
            exists, or what lies beside it was begun with other arguments.
    """
    refuse_existing(out)
    if seeds < 2:
        raise InputError("an interval over seeds takes two seeds at least")
    cohort, table = read_manifest(manifest), read_feature_table(features)
    if table.facts.get("manifest", sha256_of(manifest)[:16]) != sha256_of(manifest)[:16]:
        raise InputError(
            f"{features}: was extracted by another manifest than {manifest}; name that one, or extract again"
        )
    numbers = list(range(seed, seed + seeds))
    partitions = {number: matched_partitions(cohort, test_size, number) for number in numbers}
    asked = {
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
        models.append(_network(images, manifest, options, table.facts.get("background")))
    with _work_folder(out, asked) as work:
        paths = _write_partitions(partitions, manifest, work / "partitions")
        figures = pd.DataFrame(_train_all(models, paths, work / "runs"))
        found = split_biases(figures)
        said = statements(figures, found)
        write_leakage(work, asked, figures, found, said)
        (work / ASKED).unlink()
        work.rename(out)
    return Leakage(out, figures, found, said)


def matched_partitions(cohort: pd.DataFrame, test_size: float, seed: int) -> dict[str, pd.DataFrame]:
    """Split a manifest by image and by subject so that each class has as many images in the same part of both.

    Both are drawn as `cohort.partition` draws them; the one with more images of a class in a part loses the surplus, in
    the order of the hash of seed and path.

    Returns:
        The partitions, by `subject` and `image`.
    """
    choice = Choice(seed=seed)
    drawn = {  # by subject first: where there are too few people, training says so before anything else is trained
        "subject": split_by_subject(cohort, test_size, choice),
        "image": split_by_image(cohort, test_size, choice),
    }
    sizes = pd.concat([partition.groupby(["part", "label"]).size() for partition in drawn.values()], axis=1).min(axis=1)
    return {split: _cut(partition, sizes, seed) for split, partition in drawn.items()}


def _classical(features: Path, family: str, jobs: int) -> _Model:
    def train(partition: Path, folder: Path, seed: int) -> Run:
        return train_classifier(features, partition, folder, family=family, importance=False, seed=seed, jobs=jobs)

    return _Model(family, train)


def _network(images: Path, manifest: Path, options: dict[str, Any], background: str | None) -> _Model:
    from leukobench.cnn.published import recipe_named
    from leukobench.cnn.training import (
        train as train_network,  # here: TensorFlow is loaded only where a network is asked for
    )

    recipe_named(options["recipe"])  # an unknown recipe is told before anything is trained
    if background:  # of the feature table, so that both models read the cells alike
        options = options | {"background": background}

    def train(partition: Path, folder: Path, seed: int) -> Run:
        return train_network(images, manifest, partition, folder, seed=seed, whole_manifest=True, **options)

    return _Model(options["recipe"], train)


@contextlib.contextmanager
def _work_folder(out: Path, asked: dict[str, Any]) -> Iterator[Path]:
    """Yield the folder to work in: a new one, or one that was begun with the same arguments.

    Where the block ends before its first run is there, nothing is worth keeping, and the folder is removed.
    """
    work = out.with_name(f".{out.name}.partial")
    begun = work / ASKED
    if begun.is_file() and json.loads(begun.read_text(encoding="utf-8")) != asked:
        raise InputError(f"{work}: was begun with other arguments; repeat those, choose another name, or remove it")
    work.mkdir(parents=True, exist_ok=True)
    write_json(asked, begun)
    try:
        yield work
    finally:
        if not any(work.glob("runs/*/run.json")):
            shutil.rmtree(work, ignore_errors=True)


def _write_partitions(
    partitions: dict[int, dict[str, pd.DataFrame]], manifest: Path, folder: Path
) -> dict[tuple[int, str], Path]:
    """Write both partitions of each seed, and return where they lie."""
    paths = {}
    for seed, of_seed in partitions.items():
        for split, partition in of_seed.items():
            paths[seed, split] = folder / f"seed_{seed}_{split}.csv"
            write_partition(partition, manifest, paths[seed, split])
    return paths


def _train_all(models: Sequence[_Model], paths: dict[tuple[int, str], Path], folder: Path) -> list[dict[str, object]]:
    """Train every model on every partition, unless its run is there already; return a row of figures of each."""
    rows = []
    with tqdm(total=len(models) * len(paths), desc="leakage", unit="run", disable=None) as bar:
        for (seed, split), partition in paths.items():
            for model in models:
                place = folder / f"{model.name}_seed_{seed}_{split}"
                run = read_run(place) if place.is_dir() else model.train(partition, place, seed)
                rows.append(_row(model.name, seed, split, run))
                bar.update()
    return rows


def _cut(partition: pd.DataFrame, sizes: pd.Series, seed: int) -> pd.DataFrame:
    """Keep as many images of each part and class as `sizes` says, and say so in the partition's method."""
    digest = partition["path"].map(lambda path: hashlib.sha256(f"matched/{seed}/{path}".encode()).hexdigest())
    place = digest.groupby([partition["part"], partition["label"]]).rank(method="first")
    most = pd.MultiIndex.from_frame(partition[["part", "label"]]).map(sizes)
    return partition[place <= most.to_numpy()].assign(method=partition["method"] + " matched")


def _row(model: str, seed: int, split: str, run: Run) -> dict[str, object]:
    """Return the figures of a run on its test part, of cells and of subjects, and how many people it had seen."""
    train, test = run.part("train"), run.part("test")
    people = test.groupby("subject").agg(label=("label", "first"), score=("score", "mean"))
    cells = classification_metrics(test["label"].to_numpy(), test["score"].to_numpy())
    of_subjects = classification_metrics(people["label"].to_numpy(), people["score"].to_numpy())
    return {
        "model": model,
        "seed": seed,
        "split": split,
        "train_images": len(train),
        "train_all": int((train["label"] == POSITIVE).sum()),
        "test_images": len(test),
        "test_all": int((test["label"] == POSITIVE).sum()),
        "test_subjects": len(people),
        "seen_subjects": int(people.index.isin(train["subject"]).sum()),
        **{metric: cells[metric] for metric in METRICS if metric in cells},
        "subject_auroc": of_subjects["auroc"],
    }
