"""Predict new images with a trained run of either family, or a feature table with a classifier."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from leukobench.cohort.manifest import read_manifest
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, refuse_existing, write_csv
from leukobench.results.failures import failures_path, write_failures
from leukobench.results.run import RunFolder, read_run_folder
from leukobench.workflows.combination import COMBINED, combined_scores, members_of

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Predictions:
    """Predictions of images.

    Attributes:
        scored: `path`, `score` (the probability of `all`) and `predicted`, one row an image.
        failed: Reason of each image that could not be read or measured, by path.
    """

    scored: pd.DataFrame
    failed: dict[str, str]


def predict(
    run: RunFolder | StrPath,
    source: StrPath,
    out: StrPath,
    *,
    manifest: StrPath | None = None,
    fold: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    jobs: int = 1,
) -> Predictions:
    """Predict new cells with a trained run, and write a table; failed images are listed in a file next to it.

    Args:
        run: The run, or its folder.
        source: Folder of images; for SVM and k-NN also a feature table.
        out: Table (CSV) to write.
        manifest: Manifest of the images to predict; None for all images of the folder.
        fold: Of a cross-validation, the fold whose model predicts. By default the final model, or the mean over the
            folds of networks and combined runs.
        batch_size: Batch size of networks.
        device: Device of networks, one of `leukobench.cnn.device.DEVICES`.
        jobs: Number of parallel processes.

    Raises:
        InputError: an argument that is for the other kind of run, an unusable source, or `out` exists.
    """
    out, source = Path(out), Path(source)
    for path in (out, failures_path(out)):
        refuse_existing(path)
    trained = run if isinstance(run, RunFolder) else read_run_folder(run)
    _refuse_network_options(trained, batch_size, device)
    with only_writer(out):
        if source.is_dir():
            images = source if manifest is None else [source / path for path in read_manifest(manifest)["path"]]
            done = predict_images(trained, images, fold=fold, batch_size=batch_size, device=device, jobs=jobs)
            if manifest is not None:
                done = _relative_to(source, done)
        else:
            done = _predict_table(trained, source, fold, manifest is not None)
        write_failures(done.failed, out)
        write_csv(done.scored, out)
    return done


def predict_images(
    run: RunFolder,
    images: StrPath | Sequence[StrPath],
    *,
    fold: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    jobs: int = 1,
) -> Predictions:
    """Predict images with a run of either family, read and measured as for training; see `predict`.

    Args:
        run: The run.
        images: A folder, searched with its subfolders, or image files.
        fold: See `predict`.
        batch_size: See `predict`.
        device: See `predict`.
        jobs: Number of parallel processes.

    Raises:
        InputError: no image could be read, the run does not record how its cells were measured, or there is no such
            fold.
    """
    _refuse_network_options(run, batch_size, device)
    if run.info.family == COMBINED:
        return _predict_by_members(run, images, fold, batch_size, device, jobs)
    if run.info.family == "cnn":
        from leukobench.cnn import prediction  # here: a classifier needs no TensorFlow

        found = prediction.predict_images(
            run, images, fold=fold, batch_size=batch_size, device=device or "auto", jobs=jobs
        )
        return Predictions(*found)
    from leukobench.classifiers.prediction import trained_model
    from leukobench.features.dataframe import measure_like

    trained = trained_model(run, fold)
    if trained.facts is None:
        raise InputError(f"{run.folder}: does not record how its cells were measured; predict a feature table instead")
    table = measure_like(trained.facts, images, jobs=jobs)
    return Predictions(trained.score(table[trained.columns]), table.attrs["failures"])


def _predict_by_members(
    run: RunFolder,
    images: StrPath | Sequence[StrPath],
    fold: int | None,
    batch_size: int | None,
    device: str | None,
    jobs: int,
) -> Predictions:
    """Predict images with each member of a combined run; of a cross-validation with the models of all folds."""
    folds: Sequence[int | None] = run.folds if fold is None and run.folds else [fold]
    failed: dict[str, str] = {}
    scored: list[list[pd.DataFrame]] = [[] for _ in folds]
    for member in members_of(run):
        network = member.info.family == "cnn"
        for tables, each in zip(scored, folds, strict=True):
            done = predict_images(
                member,
                images,
                fold=each,
                batch_size=batch_size if network else None,
                device=device if network else None,
                jobs=jobs,
            )
            tables.append(done.scored)
            failed |= done.failed
    return Predictions(combined_scores(run, scored, folds), failed)


def _refuse_network_options(run: RunFolder, batch_size: int | None, device: str | None) -> None:
    if run.info.family not in ("cnn", COMBINED) and (batch_size or device):
        raise InputError(
            f"batch_size and device apply to networks only; {run.folder} is a run of {run.info.recipe}; omit them"
        )


def _predict_table(run: RunFolder, table: Path, fold: int | None, of_manifest: bool) -> Predictions:
    if run.info.family in ("cnn", COMBINED):
        raise InputError(
            f"{table}: is a file; {run.folder} is a run of {run.info.recipe}, which predicts images; name a folder"
        )
    if of_manifest:
        raise InputError(f"{table}: is a feature table; a manifest selects images of a folder; omit one of them")
    from leukobench.classifiers.prediction import trained_model
    from leukobench.results.feature_table import read_feature_table

    return Predictions(trained_model(run, fold).predict(read_feature_table(table), table), {})


def _relative_to(folder: Path, done: Predictions) -> Predictions:
    """Return predictions with paths relative to the folder, as in the manifest."""
    scored = done.scored.assign(path=[Path(path).relative_to(folder).as_posix() for path in done.scored["path"]])
    return Predictions(
        scored, {Path(path).relative_to(folder).as_posix(): reason for path, reason in done.failed.items()}
    )
