"""The optimistic bias of lenient splits: one recipe at several split levels.

The levels are those of `cohort.split_levels`. At each, the recipe is cross-validated: every labelled image is tested
once, and all models are trained on the same number of images of each class. The levels differ only in which images are
kept together. The bias of a level is its AUROC minus that of the strictest level, the reference, on the same cells; see
`workflows.level_bias`.

    leakage.csv      one row a model, seed and level: images, subjects that were in training, AUROC
    leakage.json     the bias with its confidence interval and p-value, and the arguments
    leakage.md       the same as text
    leakage.png, leakage.svg
    splits/          the folds of each level and seed
    runs/            the run folder of each model, level and seed
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from leukobench.classifiers.training import train_classifier
from leukobench.cohort.manifest import POSITIVE, manifest_checksum, read_manifest
from leukobench.cohort.partition import Folds, read_split, write_split
from leukobench.cohort.split_levels import (
    REFERENCE,
    SplitLevel,
    coinciding_levels,
    level_folds,
    level_units,
)
from leukobench.cohort.ties import read_ties, ties_path
from leukobench.comparison.intervals import SubjectGroups
from leukobench.core.errors import InputError
from leukobench.core.files import (
    make_folder,
    only_writer,
    read_json,
    refuse_existing,
    refuse_unfinished,
    rename_folder,
    sha256_of,
    sweep,
    unfinished_path,
    write_json,
)
from leukobench.core.progress import ProgressBar
from leukobench.core.workers import BACKENDS, check_backend
from leukobench.results.feature_table import read_feature_table
from leukobench.results.run import RunFolder, read_run_folder
from leukobench.workflows.leakage_report import statements, write_leakage
from leukobench.workflows.level_bias import LevelBias, fold_aurocs, level_biases

LOG = logging.getLogger(__name__)

ARGUMENTS = "arguments.json"  # in the unfinished folder: the arguments of the call


@dataclass(frozen=True)
class Leakage:
    """The measured bias.

    Attributes:
        folder: The folder of all results.
        table: One row a model, seed and level, see `leakage.csv`.
        biases: One for each model, level and metric.
        statements: The results as sentences.
    """

    folder: Path
    table: pd.DataFrame
    biases: list[LevelBias]
    statements: list[str]


Runs = Mapping[tuple[str, int, SplitLevel], RunFolder]  # by model, seed and level


@dataclass(frozen=True)
class _Model:
    """A recipe, and the function that trains it: folder of folds, run folder, seed -> run."""

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
    folds: int = 5,
    seeds: int = 1,
    seed: int = 0,
    resume: bool = False,
    jobs: int = 1,
    backend: str = BACKENDS[0],
    scheduler: str | None = None,
) -> Leakage:
    """Cross-validate a recipe at several split levels, and write the folder of the module docstring.

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
        folds: Number of folds of each cross-validation, at least 2.
        seeds: Number of repeats with other folds, over which the metrics are averaged.
        seed: Seed of the first repeat; the others follow it.
        resume: Whether to continue an interrupted call with the same arguments, if there is one.
        jobs: Number of parallel processes on this machine.
        backend: Execution backend of the trainings of `family`: `loky` (this machine), `dask` or `ray`.
        scheduler: Address of the cluster, for `dask` (`tcp://host:8786`) and `ray` (`host:6379`).

    Raises:
        InputError: a file is missing or malformed, the table was extracted with another manifest, an unknown level,
            the cohort is too small to split, `out` exists, or the interrupted call had other arguments.
        UnfinishedError: an interrupted call left finished runs, and `resume` is false.
    """
    features, manifest, out = Path(features), Path(manifest), Path(out)
    refuse_existing(out)
    if seeds < 1:
        raise InputError(f"seeds={seeds}; expected at least 1")
    chosen = _chosen_levels(levels)
    cohort, table = read_manifest(manifest), read_feature_table(features)
    if table.facts and table.facts.manifest != manifest_checksum(cohort)[:16]:
        raise InputError(
            f"{features}: was extracted with another manifest than {manifest}; name that manifest, or extract again"
        )
    units, same = _distinct_levels(chosen, level_units(cohort, _read_ties_of(manifest)))
    numbers = list(range(seed, seed + seeds))
    splits = {number: level_folds(cohort, units, folds, number) for number in numbers}
    arguments = {
        "features": sha256_of(features),
        "manifest": sha256_of(manifest),
        "ties": sha256_of(ties_path(manifest)),
        "levels": chosen,
        "models": [family, *([recipe] if images else [])],
        "weights": weights,
        "epochs": epochs,
        "folds": folds,
        "seeds": numbers,
    }
    check_backend(jobs, backend, scheduler)
    models = [_classical(features, family, {"jobs": jobs, "backend": backend, "scheduler": scheduler})]
    if images:
        options = {"recipe": recipe, "weights": weights, "epochs": epochs, "jobs": jobs, "resume": resume}
        if table.facts:  # so that both models read the cells in the same way
            options["background"] = table.facts.background
        models.append(_network(Path(images), manifest, options))
    with only_writer(out), _work_folder(out, arguments, resume) as work:
        paths = _write_splits(splits, work / "splits")
        runs = _train_all(models, paths, work / "runs", splits)
        found = [each for model in models for each in level_biases(model.name, _test_rows(runs, model.name, units))]
        rows = pd.DataFrame(_row(*key, run, splits[key[1]][key[2]]) for key, run in runs.items())
        said = statements(rows, found, same)
        write_leakage(work, arguments, rows, found, said)
        rename_folder(work, out)
        (out / ARGUMENTS).unlink()
    return Leakage(out, rows, found, said)


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


def _classical(features: Path, family: str, workers: dict[str, Any]) -> _Model:
    def train(folds: Path, folder: Path, seed: int) -> RunFolder:
        recipe = f"leukobench-{family}"
        return train_classifier(features, folds, folder, recipe=recipe, importance=False, seed=seed, **workers)

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

    def train(folds: Path, folder: Path, seed: int) -> RunFolder:
        return train_network(all_images(), manifest, folds, folder, seed=seed, **options)

    return _Model(options["recipe"], train)


@contextlib.contextmanager
def _work_folder(out: Path, arguments: dict[str, Any], resume: bool) -> Iterator[Path]:
    """Yield the folder of unfinished results: a new one, or that of an interrupted call with the same arguments.

    The folder is removed if the block ends before its first run is complete.
    """
    refuse_unfinished(out, resume=resume)
    work = unfinished_path(out)
    begun = work / ARGUMENTS
    make_folder(work)
    for folder in (work, work / "splits", work / "runs"):
        sweep(folder)
    if any(work.iterdir()) and read_json(begun, f"remove {work} and measure again") != arguments:
        raise InputError(
            f"{work}: was written with other arguments; use the same arguments, choose another name, or remove it"
        )
    write_json(arguments, begun, replace=True)
    try:
        yield work
    finally:
        if not any(work.glob("runs/*/run.json")):
            shutil.rmtree(work, ignore_errors=True)


def _write_splits(splits: Mapping[int, Mapping[SplitLevel, Folds]], folder: Path) -> dict[tuple[int, SplitLevel], Path]:
    """Write the folds of each seed and level, unless they exist, and return the paths of their folders.

    Raises:
        InputError: an existing folder has other folds.
    """
    paths = {}
    for seed, of_seed in splits.items():
        for level, made in of_seed.items():
            paths[seed, level] = folder / f"{level}_seed_{seed}"
            if not paths[seed, level].is_dir():
                write_split(made, paths[seed, level])
            elif read_split(paths[seed, level]).checksums != made.checksums:
                raise InputError(f"{paths[seed, level]}: is not the split of these arguments; remove it")
    _remove_others(folder, paths.values())
    return paths


def _remove_others(folder: Path, wanted: Iterable[Path]) -> None:
    """Remove what killed processes left in a folder: locks, checkpoints of finished trainings."""
    for path in set(folder.iterdir()) - set(wanted):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _train_all(
    models: Sequence[_Model],
    paths: Mapping[tuple[int, SplitLevel], Path],
    folder: Path,
    splits: Mapping[int, Mapping[SplitLevel, Folds]],
) -> Runs:
    """Train every model on every split, unless its run exists.

    Raises:
        InputError: an existing run was trained on another split.
    """
    runs = {}
    with ProgressBar(LOG, total=len(models) * len(paths), desc="leakage", unit="run") as bar:
        for (seed, level), split in paths.items():
            for model in models:
                run_folder = folder / f"{model.name}_{split.name}"
                exists = run_folder.is_dir()
                run = read_run_folder(run_folder) if exists else model.train(split, run_folder, seed)
                if not splits[seed][level].checksums.items() <= run.info.checksums.items():
                    raise InputError(f"{run_folder}: was trained on another split than {split}; remove it")
                runs[model.name, seed, level] = run
                bar.update()
    _remove_others(folder, (run.folder for run in runs.values()))
    return runs


def _test_rows(runs: Runs, model: str, levels: Iterable[SplitLevel]) -> dict[SplitLevel, list[pd.DataFrame]]:
    """Return the test rows of a model's runs: of each level, those of each seed."""
    return {
        level: [run.part("test") for (name, _, of), run in runs.items() if (name, of) == (model, level)]
        for level in levels
    }


def _row(model: str, seed: int, level: SplitLevel, run: RunFolder, folds: Folds) -> dict[str, object]:
    """Return the AUROC of a run within its folds, and how many subjects and images training and test share."""
    tested, trained, seen = run.part("test"), [], []
    groups = SubjectGroups.of(tested["label"], tested["subject_group"])
    for fold, partition in folds.partitions.items():
        train, test = partition.part("train"), run.part("test", fold)
        train = train[~train["path"].isin(run.info.excluded)]
        trained.append(train.assign(of_test=train["subject_group"].isin(test["subject_group"])))
        seen.append(test[test["subject_group"].isin(train["subject_group"])])
    return {
        "model": model,
        "seed": seed,
        "level": str(level),
        "run": run.folder.name,
        "leaky": run.info.leaky,
        "train_images": min(len(train) for train in trained),
        "train_all": min(int((train["label"] == POSITIVE).sum()) for train in trained),
        "test_images": len(tested),
        "test_all": int((tested["label"] == POSITIVE).sum()),
        "test_subjects": len(groups),
        "test_subjects_all": groups.of_class[0],
        "seen_subjects": pd.concat(seen)["subject_group"].nunique(),
        "seen_cells": len(pd.concat(seen)),
        "seen_images": round(sum(int(train["of_test"].sum()) for train in trained) / len(trained)),
        **fold_aurocs(tested),
    }
