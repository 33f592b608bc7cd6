"""Training a network recipe: images + manifest + partition -> run folder."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leukobench.cells.cell import BACKGROUNDS
from leukobench.cnn.backend import keras
from leukobench.cnn.checkpoint import Checkpoint, Unfinished
from leukobench.cnn.data import Images, load_images
from leukobench.cnn.device import building_in, choose_devices, computing_on, name_devices, policy_for
from leukobench.cnn.epochs import Examples, Inputs, balanced_weights, enlargement
from leukobench.cnn.fitting import Validation, fit, score
from leukobench.cnn.frozen import base_outputs
from leukobench.cnn.network import Network, build, targets_for
from leukobench.cnn.plots import training_figure
from leukobench.cnn.published import recipe_named
from leukobench.cnn.recipes import Recipe
from leukobench.cnn.settings import with_settings
from leukobench.cohort.manifest import POSITIVE, read_manifest
from leukobench.cohort.partition import read_partitions
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, refuse_existing, sha256_of
from leukobench.core.plotting import save_figure
from leukobench.results.run import Run, predictions_table, split_facts, told, write_run


def train(
    images_folder: Path,
    manifest_path: Path,
    partition_path: Path,
    out: Path,
    *,
    recipe: str,
    background: str = BACKGROUNDS[0],
    weights: str | None = None,
    settings: Sequence[str] = (),
    epochs: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    device: str = "auto",
    precision: str = "auto",
    resume: bool = False,
    whole_manifest: bool = False,
) -> Run:
    """Train a network on the training part, predict every part, and write the run folder.

    Where there is a validation part, the weights of the epoch that the recipe says are kept, else those of the last. A
    frozen base is run once: only the head is trained, on its outputs. While it trains, `NAME.training` beside the run
    folder holds the history so far and a checkpoint; it is removed at the end.

    Args:
        images_folder: Folder that the manifest's paths are relative to.
        manifest_path: Manifest; the partition must have been made from it.
        partition_path: Partition, or folder of partitions: then the predictions are those of each fold's test part.
        out: Run folder to write.
        recipe: Name of a recipe.
        background: What lies around the cells, see `leukobench.cells.cell.find_cell`.
        weights: A file, "imagenet", or "none" for random ones, which names the run `<recipe>-from-scratch` where the
            recipe starts from ImageNet, and trains the whole network; by default what the recipe says.
        settings: Values of the recipe to change, see `leukobench.cnn.settings`.
        epochs: Instead of the recipe's.
        batch: Instead of the recipe's.
        seed: For initial weights, order, dropout and augmentation.
        jobs: Threads that read images.
        device: One of `leukobench.cnn.device.DEVICES`.
        precision: One of `leukobench.cnn.device.PRECISIONS`.
        resume: Whether to continue a training of the same things that was cut short.
        whole_manifest: Whether labelled images that the partition leaves out are read too, and a frozen base run on
            them: then trainings on other partitions of the same manifest find all that kept.

    Raises:
        InputError: a file is malformed or missing, the partition is of another manifest, the weights cannot be had,
            there is no such device, memory is too small, an unfinished training is in the way, another process is
            training for `out`, or `out` exists.
    """
    settings = [*(f"{name}={value}" for name, value in (("epochs", epochs), ("batch", batch)) if value), *settings]
    chosen, weights = _as_asked(recipe_named(recipe), weights, settings)
    refuse_existing(out)
    manifest, partitions = _cohort(manifest_path, partition_path, whole_manifest)
    with only_writer(out), _computing(device, precision, chosen.batch) as (devices, policy):
        first = _seeded(chosen, weights, seed)  # before images are read: weights that cannot be had are told at once
        facts = split_facts(partitions, partition_path)
        facts["checksums"]["weights"] = sha256_of(Path(weights)) if weights not in (None, "imagenet") else weights
        identity = {
            "parameters": chosen.as_json(),
            "seed": seed,
            "background": background,
            "checksums": facts["checksums"],
            "precision": policy,
            "device": name_devices(devices),
        }
        unfinished = Unfinished.beside(out, identity, resume)
        images = load_images(
            images_folder, manifest, frame=chosen.frame, side=chosen.input_side, background=background, jobs=jobs
        )
        trained = _train_folds(first, chosen, weights, partitions, images, seed, unfinished)
        info = {
            **identity,
            **facts,
            "family": "cnn",
            "recipe": chosen.name,
            "changed": settings,
            "excluded": _named(images.failed, partitions),
            "seconds": trained.seconds,
            "model_parameters": first.whole.count_params(),
        }
        result = _write(out, info, trained)
        unfinished.remove()
    return result


@dataclasses.dataclass
class _Trained:
    """What came out of all folds."""

    networks: dict[str, Network]
    predictions: list[pd.DataFrame]
    history: list[pd.DataFrame]
    seconds: dict[str, float]


@contextmanager
def _computing(device: str, asked: str, batch: int) -> Iterator[tuple[list[str], str]]:
    devices = choose_devices(device)
    policy = policy_for(asked, devices)
    with building_in(policy), computing_on(devices, batch):
        yield devices, policy


def _train_folds(
    first: Network,
    recipe: Recipe,
    weights: str | None,
    partitions: dict[str, pd.DataFrame],
    images: Images,
    seed: int,
    unfinished: Unfinished,
) -> _Trained:
    """Train a network on each partition; the first is built already."""
    trained = _Trained({}, [], [], {"frozen_base": 0.0, "fit": 0.0, "predict": 0.0})
    inputs = Inputs.of_images(images.pixels, recipe.views)
    if recipe.frozen:
        start = time.perf_counter()
        parts = pd.concat(partitions.values())
        used = parts["path"][(parts["part"] == "train") & ~parts["path"].isin(list(images.failed))].drop_duplicates()
        inputs = base_outputs(first, recipe, images, np.sort(used.map(images.row).to_numpy()), seed)
        trained.seconds["frozen_base"] = time.perf_counter() - start
    for fold, partition in partitions.items():
        network = _seeded(recipe, weights, seed) if trained.networks else first
        model = network.head if recipe.frozen else network.whole
        shown = partition[~partition["path"].isin(list(images.failed))]
        rows = shown["path"].map(images.row).to_numpy()
        start = time.perf_counter()
        history = _fit(model, recipe, inputs, rows, shown, seed, unfinished.checkpoint(fold))
        fitted = time.perf_counter()
        scored = told(shown, fold)
        scores = score(model, inputs.views, rows[scored], recipe.batch, "predicting")
        trained.seconds["fit"] += fitted - start
        trained.seconds["predict"] += time.perf_counter() - fitted
        trained.networks[fold] = network
        trained.predictions.append(predictions_table(shown[scored], scores, fold))
        trained.history.append(pd.DataFrame(history).assign(**({"fold": fold} if fold else {})))
    return trained


def _fit(
    model: keras.Model,
    recipe: Recipe,
    inputs: Inputs,
    rows: np.ndarray,
    partition: pd.DataFrame,
    seed: int,
    checkpoint: Checkpoint,
) -> list[dict[str, float]]:
    """Train a model on the training part of a partition, whose images stand in `rows` of the inputs."""
    positive = (partition["label"] == POSITIVE).to_numpy()
    training, validating = (partition["part"].to_numpy() == part for part in ("train", "validation"))
    trained_rows, of_training, turns = rows[training], positive[training], None
    group = partition["subject_group"].to_numpy()[training] if recipe.class_weights == "balanced-subjects" else None
    weights = None if recipe.class_weights == "none" else balanced_weights(of_training, group)
    if recipe.enlarged is not None:
        drawn, turns = enlargement(len(trained_rows), recipe.enlarged)
        trained_rows, of_training = trained_rows[drawn], of_training[drawn]
        weights = None if weights is None else weights[drawn]
    examples = Examples(inputs.taught, trained_rows, targets_for(recipe, of_training), weights, turns)
    validation = Validation(inputs.plain, rows[validating], positive[validating])
    return fit(model, recipe, examples, validation, seed, checkpoint)


def _write(out: Path, info: dict[str, Any], trained: _Trained) -> Run:
    history = pd.concat(trained.history, ignore_index=True)

    def save(folder: Path) -> None:
        for fold, network in trained.networks.items():
            network.whole.save(folder / (f"model_fold_{fold}.keras" if fold else "model.keras"))
        save_figure(training_figure(history, f"{info['recipe']}, seed {info['seed']}"), folder / "history")

    libraries = ("keras", keras.backend.backend(), "numpy", "pandas", "scikit-learn")
    return write_run(out, info, pd.concat(trained.predictions, ignore_index=True), save, history, libraries)


def _seeded(recipe: Recipe, weights: str | None, seed: int) -> Network:
    keras.utils.set_random_seed(seed)
    return build(recipe, weights)


def _as_asked(recipe: Recipe, weights: str | None, settings: Sequence[str]) -> tuple[Recipe, str | None]:
    """Return the recipe with what was set on the command line, and its weights."""
    recipe = with_settings(recipe, settings)
    weights = weights or ("imagenet" if recipe.pretrained else "none")
    if weights != "none":
        return recipe, weights
    if recipe.pretrained:
        name = f"{recipe.name}-from-scratch"
        recipe = dataclasses.replace(recipe, name=name, pretrained=False, trained="all", reported="")
    return recipe, None


def _named(failed: dict[str, str], partitions: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Return the images among those that could not be read that a partition names."""
    named = {path for partition in partitions.values() for path in partition["path"]}
    return {path: reason for path, reason in failed.items() if path in named}


def _cohort(manifest_path: Path, partition_path: Path, whole: bool) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Read manifest and partitions; keep the manifest's rows that the partitions name, or `whole` all with a label."""
    manifest, partitions = read_manifest(manifest_path), read_partitions(partition_path)
    named = pd.concat([partition["path"] for partition in partitions.values()]).drop_duplicates()
    unknown = named[~named.isin(manifest["path"])]
    if len(unknown):
        raise InputError(
            f"{partition_path}: names {len(unknown)} of {len(named)} images that {manifest_path} lacks "
            f"(first: {unknown.iloc[0]}); split that manifest"
        )
    if next(iter(partitions.values()))["manifest"].iloc[0] != sha256_of(manifest_path)[:16]:
        raise InputError(f"{partition_path}: was made from another manifest than {manifest_path}; split it again")
    kept = manifest["path"].isin(named)
    return manifest[kept | (manifest["label"] != "") if whole else kept], partitions
