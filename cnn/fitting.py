"""Fitting: epochs of training with validation, checkpoints and early stopping, and prediction."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from leukobench.cnn.augmentation import Augment
from leukobench.cnn.backend import keras
from leukobench.cnn.checkpoint import Checkpoint, Progress
from leukobench.cnn.device import memory_for
from leukobench.cnn.epochs import Batches, Examples
from leukobench.cnn.network import compile_for, positive_score
from leukobench.cnn.normalization import begin_averages
from leukobench.cnn.recipes import Recipe
from leukobench.core.errors import InputError
from leukobench.core.progress import ProgressBar
from leukobench.results.metrics import THRESHOLD

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Validation:
    """Rows of the plain inputs that a network is validated on after every epoch, and which of them are positive."""

    inputs: np.ndarray
    rows: np.ndarray
    positive: np.ndarray


@dataclass(frozen=True)
class Fitting:
    """The fitting of one model by a recipe.

    Attributes:
        model: The whole network, or its head if it is fitted on the outputs of a frozen base.
        recipe: The recipe; its augmentation is applied if the model takes images.
        seed: Random seed of order and augmentation.
        checkpoint: Where the state is kept, and what an interrupted fitting resumes from.
    """

    model: keras.Model
    recipe: Recipe
    seed: int
    checkpoint: Checkpoint

    def fit(self, examples: Examples, validation: Validation) -> list[dict[str, float]]:
        """Fit the model from the state of its checkpoint, and give it the weights of the epoch that is kept.

        Args:
            examples: What to train on.
            validation: What to validate on; without rows the last epoch is kept.

        Returns:
            One row an epoch: epoch, loss, accuracy, val_loss, val_accuracy, val_auroc, seconds since the start.

        Raises:
            InputError: training diverged, or memory is too small for a batch.
        """
        recipe, batch_size = self.recipe, self.recipe.batch_size
        trained = self._wrapped()
        steps = self._compile(trained, examples)
        progress = self.checkpoint.restore(trained)
        done = len(progress.history)
        start = time.perf_counter() - (progress.history[-1]["seconds"] if done else 0.0)
        images = steps * batch_size
        with _progress_bar("training", recipe.epochs * images, done * images) as bar:
            for epoch in range(done, recipe.epochs):
                if self._out_of_patience(progress):
                    break
                batches = examples.of_epoch(epoch, batch_size, self.seed)
                row = {"epoch": epoch + 1} | _train_epoch(trained, batches, batch_size, bar)
                if len(validation.rows):
                    row |= validate(self.model, validation, batch_size)
                row["seconds"] = time.perf_counter() - start
                progress.history.append(row)
                self._keep_best(progress)
                last = epoch + 1 == recipe.epochs or self._out_of_patience(progress)
                self.checkpoint.save(trained, progress, last)
                shown = {key: f"{row[key]:.3f}" for key in ("loss", "val_auroc") if key in row}
                bar.set_postfix(epoch=f"{epoch + 1}/{recipe.epochs}", **shown)
        if progress.best is not None:
            self.model.set_weights(progress.best)
        return progress.history

    def _wrapped(self) -> keras.Model:
        """Return the model in another one, with augmentation before it if it takes images that the recipe augments.

        The other one is compiled and trained. The model itself stays without optimiser and metrics, so that they are
        not stored with it.
        """
        shape = self.model.input_shape[1:]
        augmentation = self.recipe.augmentation if len(shape) == 3 else None
        before = [] if augmentation is None else [Augment(augmentation, self.seed)]
        return keras.Sequential([keras.Input(shape), *before, self.model])

    def _compile(self, trained: keras.Model, examples: Examples) -> int:
        """Compile the model that is trained; return the number of batches of an epoch."""
        first_epoch = examples.of_epoch(0, self.recipe.batch_size, self.seed)
        if not self.recipe.pretrained and self.recipe.batchnorm_averages == "first-batch":
            with memory_for(self.recipe.batch_size):
                begin_averages(self.model, first_epoch[0][0])
        compile_for(self.recipe, trained, len(first_epoch))
        trained.optimizer.build(trained.trainable_variables)
        return len(first_epoch)

    def _keep_best(self, progress: Progress) -> None:
        """Keep the weights if the last epoch is the best so far."""
        row = progress.history[-1]
        value = row.get(self.recipe.keep, -np.inf)
        if value > progress.best_value:
            progress.best, progress.best_value = self.model.get_weights(), value
            progress.best_epoch = int(row["epoch"])

    def _out_of_patience(self, progress: Progress) -> bool:
        """Whether as many epochs as the recipe's patience have passed without improvement."""
        waited = len(progress.history) - progress.best_epoch
        return self.recipe.patience is not None and progress.best is not None and waited >= self.recipe.patience


def validate(model: keras.Model, validation: Validation, batch_size: int) -> dict[str, float]:
    """Return loss, accuracy and AUROC of a model on a validation part."""
    score = mean_score(model, [(validation.inputs, 0)], validation.rows, batch_size)
    truth = validation.positive
    return {
        "val_loss": float(log_loss(truth, score, labels=[0, 1])),
        "val_accuracy": float(accuracy_score(truth, score >= THRESHOLD)),
        "val_auroc": float(roc_auc_score(truth, score)),
    }


def mean_score(
    model: keras.Model,
    views: Sequence[tuple[np.ndarray, int]],
    rows: np.ndarray,
    batch_size: int,
    task: str | None = None,
) -> np.ndarray:
    """Return the probability of `all` of some rows: the mean over views, see `cnn.epochs.Inputs`. [shape=(n,)]

    Raises:
        InputError: memory is too small for a batch.
    """
    scores = []
    for number, (inputs, orientation) in enumerate(views):
        of_view = task if task is None or len(views) == 1 else f"{task}, view {number + 1}/{len(views)}"
        outputs = outputs_of(model, inputs, rows, batch_size, of_view, orientation=orientation)
        scores.append(positive_score(outputs))
    return np.mean(scores, axis=0)


def outputs_of(
    model: keras.Model,
    inputs: np.ndarray,
    rows: np.ndarray,
    batch_size: int,
    task: str | None = None,
    *,
    orientation: int = 0,
) -> np.ndarray:
    """Return a model's outputs for `inputs[rows]`.

    Args:
        model: The model.
        inputs: Images or features.
        rows: Which of them.
        batch_size: Number of rows in a batch.
        task: Label of the progress bar; None: no bar.
        orientation: Orientation that the images are put in, see `leukobench.cnn.epochs.orient`.

    Raises:
        InputError: memory is too small for a batch.
    """
    orientations = np.full(len(rows), orientation) if orientation else None
    batches = Batches(inputs, rows, batch_size, orientations=orientations)
    with _progress_bar(task, len(rows)) as bar, memory_for(batch_size):
        outputs = model.predict(batches, verbose=0, callbacks=[_ShowProgress(bar, batch_size)])
    return np.asarray(outputs, np.float32)[: len(rows)]


def _progress_bar(task: str | None, total: int, done: int = 0) -> ProgressBar:
    """Return a bar that counts images; without a task it is not shown."""
    return ProgressBar(LOG, total=total, initial=done, desc=task, unit="image")


class _ShowProgress(keras.callbacks.Callback):
    """Moves a progress bar. Keras may call it late, from another thread, so that no step waits for the one before."""

    async_safe = True

    def __init__(self, bar: ProgressBar, batch_size: int) -> None:
        super().__init__()
        self._bar, self._batch_size, self._begun = bar, batch_size, bar.n

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        reached = min(self._begun + (batch + 1) * self._batch_size, self._bar.total)
        self._bar.update(max(reached - self._bar.n, 0))

    on_predict_batch_end = on_train_batch_end


def _train_epoch(model: keras.Model, batches: Batches, batch_size: int, bar: ProgressBar) -> dict[str, float]:
    callbacks = [_ShowProgress(bar, batch_size)]
    with memory_for(batch_size):
        logs: dict[str, Any] = model.fit(batches, shuffle=False, verbose=0, callbacks=callbacks).history
    loss = float(logs["loss"][-1])
    if not np.isfinite(loss):
        raise InputError(
            "training diverged (loss is NaN or infinite); lower the learning rate (optimizer.learning_rate)"
        )
    return {"loss": loss, "accuracy": float(logs["accuracy"][-1])}
