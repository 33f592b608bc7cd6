"""Fitting: epochs of training with validation, checkpoints and early stopping, and prediction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from tqdm import tqdm

from leukobench.cnn.augmentation import Augment
from leukobench.cnn.backend import keras
from leukobench.cnn.checkpoint import Checkpoint, Progress
from leukobench.cnn.device import memory_for
from leukobench.cnn.epochs import Batches, Examples
from leukobench.cnn.network import compile_for, positive_score
from leukobench.cnn.normalization import begin_averages
from leukobench.cnn.recipes import Recipe
from leukobench.core.errors import InputError
from leukobench.results.metrics import THRESHOLD


@dataclass(frozen=True)
class Validation:
    """Rows of the plain inputs that a network is validated on after every epoch, and which of them are positive."""

    inputs: np.ndarray
    rows: np.ndarray
    positive: np.ndarray


def fit(
    model: keras.Model,
    recipe: Recipe,
    examples: Examples,
    validation: Validation,
    seed: int,
    checkpoint: Checkpoint,
) -> list[dict[str, float]]:
    """Train a model by a recipe, from where its checkpoint stands, and put the weights of the kept epoch into it.

    Where it starts from random weights, the running averages of batch normalisation begin with the first batch.

    Args:
        model: The whole network, or its head where `examples` are features.
        recipe: The recipe; its augmentation is applied where `examples` are images.
        examples: What to train on.
        validation: What to validate on; without rows the last epoch is kept.
        seed: For order and augmentation.
        checkpoint: Where the state is kept.

    Returns:
        One row an epoch: epoch, loss, accuracy, val_loss, val_accuracy, val_auroc, seconds since the start.

    Raises:
        InputError: the loss diverged, or a step does not fit into memory.
    """
    trained = model
    if recipe.augmentation is not None and examples.inputs[0].ndim == 4:
        trained = keras.Sequential([keras.Input(model.input.shape[1:]), Augment(recipe.augmentation, seed), model])
    batch = recipe.batch
    first_epoch = examples.of_epoch(0, batch, seed)
    steps = len(first_epoch)
    if not recipe.pretrained:
        with memory_for(batch):
            begin_averages(model, first_epoch[0][0])
    compile_for(recipe, trained, steps)
    trained.optimizer.build(trained.trainable_variables)
    progress = checkpoint.restore(trained)
    start = time.perf_counter() - (progress.history[-1]["seconds"] if progress.history else 0.0)
    done = len(progress.history)
    total = recipe.epochs * steps * batch
    with tqdm(total=total, initial=done * steps * batch, desc="training", unit="image", disable=None) as bar:
        for epoch in range(done, recipe.epochs):
            if _out_of_patience(recipe, progress):
                break
            row = {"epoch": epoch + 1} | _train_epoch(trained, examples.of_epoch(epoch, batch, seed), batch, bar)
            if len(validation.rows):
                row |= validate(model, validation, batch)
            row["seconds"] = time.perf_counter() - start
            progress.history.append(row)
            _keep_best(model, recipe, progress, row)
            last = epoch + 1 == recipe.epochs or _out_of_patience(recipe, progress)
            checkpoint.save(trained, progress, last)
            shown = {key: f"{row[key]:.3f}" for key in ("loss", "val_auroc") if key in row}
            bar.set_postfix(epoch=f"{epoch + 1}/{recipe.epochs}", **shown)
    if progress.best is not None:
        model.set_weights(progress.best)
    return progress.history


def validate(model: keras.Model, validation: Validation, batch: int) -> dict[str, float]:
    """Return loss, accuracy and AUROC of a model on a validation part."""
    found = score(model, [(validation.inputs, 0)], validation.rows, batch)
    truth = validation.positive
    return {
        "val_loss": float(log_loss(truth, found, labels=[0, 1])),
        "val_accuracy": float(accuracy_score(truth, found >= THRESHOLD)),
        "val_auroc": float(roc_auc_score(truth, found)),
    }


def score(
    model: keras.Model,
    views: Sequence[tuple[np.ndarray, int]],
    rows: np.ndarray,
    batch: int,
    task: str | None = None,
) -> np.ndarray:
    """Return the probability of `all` of some rows: the mean over views, see `cnn.epochs.Inputs`. [shape=(n,)]

    Raises:
        InputError: a step does not fit into memory.
    """
    scores = []
    for number, (inputs, turn) in enumerate(views):
        of_view = task if task is None or len(views) == 1 else f"{task}, view {number + 1}/{len(views)}"
        scores.append(positive_score(run(model, inputs, rows, batch, of_view, turn=turn)))
    return np.mean(scores, axis=0)


def run(
    model: keras.Model, inputs: np.ndarray, rows: np.ndarray, batch: int, task: str | None = None, *, turn: int = 0
) -> np.ndarray:
    """Return a model's outputs for `inputs[rows]`.

    Args:
        model: The model.
        inputs: Images or features.
        rows: Which of them.
        batch: Rows a step.
        task: What the progress bar says; there is none without.
        turn: How the images are turned and mirrored, see `leukobench.cnn.epochs.turned`.

    Raises:
        InputError: a step does not fit into memory.
    """
    batches = Batches(inputs, rows, batch, turns=np.full(len(rows), turn) if turn else None)
    with tqdm(total=len(rows), desc=task, unit="image", disable=None if task else True) as bar, memory_for(batch):
        outputs = model.predict(batches, verbose=0, callbacks=[_Shown(bar, batch)])
    return np.asarray(outputs, np.float32)[: len(rows)]


class _Shown(keras.callbacks.Callback):
    """Moves a progress bar on. Keras may call it late, from another thread: else each step would wait for the last."""

    async_safe = True

    def __init__(self, bar: tqdm, batch: int) -> None:
        super().__init__()
        self._bar, self._batch, self._begun = bar, batch, bar.n

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        reached = min(self._begun + (batch + 1) * self._batch, self._bar.total)
        self._bar.update(max(reached - self._bar.n, 0))

    on_predict_batch_end = on_train_batch_end


def _train_epoch(model: keras.Model, batches: Batches, batch: int, bar: tqdm) -> dict[str, float]:
    with memory_for(batch):
        logs: dict[str, Any] = model.fit(batches, shuffle=False, verbose=0, callbacks=[_Shown(bar, batch)]).history
    loss = float(logs["loss"][-1])
    if not np.isfinite(loss):
        raise InputError("the loss is no finite number any more; lower the rate: --set optimizer.learning_rate=...")
    return {"loss": loss, "accuracy": float(logs["accuracy"][-1])}


def _keep_best(model: keras.Model, recipe: Recipe, progress: Progress, row: dict[str, float]) -> None:
    value = row.get(recipe.keep, -np.inf)
    if value > progress.best_value:
        progress.best, progress.best_value, progress.best_epoch = model.get_weights(), value, int(row["epoch"])


def _out_of_patience(recipe: Recipe, progress: Progress) -> bool:
    """Whether as many epochs as the recipe's patience have brought no better one."""
    waited = len(progress.history) - progress.best_epoch
    return recipe.patience is not None and progress.best is not None and waited >= recipe.patience
