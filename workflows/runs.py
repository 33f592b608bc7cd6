"""Runs as objects: train, load, predict, explain."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from leukobench.core.errors import InputError
from leukobench.results.run import RunFolder, read_run_folder
from leukobench.results.run_info import COMBINED
from leukobench.workflows import combination, prediction
from leukobench.workflows.combination import MEMBERS

if TYPE_CHECKING:
    from leukobench.classifiers.explain import ClassifierExplanation
    from leukobench.cnn.attribution import NetworkExplanation

StrPath = str | os.PathLike[str]


class Run(RunFolder):
    """A trained run: its folder, its predictions and metrics, and its model.

    Attributes:
        folder: The run folder.
        info: The content of `run.json`, typed; `info.command` repeats the run.
        predictions: One row a predicted image of the cohort: `path`, `subject`, `subject_group`, `label`, `part`,
            `fold` (missing without cross-validation), `raw_score` (the model's probability of `all`), `score` (that
            probability after calibration on the validation part) and `predicted`. Of a cross-validation, each image is
            tested in one fold, and may be a validation image of others.
        metrics: Metrics by part: `run.metrics["test"]["auroc"]`.
        history: One row an epoch; None for SVM and k-NN.

    Example:
        >>> import leukobench as lb
        >>> truth = lb.generate_cohort("images", subjects=12, cells_per_subject=3)
        >>> manifest = lb.index_folder("images", out="manifest.csv")
        >>> lb.write_split(lb.split(manifest, validation_size=0), "split.csv")
        >>> extraction = lb.extract("images", "manifest.csv", "features.csv")
        >>> settings = {"n_neighbors": 5}
        >>> run = lb.train_classifier(
        ...     "features.csv", "split.csv", "run", recipe="leukobench-knn", settings=settings, importance=False
        ... )
        >>> new = run.predict("images/training_data/fold_0")
        >>> list(new.columns), bool(new["score"].between(0, 1).all())
        (['path', 'score', 'predicted', 'novelty', 'out_of_distribution'], True)
    """

    def predict(
        self,
        images: StrPath | Sequence[StrPath],
        *,
        fold: int | None = None,
        batch_size: int | None = None,
        device: str | None = None,
        jobs: int = 1,
    ) -> pd.DataFrame:
        """Predict images, read and measured as for training.

        Args:
            images: A folder, searched with its subfolders, or image files.
            fold: Of a cross-validation, the fold whose model predicts. By default the final model, or the mean of the
                networks of all folds.
            batch_size: Batch size of networks.
            device: Device of networks: `"auto"`, `"cpu"` or `"gpu"`.
            jobs: Number of parallel processes (networks: threads).

        Returns:
            One row an image: `path`, `score` (the probability of `all`), `predicted`, `novelty` (distance from the
            training cells; above 1 for cells unlike them) and `out_of_distribution` (whether it is). The last two are
            missing for a run of leukobench 0.4.0 or earlier. `attrs["failures"]` has the reason of each image that
            could not be read, by path.

        Raises:
            InputError: no image could be read, there is no such fold, or an argument is for the other kind of run.
        """
        done = prediction.predict_images(self, images, fold=fold, batch_size=batch_size, device=device, jobs=jobs)
        table = done.scored.copy()
        table.attrs["failures"] = done.failed
        return table

    def explain(self, image: StrPath, *, fold: int | None = None) -> ClassifierExplanation | NetworkExplanation:
        """Explain the prediction for one image.

        Args:
            image: An image file.
            fold: Of a cross-validation, the fold whose model is explained. Networks of a cross-validation need it.

        Returns:
            Of SVM and k-NN, the contribution of each feature to the probability of `all` (`by_feature`, `by_family`).
            Of a network, the Grad-CAM attribution of the predicted class (`attribution`, `on_background`).

        Raises:
            InputError: the image cannot be read or measured, there is no such fold, or this is a combined run.
        """
        if self.info.family == COMBINED:
            raise InputError(f"{self.folder}: is a combined run; explain the runs in its folder {MEMBERS}")
        if self.info.family == "cnn":
            from leukobench.cnn.explain import explain  # here: classifiers need no TensorFlow

            with tempfile.TemporaryDirectory() as folder:
                return explain(self.folder, [image], Path(folder) / "explained", fold=fold, brief=True)[0]
        from leukobench.workflows.explanation import explain_by_features

        return explain_by_features(self.folder, [Path(image)], fold=fold)[0][0]


def load_run(folder: StrPath) -> Run:
    """Load a run folder, and check that it is complete and unchanged.

    Args:
        folder: A folder that a training wrote.

    Raises:
        InputError: not a run folder, one of leukobench 0.1, or a missing or changed file.

    Example:
        >>> import leukobench as lb
        >>> lb.load_run("no-such-run")
        Traceback (most recent call last):
        ...
        leukobench.core.errors.InputError: no-such-run: no such run folder; name one that a training wrote
    """
    return Run(**vars(read_run_folder(folder)))


def combine(runs: Sequence[RunFolder | StrPath], out: StrPath) -> Run:
    """Combine runs of one split: the mean of their log odds for each cell, calibrated on the validation part.

    Args:
        runs: Two or more runs, or their folders, of either family.
        out: Run folder to write.

    Raises:
        InputError: fewer than two runs, runs of different splits, images or backgrounds, a run that is given twice or
            is itself combined, or `out` exists.

    Example:
        >>> import leukobench as lb
        >>> lb.combine(["runs/svm"], "runs/combined")
        Traceback (most recent call last):
        ...
        leukobench.core.errors.InputError: runs: a combination takes at least two; give one more run folder
    """
    return Run(**vars(combination.combine(runs, out)))


def train_classifier(
    features: StrPath,
    split: StrPath,
    out: StrPath,
    *,
    recipe: str = "leukobench-svm",
    settings: Mapping[str, Any] | None = None,
    importance: bool = True,
    seed: int = 0,
    jobs: int = 1,
    backend: str = "loky",
    scheduler: str | None = None,
) -> Run:
    """Train a support vector machine or k nearest neighbours on a feature table, and write the run folder.

    Hyperparameters are selected by cross-validation over subject groups within the training part.

    Args:
        features: Feature table (.csv or .parquet), from `extract`.
        split: Partition (CSV), or folder of partitions for a cross-validation, from `write_split`.
        out: Run folder to write.
        recipe: `leukobench-svm`, `leukobench-knn` or `clinton-svm`.
        settings: Values that replace those of the recipe, such as `{"C": [1, 3], "select": "anova:16"}`; from several
            values, the search selects one.
        importance: Whether to compute permutation importance on the test part.
        seed: Random seed.
        jobs: Number of parallel processes on this machine; the result does not depend on it.
        backend: Execution backend of the search: `loky` (this machine), `dask` or `ray`.
        scheduler: Address of the cluster, for `dask` (`tcp://host:8786`) and `ray` (`host:6379`).

    Raises:
        InputError: an unknown recipe or setting, a malformed file, or `out` exists; see
            `leukobench.classifiers.training.train_classifier`.

    Example: see `Run`.
        >>> import leukobench as lb
        >>> lb.train_classifier("features.csv", "split.csv", "run", recipe="no-such")
        Traceback (most recent call last):
        ...
        leukobench.core.errors.InputError: ...
    """
    from leukobench.classifiers import training

    run = training.train_classifier(
        features,
        split,
        out,
        recipe=recipe,
        settings=settings,
        importance=importance,
        seed=seed,
        jobs=jobs,
        backend=backend,
        scheduler=scheduler,
    )
    return Run(**vars(run))


def train_network(
    images: StrPath,
    manifest: StrPath,
    split: StrPath,
    out: StrPath,
    *,
    recipe: str = "leukobench",
    weights: StrPath | None = None,
    changes: Mapping[str, Any] | None = None,
    background: str = "black",
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    device: str = "auto",
    precision: str = "auto",
    resume: bool = False,
) -> Run:
    """Train a network on the training part of a split, predict every part, and write the run folder.

    Args:
        images: Folder of the images that the manifest lists.
        manifest: Manifest (CSV).
        split: Partition (CSV), or folder of partitions for a cross-validation, from `write_split`.
        out: Run folder to write.
        recipe: Name of a network recipe; `leukobench recipes` lists them.
        weights: `"imagenet"` (downloaded), a file, or `"none"`; by default those of the recipe.
        changes: Changed values of the recipe by name, such as `{"optimizer.learning_rate": 1e-5}`.
        background: What surrounds the cells: one of `leukobench.cells.cell.BACKGROUNDS`.
        epochs: Number of epochs, if not the recipe's.
        batch_size: Batch size, if not the recipe's.
        seed: Random seed.
        jobs: Number of threads that read images.
        device: `"auto"`, `"cpu"` or `"gpu"`.
        precision: `"auto"`, `"float32"` or `"mixed"`.
        resume: Whether to continue an interrupted training with the same arguments, if there is one.

    Raises:
        InputError: see `leukobench.cnn.training.train_network`.
        UnfinishedError: there is an interrupted training, and `resume` is false.

    Example: see `leukobench.cnn.training.train_network`.
        >>> import leukobench as lb
        >>> lb.train_network("images", "manifest.csv", "split.csv", "run", recipe="no-such")
        Traceback (most recent call last):
        ...
        leukobench.core.errors.InputError: ...
    """
    from leukobench.cnn import training  # here: classifiers need no TensorFlow

    run = training.train_network(
        images,
        manifest,
        split,
        out,
        recipe=recipe,
        weights=weights,
        changes=changes,
        background=background,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        jobs=jobs,
        device=device,
        precision=precision,
        resume=resume,
    )
    return Run(**vars(run))
