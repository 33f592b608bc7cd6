"""The optimistic bias of lenient splits: one recipe at several split levels.

The levels, and how the partitions of a seed are made, are those of `cohort.split_levels`: at every level the same test
images and the same number of training images of each class, so that only the subjects shared between training and test
differ. The bias of a level in a seed is its metric minus that of the strictest level, the reference.

    leakage.csv      one row a model, seed and level: its metrics
    leakage.json     the bias of each metric with its confidence interval, and the arguments
    leakage.md       the same as text
    leakage.png, leakage.svg
    partitions/      the partition of each seed and level
    runs/            the run folder of each model, seed and level; levels whose partitions are equal share one
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from leukobench.classifiers.training import train_classifier
from leukobench.cohort.manifest import POSITIVE, manifest_checksum, read_manifest
from leukobench.cohort.partition import Partition, write_split
from leukobench.cohort.split_levels import (
    REFERENCE,
    SplitLevel,
    coinciding_levels,
    level_units,
    paired_partitions,
)
from leukobench.cohort.ties import read_ties, ties_path
from leukobench.core.errors import InputError
from leukobench.core.files import (
    make_folder,
    only_writer,
    refuse_existing,
    refuse_unfinished,
    rename_folder,
    sha256_of,
    unfinished_path,
    write_json,
)
from leukobench.results.feature_table import read_feature_table
from leukobench.results.metrics import classification_metrics
from leukobench.results.run import RunFolder, read_run_folder
from leukobench.workflows.leakage_report import METRICS, LevelBias, level_biases, statements, write_leakage

ARGUMENTS = "arguments.json"  # in the unfinished folder: the arguments of the call


@dataclass(frozen=True)
class Leakage:
    """The measured bias.

    Attributes:
        folder: The folder of all results.
        table: One row a model, seed and level.
        biases: One for each model, level and metric.
        statements: The results as sentences.
    """

    folder: Path
    table: pd.DataFrame
    biases: list[LevelBias]
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
    levels: Sequence[SplitLevel | str] | None = None,
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
    """Train a recipe at several split levels with several seeds, and write the folder of the module docstring.

    During the call, the finished runs are saved in `NAME.partial` next to the folder.

    Args:
        features: Feature table.
        manifest: Manifest that the table was extracted with; its table of ties is read too.
        out: Folder to write.
        levels: Split levels to compare with the reference, `subject-group`, which is always included; None for all. A
            level that keeps the same images together as a stricter one is not trained, but reported as the same.
        family: `svm` or `knn`, trained with its default recipe.
        images: Folder of the images, to train a network as well; needs `recipe`.
        recipe: Recipe of the network.
        weights: Pretrained weights of the network, see `leukobench.cnn.training`.
        epochs: Number of epochs of the network, if not the recipe's.
        test_size: Share of each class's images whose subject IDs are drawn for testing, in (0, 1); half of the images
            of these IDs are tested.
        seeds: Number of seeds, at least 2; each has one partition a level.
        seed: The first seed; the others follow it.
        resume: Whether to continue an interrupted call with the same arguments, if there is one.
        jobs: Number of parallel processes.

    Raises:
        InputError: a file is missing or malformed, the table was extracted with another manifest, an unknown level,
            the cohort is too small to split, `out` exists, or the interrupted call had other arguments.
        UnfinishedError: an interrupted call left finished runs, and `resume` is false.
    """
    features, manifest, out = Path(features), Path(manifest), Path(out)
    refuse_existing(out)
    if seeds < 2:
        raise InputError(f"seeds={seeds}: a confidence interval over seeds needs at least two seeds; give more")
    chosen = _chosen_levels(levels)
    cohort, table = read_manifest(manifest), read_feature_table(features)
    if table.facts and table.facts.manifest != manifest_checksum(cohort)[:16]:
        raise InputError(
            f"{features}: was extracted with another manifest than {manifest}; name that manifest, or extract again"
        )
    units, same = _distinct_levels(chosen, level_units(cohort, _read_ties_of(manifest)))
    numbers = list(range(seed, seed + seeds))
    partitions = {number: paired_partitions(cohort, units, test_size, number) for number in numbers}
    arguments = {
        "features": sha256_of(features),
        "manifest": sha256_of(manifest),
        "ties": sha256_of(ties_path(manifest)),
        "levels": chosen,
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
    with only_writer(out), _work_folder(out, arguments, resume) as work:
        paths = _write_partitions(partitions, work / "partitions")
        metrics = pd.DataFrame(_train_all(models, paths, work / "runs"))
        found = level_biases(metrics)
        said = statements(metrics, found, same)
        write_leakage(work, arguments, metrics, found, said)
        rename_folder(work, out)
        (out / ARGUMENTS).unlink()
    return Leakage(out, metrics, found, said)


def _chosen_levels(levels: Sequence[SplitLevel | str] | None) -> list[SplitLevel]:
    """Return the levels, the reference included, from the most lenient to the strictest."""
    known = list(SplitLevel)
    unknown = [level for level in levels or () if level not in known]
    if unknown:
        raise InputError(f"no split level {str(unknown[0])!r}; choose from {', '.join(known)}")
    chosen = known if levels is None else [level for level in known if level in (*levels, REFERENCE)]
    if chosen == [REFERENCE]:
        raise InputError(f"the only split level is the reference, {REFERENCE}; add one to compare with it")
    return chosen


def _distinct_levels(
    chosen: Sequence[SplitLevel], units: dict[SplitLevel, pd.Series]
) -> tuple[dict[SplitLevel, pd.Series], dict[SplitLevel, SplitLevel]]:
    """Return the units of the levels that differ in this cohort, and the stricter level that each other one equals."""
    units = {level: units[level] for level in chosen}
    same = coinciding_levels(units)
    distinct = {level: unit for level, unit in units.items() if level not in same}
    if list(distinct) == [REFERENCE]:
        raise InputError(
            f"in this cohort, {' and '.join(same)} {'keep' if len(same) > 1 else 'keeps'} the same images together as "
            f"the reference, {REFERENCE}; add another split level to compare with it"
        )
    return distinct, same


def _read_ties_of(manifest: Path) -> pd.DataFrame:
    """Read the table of ties beside a manifest."""
    path = ties_path(manifest)
    if not path.is_file():
        raise InputError(f"{path}: is missing, so the ties of {manifest} are unknown; make the manifest again")
    return read_ties(path)


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
def _work_folder(out: Path, arguments: dict[str, Any], resume: bool) -> Iterator[Path]:
    """Yield the folder of unfinished results: a new one, or that of an interrupted call with the same arguments.

    The folder is removed if the block ends before its first run is complete.
    """
    refuse_unfinished(out, resume=resume)
    work = unfinished_path(out)
    begun = work / ARGUMENTS
    if begun.is_file() and json.loads(begun.read_text(encoding="utf-8")) != arguments:
        raise InputError(
            f"{work}: was written with other arguments; use the same arguments, choose another name, or remove it"
        )
    make_folder(work)
    write_json(arguments, begun, replace=True)
    try:
        yield work
    finally:
        if not any(work.glob("runs/*/run.json")):
            shutil.rmtree(work, ignore_errors=True)


def _write_partitions(
    partitions: dict[int, dict[SplitLevel, Partition]], folder: Path
) -> dict[tuple[int, SplitLevel], Path]:
    """Write the partitions of each seed, unless they exist, and return their paths, the strictest level first.

    A cohort with too few subjects fails at the strictest level. Of levels whose partitions have the same rows, only the
    strictest is written; it is the path of all of them.
    """
    paths = {}
    for seed, of_seed in partitions.items():
        for level, partition in reversed(of_seed.items()):
            strictest = [other for other, each in of_seed.items() if each.rows.equals(partition.rows)][-1]
            paths[seed, level] = folder / f"seed_{seed}_{strictest}.csv"
            if not paths[seed, level].is_file():
                write_split(of_seed[strictest], paths[seed, level])
    return paths


def _train_all(
    models: Sequence[_Model], paths: dict[tuple[int, SplitLevel], Path], folder: Path
) -> list[dict[str, object]]:
    """Train every model on every partition, unless its run exists; return the metrics of each run as a row."""
    rows = []
    with tqdm(total=len(models) * len(paths), desc="leakage", unit="run", disable=None) as bar:
        for (seed, level), partition in paths.items():
            for model in models:
                run_folder = folder / f"{model.name}_{partition.stem}"
                exists = run_folder.is_dir()
                run = read_run_folder(run_folder) if exists else model.train(partition, run_folder, seed)
                rows.append(_row(model.name, seed, level, run))
                bar.update()
    return rows


def _row(model: str, seed: int, level: SplitLevel, run: RunFolder) -> dict[str, object]:
    """Return the metrics of a run on its test part, and how many subjects and images its parts share."""
    train, test = run.part("train"), run.part("test")
    subjects = test.groupby("subject_group").agg(label=("label", "first"), score=("score", "mean"))
    cells = classification_metrics(test["label"].to_numpy(), test["score"].to_numpy())
    of_subjects = classification_metrics(subjects["label"].to_numpy(), subjects["score"].to_numpy())
    return {
        "model": model,
        "seed": seed,
        "level": str(level),
        "run": run.folder.name,
        "leaky": run.info.leaky,
        "train_images": len(train),
        "train_all": int((train["label"] == POSITIVE).sum()),
        "train_subjects": train["subject_group"].nunique(),
        "test_images": len(test),
        "test_all": int((test["label"] == POSITIVE).sum()),
        "test_subjects": len(subjects),
        "seen_subjects": int(subjects.index.isin(train["subject_group"]).sum()),
        "seen_images": int(train["subject_group"].isin(subjects.index).sum()),
        **{metric: cells[metric] for metric in METRICS if metric in cells},
        "subject_auroc": of_subjects["auroc"],
    }
