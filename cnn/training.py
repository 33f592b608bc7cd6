"""Training a network recipe: images, manifest and split -> run folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leukobench.cells.cell import BACKGROUNDS
from leukobench.cnn.architectures.pretrained import refuse_missing_weights
from leukobench.cnn.backend import keras
from leukobench.cnn.checkpoint import Checkpoint, UnfinishedTraining
from leukobench.cnn.data import Images, load_images
from leukobench.cnn.device import computing
from leukobench.cnn.epochs import Examples, Inputs, draw_offline_augmentation
from leukobench.cnn.fitting import Fitting, Validation, mean_score, outputs_of
from leukobench.cnn.frozen import base_outputs
from leukobench.cnn.network import Network, build, targets_for
from leukobench.cnn.plots import network_training_figure
from leukobench.cnn.recipe_catalog import network_recipe
from leukobench.cnn.recipe_changes import as_texts, change_recipe
from leukobench.cnn.recipes import CLASS_WEIGHTS, Recipe
from leukobench.cohort.manifest import POSITIVE, manifest_checksum, read_manifest
from leukobench.cohort.partition import Split, read_split
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, refuse_existing, sha256_of
from leukobench.core.plotting import save_figure
from leukobench.core.text import counted
from leukobench.results.calibration import Calibration, calibrate_on_validation, notes_by_fold
from leukobench.results.novelty import Novelty, novelty_of, save_novelty
from leukobench.results.run import RunFolder, model_name, predictions_table, reported_rows, write_run
from leukobench.results.run_info import RunInfo, background_options, by_fold, command_line, split_facts
from leukobench.results.weights import cell_weights

LOG = logging.getLogger(__name__)
AnyPath = str | os.PathLike[str]


def train_network(
    images: AnyPath | Images,
    manifest: AnyPath,
    split: AnyPath,
    out: AnyPath,
    *,
    recipe: str,
    weights: AnyPath | None = None,
    changes: Mapping[str, Any] | None = None,
    background: str = BACKGROUNDS[0],
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    device: str = "auto",
    precision: str = "auto",
    resume: bool = False,
) -> RunFolder:
    """Train a network on the training part of a split, predict every part, and write the run folder.

    Where the split has a validation part, the run keeps the weights of the epoch that the recipe names, and the
    probabilities are calibrated on that part (`leukobench.results.calibration`), as those of SVM and k-NN are. Without
    one, it keeps the weights of the last epoch, and the probabilities are not calibrated. A frozen base runs once; only
    the head is trained, on the outputs of the base. During the training the folder `NAME.partial` beside the run folder
    NAME holds the history and a checkpoint; it is removed at the end.

    Args:
        images: Folder that the paths of the manifest are relative to. Or images from `leukobench.cnn.data.load_images`,
            which may be more than the split names: several trainings then share them and the outputs of a frozen base.
        manifest: Manifest that was split (CSV).
        split: Partition (CSV), or folder of partitions for cross-validation: then only the validation and the test part
            of each fold are predicted.
        out: Run folder to write.
        recipe: Name of a recipe, see `leukobench.cnn.recipe_catalog`.
        weights: Initial weights: a file, "imagenet" (downloaded), or "none" (random; then the whole network is trained,
            and the run's recipe is named `<recipe>-from-scratch` if it starts from ImageNet weights otherwise). By
            default what the recipe says.
        changes: Changed values of the recipe by name, see `leukobench.cnn.recipe_changes.change_recipe`.
        background: What surrounds the cells, see `leukobench.cells.cell.find_cell`.
        epochs: Number of epochs, if not the recipe's.
        batch_size: Number of images in a batch, if not the recipe's.
        seed: Random seed of initial weights, order, dropout and augmentation.
        jobs: Number of threads that read images.
        device: One of `leukobench.cnn.device.DEVICES`.
        precision: One of `leukobench.cnn.device.PRECISIONS`.
        resume: Whether to resume an unfinished training of the same arguments, if there is one.

    Returns:
        The run folder.

    Raises:
        InputError: a file is malformed or missing, the split was made from another manifest, a change does not fit the
            recipe, the weights or the device are not available, memory is too small, training diverged, another process
            is training for `out`, or `out` exists.
        UnfinishedError: there is an unfinished training, and `resume` is false.

    >>> from leukobench.cohort.indexing import index_folder
    >>> from leukobench.cohort.manifest import write_manifest
    >>> from leukobench.cohort.partition import write_split
    >>> from leukobench.cohort.splitting import split_by_subject
    >>> from leukobench.cohort.synthetic import generate_cohort
    >>> truth = generate_cohort(Path("images"), subjects=6, cells_per_subject=2, seed=0)
    >>> manifest = index_folder("images")
    >>> write_manifest(manifest, "manifest.csv")
    >>> write_split(split_by_subject(manifest, 0.4), "split.csv")
    >>> changes = {"input_side": 67, "head": ["average", "sigmoid"], "augmentation": None}
    >>> run = train_network("images", "manifest.csv", "split.csv", "run",
    ...                     recipe="clinton-alexnet", changes=changes, epochs=1)
    >>> run.info.changed
    ('epochs=1', 'input_side=67', 'head=average,sigmoid', 'augmentation=null')
    """
    out = Path(out)
    changed = {"epochs": epochs, "batch_size": batch_size}
    changed = {name: value for name, value in changed.items() if value is not None} | dict(changes or {})
    chosen, initial = _choose_recipe(recipe, weights, changed)
    refuse_existing(out)
    table, partitions = _read_cohort(manifest, split)
    command = _command(
        images, manifest, split, out, changes, {"--recipe": recipe, "--weights": weights,
        **background_options(background), "--epochs": epochs, "--batch-size": batch_size, "--seed": seed,
        "--jobs": jobs, "--device": device, "--precision": precision},
    )  # fmt: skip
    with only_writer(out), computing(device, precision, chosen.batch_size) as computation:
        facts = split_facts(partitions)
        facts["checksums"]["weights"] = _weights_checksum(initial)
        identity = {
            "parameters": chosen.as_json(),
            "seed": seed,
            "background": background,
            "checksums": facts["checksums"],
            "precision": computation.precision,
            "device": computation.device,
        }
        training = NetworkTraining(chosen, initial, seed, UnfinishedTraining.beside(out, identity, resume))
        first = training.build()  # before the images are read, so that an error in the weights comes at once
        prepared = _read_images(images, table, chosen, background, jobs)
        trained = training.run(first, prepared, partitions)
        info = RunInfo(
            **facts | identity,
            family="cnn",
            recipe=chosen.name,
            changed=as_texts(changed),
            excluded={path: reason for path, reason in prepared.failed.items() if path in set(table["path"])},
            seconds=trained.seconds,
            calibration=by_fold({each.fold: each.calibration for each in trained.folds}),
            novelty=by_fold({each.fold: each.novelty.facts if each.novelty else None for each in trained.folds}),
            note="; ".join(notes_by_fold({each.fold: each.not_calibrated for each in trained.folds})),
            model_parameters=first.whole.count_params(),
            command=command,
        )
        result = _write(out, info, trained)
        training.unfinished.remove()
    return result


@dataclass(frozen=True)
class TrainedFold:
    """The result of one fold, or (fold None) of a training without cross-validation.

    Attributes:
        fold: Number of the fold.
        network: The network.
        calibration: Its calibration on the validation part; None if there was none.
        not_calibrated: Why there is no calibration, else "".
        novelty: How unlike its training cells others are; None where they are of one subject group.
        predictions: See `leukobench.results.run.PREDICTION_COLUMNS`.
        history: One row an epoch.
    """

    fold: int | None
    network: Network
    calibration: Calibration | None
    not_calibrated: str
    novelty: Novelty | None
    predictions: pd.DataFrame
    history: pd.DataFrame


@dataclass(frozen=True)
class TrainedFolds:
    """The results of all folds, and the durations in s."""

    folds: Sequence[TrainedFold]
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class NetworkTraining:
    """The training of one recipe on the folds of a split, or on a single partition.

    Every fold starts from the same initial weights. A frozen base runs once for all folds.

    Attributes:
        recipe: The recipe, with all changes.
        weights: Initial weights of the base: a file, "imagenet", or None for random ones.
        seed: Random seed.
        unfinished: Where checkpoints are kept.
    """

    recipe: Recipe
    weights: str | None
    seed: int
    unfinished: UnfinishedTraining

    def build(self) -> Network:
        """Build the network with its initial weights."""
        keras.utils.set_random_seed(self.seed)
        return build(self.recipe, self.weights)

    def run(self, first: Network, images: Images, split: Split) -> TrainedFolds:
        """Train a network on each fold, and predict; `first`, from `build`, is that of the first fold."""
        seconds = {"frozen_base": 0.0, "fit": 0.0, "predict": 0.0}
        start = time.perf_counter()
        inputs = self.prepare(first, images, split)
        if self.recipe.frozen:
            seconds["frozen_base"] = time.perf_counter() - start
        folds: list[TrainedFold] = []
        for fold, partition in split.by_fold():
            network = self.build() if folds else first
            partition_rows = partition.rows[partition.rows["path"].isin(images.row)]
            places = partition_rows["path"].map(images.row).to_numpy()
            start = time.perf_counter()
            history = self.fit(network, inputs, places, partition_rows, self.unfinished.checkpoint(fold))
            fitted = time.perf_counter()
            reported = reported_rows(partition_rows, fold)
            rows = partition_rows[reported]
            raw_score = self.predict(network, inputs, places[reported])
            seconds["fit"] += fitted - start
            LOG.info("%s: %s in %.1f s", model_name("", fold), counted(len(history), "epoch"), fitted - start)
            seconds["predict"] += time.perf_counter() - fitted
            development = partition_rows[partition_rows["part"] != "test"]
            calibration, reason = calibrate_on_validation(rows, raw_score, rows["part"] == "validation", development)
            predictions = predictions_table(rows, raw_score, fold, calibration)
            pooled = self.pooled_features(network, inputs, places)
            training_rows = (partition_rows["part"] == "train").to_numpy()
            novelty = novelty_of(pooled, partition_rows, training_rows, fold)
            table = pd.DataFrame(history)
            table = table if fold is None else table.assign(fold=fold)
            folds.append(TrainedFold(fold, network, calibration, reason, novelty, predictions, table))
        return TrainedFolds(folds, seconds)

    def prepare(self, network: Network, images: Images, split: Split) -> Inputs:
        """Return the inputs of the part that is fitted: the images, or the outputs of a frozen base for them."""
        if not self.recipe.frozen:
            return Inputs.of_images(images.pixels, self.recipe.views)
        paths = pd.concat([partition.part("train")["path"] for _, partition in split.by_fold()]).drop_duplicates()
        training_rows = paths[paths.isin(images.row)].map(images.row).to_numpy()
        return base_outputs(network, images, np.sort(training_rows), self.seed)

    def fit(
        self, network: Network, inputs: Inputs, places: np.ndarray, rows: pd.DataFrame, checkpoint: Checkpoint
    ) -> list[dict[str, float]]:
        """Fit a network on the training part of partition rows, whose images are at `places` of the inputs."""
        positive = (rows["label"] == POSITIVE).to_numpy()
        validating = (rows["part"] == "validation").to_numpy()
        training = (rows["part"] == "train").to_numpy()
        examples = self._examples(inputs, places[training], rows[training])
        validation = Validation(inputs.plain, places[validating], positive[validating])
        return Fitting(network.fitted, self.recipe, self.seed, checkpoint).fit(examples, validation)

    def predict(self, network: Network, inputs: Inputs, places: np.ndarray) -> np.ndarray:
        """Return the probability of `all` of the images at `places` of the inputs. [shape=(n,)]"""
        return mean_score(network.fitted, inputs.views, places, self.recipe.batch_size, "predicting")

    def pooled_features(self, network: Network, inputs: Inputs, places: np.ndarray) -> np.ndarray:
        """Return the pooled features of the images at `places`, in their own orientation. [shape=(n, features)]"""
        if self.recipe.frozen:
            return np.asarray(inputs.plain[places])
        return outputs_of(network.base, inputs.plain, places, self.recipe.batch_size)

    def _examples(self, inputs: Inputs, places: np.ndarray, rows: pd.DataFrame) -> Examples:
        """Return what is trained on: the training part, with the sample weights and the offline augmentation."""
        positive, orientations = (rows["label"] == POSITIVE).to_numpy(), None
        weights = None
        if self.recipe.class_weights != "none":
            weight = CLASS_WEIGHTS[self.recipe.class_weights]
            weights = cell_weights(weight, positive, rows["subject_group"].to_numpy()).astype(np.float32)
        if self.recipe.offline_augmentation is not None:
            drawn, orientations = draw_offline_augmentation(len(places), self.recipe.offline_augmentation)
            places, positive = places[drawn], positive[drawn]
            weights = None if weights is None else weights[drawn]
        return Examples(inputs.training, places, targets_for(self.recipe, positive), weights, orientations)


def _choose_recipe(name: str, weights: AnyPath | None, changes: Mapping[str, Any]) -> tuple[Recipe, str | None]:
    """Return the recipe with the changes, and its initial weights: a file, "imagenet", or None for random ones."""
    recipe = change_recipe(network_recipe(name), changes)
    if weights is None:
        return recipe, "imagenet" if recipe.pretrained else None
    if weights == "none":
        return recipe.from_scratch(), None
    refuse_missing_weights(os.fspath(weights))
    return recipe, os.fspath(weights)


def _weights_checksum(weights: str | None) -> str | None:
    """Return the checksum of a file of weights; "imagenet" and None are returned as they are."""
    return weights if weights is None or weights == "imagenet" else sha256_of(Path(weights))


def _read_cohort(manifest: AnyPath, split: AnyPath) -> tuple[pd.DataFrame, Split]:
    """Read manifest and split; return the rows of the manifest that the split names, and the split."""
    table, partitions = read_manifest(Path(manifest)), read_split(split)
    named = pd.concat([partition.rows["path"] for _, partition in partitions.by_fold()]).drop_duplicates()
    unknown = named[~named.isin(table["path"])]
    if len(unknown):
        raise InputError(
            f"{split}: names {len(unknown)} of {len(named)} images that {manifest} lacks "
            f"(first: {unknown.iloc[0]}); split that manifest"
        )
    if partitions.manifest != manifest_checksum(table)[:16]:
        raise InputError(f"{split}: was made from another manifest than {manifest}; split it again")
    return table[table["path"].isin(named)], partitions


def _read_images(
    images: AnyPath | Images, manifest: pd.DataFrame, recipe: Recipe, background: str, jobs: int
) -> Images:
    """Return the images of the manifest's rows; those that were read already after a check."""
    frame, side = recipe.frame, recipe.input_side
    if not isinstance(images, Images):
        return load_images(Path(images), manifest, frame=frame, side=side, background=background, jobs=jobs)
    if (images.frame, images.side, images.background) != (frame, side, background):
        raise InputError(
            f"images: were read with frame {images.frame}, side {images.side}, background {images.background}; "
            f"read them with frame {frame}, side {side}, background {background}"
        )
    missing = [path for path in manifest["path"] if path not in images.row and path not in images.failed]
    if missing:
        raise InputError(f"images: lack {len(missing)} images of the split (first: {missing[0]}); read them as well")
    return images


def _command(
    images: AnyPath | Images,
    manifest: AnyPath,
    split: AnyPath,
    out: Path,
    changes: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> tuple[str, ...]:
    """Return the command line that repeats the training."""
    folder = images.folder if isinstance(images, Images) else images
    command = command_line("train-cnn", [folder], {"--manifest": manifest, "--split": split, **options})
    settings = [word for text in as_texts(changes or {}) for word in ("--set", text)]
    return (*command, *settings, "-o", os.fspath(out))


def _write(out: Path, info: RunInfo, trained: TrainedFolds) -> RunFolder:
    history = pd.concat([each.history for each in trained.folds], ignore_index=True)
    predictions = pd.concat([each.predictions for each in trained.folds], ignore_index=True)

    def save(folder: Path) -> None:
        for each in trained.folds:
            each.network.whole.save(folder / model_name(".keras", each.fold))
        save_novelty(folder, {each.fold: each.novelty for each in trained.folds})
        save_figure(network_training_figure(history, f"{info.recipe}, seed {info.seed}"), folder / "history")

    libraries = ("keras", keras.backend.backend(), "numpy", "pandas", "scikit-learn")
    return write_run(out, info, predictions, save, history, libraries)
