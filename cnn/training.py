"""Training a network recipe: images + manifest + partition -> run folder."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from tqdm import tqdm

from cnn.augmentation import Augment
from cnn.backend import keras
from cnn.data import Batches, load_images
from cnn.network import Network, build, compile_for, positive_score
from cnn.recipes import Recipe, recipe_named
from study.cell import BACKGROUNDS
from study.errors import StudyError
from study.files import refuse_existing, sha256_of
from study.manifest import POSITIVE, read_manifest
from study.metrics import THRESHOLD
from study.partition import read_partitions
from study.run import Run, predictions_table, split_facts, write_run

PREDICTION_BATCH = 32


def train(
    images_folder: Path,
    manifest_path: Path,
    partition_path: Path,
    out: Path,
    *,
    recipe: str,
    background: str = BACKGROUNDS[0],
    weights: str | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    jobs: int = 1,
) -> Run:
    """Train a network on the training part, predict every part, and write the run folder.

    Where there is a validation part, the weights of the epoch with the highest validation AUROC are kept, else those
    of the last. A frozen base that sees no augmented images is run once: only the head is trained, on its outputs.

    Args:
        images_folder: Folder that the manifest's paths are relative to.
        manifest_path: Manifest; the partition must have been made from it.
        partition_path: Partition, or folder of partitions: then the predictions are those of each fold's test part.
        out: Run folder to write.
        recipe: Name of a recipe.
        background: What lies around the cells, see `study.cell.find_cell`.
        weights: A file, "imagenet", or "none" for random ones, which names the run `<recipe>-from-scratch` where the
            recipe starts from ImageNet, and trains the whole network; by default what the recipe says.
        epochs: Instead of the recipe's.
        batch: Instead of the recipe's.
        seed: For initial weights, order, dropout and augmentation.
        jobs: Threads that read images.

    Raises:
        StudyError: a file is malformed or missing, the partition is of another manifest, the weights cannot be had,
            or `out` exists.
    """
    chosen, weights = _as_asked(recipe_named(recipe), weights, epochs, batch)
    refuse_existing(out)
    manifest, partitions = _cohort(manifest_path, partition_path)
    network = _seeded(chosen, weights, seed)  # before the images are read: weights that cannot be had are told at once
    images = load_images(
        images_folder, manifest, frame=chosen.frame, side=chosen.input_side, background=background, jobs=jobs
    )
    fits: dict[str, _Fit] = {}
    predictions = []
    features, seconds_base = None, 0.0
    for fold, partition in partitions.items():
        network = _seeded(chosen, weights, seed) if fits else network
        rows = partition[~partition["path"].isin(list(images.failed))]
        model, inputs = network.whole, images.pixels
        if chosen.frozen and chosen.augmentation is None:
            # a frozen base gives the same features every epoch: run it once, then train the head on them
            if features is None:
                start = time.perf_counter()
                features = _run(network.base, images.pixels, np.arange(len(manifest)), "running the frozen base")
                seconds_base = time.perf_counter() - start
            model, inputs = network.head, features
        fits[fold] = _fit(network, model, chosen, inputs, rows["path"].map(images.row).to_numpy(), rows, seed)
        predictions.append(predictions_table(rows, fits[fold].score, fold))

    facts = split_facts(partitions, partition_path)
    facts["checksums"]["weights"] = sha256_of(Path(weights)) if weights not in (None, "imagenet") else weights
    info = {
        "family": "cnn",
        "recipe": chosen.name,
        "parameters": chosen.as_json(),
        "background": background,
        "seed": seed,
        **facts,
        "excluded": images.failed,
        "device": _device(),
        "seconds": {"frozen_base": seconds_base, **_seconds(fits)},
        "model_parameters": network.whole.count_params(),
    }

    def save(folder: Path) -> None:
        for fold, fit in fits.items():
            fit.network.whole.save(folder / (f"model_fold_{fold}.keras" if fold else "model.keras"))

    history = pd.concat([fit.history.assign(**({"fold": fold} if fold else {})) for fold, fit in fits.items()])
    libraries = ("keras", keras.backend.backend(), "numpy", "pandas", "scikit-learn")
    return write_run(out, info, pd.concat(predictions, ignore_index=True), save, history, libraries)


@dataclasses.dataclass(frozen=True)
class _Fit:
    """A trained network, the scores of all rows, one row an epoch, and what it took."""

    network: Network
    score: np.ndarray
    history: pd.DataFrame
    seconds_fit: float
    seconds_predict: float


def _seeded(recipe: Recipe, weights: str | None, seed: int) -> Network:
    keras.utils.set_random_seed(seed)
    return build(recipe, weights)


def _seconds(fits: dict[str, _Fit]) -> dict[str, float]:
    return {
        "fit": sum(fit.seconds_fit for fit in fits.values()),
        "predict": sum(fit.seconds_predict for fit in fits.values()),
    }


def _as_asked(recipe: Recipe, weights: str | None, epochs: int | None, batch: int | None) -> tuple[Recipe, str | None]:
    """Return the recipe with what was set on the command line, and its weights."""
    weights = weights or ("imagenet" if recipe.pretrained else "none")
    recipe = dataclasses.replace(recipe, epochs=epochs or recipe.epochs, batch=batch or recipe.batch)
    if weights != "none":
        return recipe, weights
    if recipe.pretrained:
        name = f"{recipe.name}-from-scratch"
        recipe = dataclasses.replace(recipe, name=name, pretrained=False, frozen=False, reported="")
    return recipe, None


def _cohort(manifest_path: Path, partition_path: Path) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Read manifest and partitions; keep the manifest's rows that the partitions name."""
    manifest, partitions = read_manifest(manifest_path), read_partitions(partition_path)
    named = pd.concat([partition["path"] for partition in partitions.values()]).drop_duplicates()
    unknown = named[~named.isin(manifest["path"])]
    if len(unknown):
        raise StudyError(
            f"{partition_path}: names {len(unknown)} of {len(named)} images that {manifest_path} lacks "
            f"(first: {unknown.iloc[0]}); split that manifest"
        )
    if next(iter(partitions.values()))["manifest"].iloc[0] != sha256_of(manifest_path)[:16]:
        raise StudyError(f"{partition_path}: was made from another manifest than {manifest_path}; split it again")
    return manifest[manifest["path"].isin(named)], partitions


def _fit(
    network: Network,
    model: keras.Model,
    recipe: Recipe,
    inputs: np.ndarray,
    rows: np.ndarray,
    partition: pd.DataFrame,
    seed: int,
) -> _Fit:
    """Train a model, the whole network or its head, on the training part of `inputs[rows]`; score all rows.

    The weights of the epoch with the best validation AUROC are kept, where there is a validation part.
    """
    start = time.perf_counter()
    trained = model
    if recipe.augmentation is not None:
        trained = keras.Sequential([keras.Input(model.input.shape[1:]), Augment(recipe.augmentation, seed), model])
    compile_for(recipe, trained)
    part = partition["part"].to_numpy()
    target = (partition["label"] == POSITIVE).to_numpy().astype(np.float32)
    training, validating = part == "train", part == "validation"
    watch = _Watch(model, inputs, rows[validating], target[validating], recipe.epochs)
    batches = Batches(inputs, rows[training], recipe.batch, target[training], shuffle_seed=seed)
    trained.fit(batches, epochs=recipe.epochs, shuffle=False, verbose=0, callbacks=[watch])
    watch.restore_best()
    fitted = time.perf_counter()
    score = positive_score(_run(model, inputs, rows, "predicting"))
    return _Fit(network, score, pd.DataFrame(watch.history), fitted - start, time.perf_counter() - fitted)


class _Watch(keras.callbacks.Callback):
    """Shows progress, validates after every epoch, and remembers the best weights."""

    def __init__(
        self, network: keras.Model, inputs: np.ndarray, rows: np.ndarray, target: np.ndarray, epochs: int
    ) -> None:
        super().__init__()
        self.history: list[dict[str, float]] = []
        self._network, self._inputs, self._rows, self._target = network, inputs, rows, target
        self._epochs, self._best, self._best_auroc = epochs, None, -np.inf
        self._start = time.perf_counter()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        steps = self.params["steps"] * self._epochs
        self._bar = tqdm(total=steps, desc="training", unit="step", disable=None)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        row = {"epoch": epoch + 1, "loss": float(logs["loss"]), "accuracy": float(logs["accuracy"])}
        if not np.isfinite(row["loss"]):
            raise StudyError(f"the loss is no finite number after epoch {epoch + 1}; lower the learning rate")
        if len(self._rows):
            row |= self._validate()
            if row["val_auroc"] > self._best_auroc:
                self._best_auroc, self._best = row["val_auroc"], self._network.get_weights()
        row["seconds"] = time.perf_counter() - self._start
        self.history.append(row)
        shown = {key: f"{row[key]:.3f}" for key in ("loss", "val_auroc") if key in row}
        self._bar.set_postfix(epoch=f"{epoch + 1}/{self._epochs}", **shown)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._bar.close()

    def restore_best(self) -> None:
        """Put the best weights back, where there was a validation part."""
        if self._best is not None:
            self._network.set_weights(self._best)

    def _validate(self) -> dict[str, float]:
        score = positive_score(_run(self._network, self._inputs, self._rows))
        return {
            "val_loss": float(log_loss(self._target, score, labels=[0, 1])),
            "val_accuracy": float(accuracy_score(self._target, score >= THRESHOLD)),
            "val_auroc": float(roc_auc_score(self._target, score)),
        }


def _run(model: keras.Model, inputs: np.ndarray, rows: np.ndarray, task: str | None = None) -> np.ndarray:
    """Return a model's outputs for `inputs[rows]`, with a progress bar where `task` names it."""
    batches = Batches(inputs, rows, PREDICTION_BATCH)
    with tqdm(total=len(batches), desc=task, unit="batch", disable=None if task else True) as bar:
        progress = keras.callbacks.LambdaCallback()
        progress.on_predict_batch_end = lambda batch, logs=None: bar.update()
        return model.predict(batches, verbose=0, callbacks=[progress])


def _device() -> str:
    """Name the backend and the devices that it computes on: `tensorflow on cpu:0`."""
    return f"{keras.backend.backend()} on {', '.join(keras.distribution.list_devices())}"
