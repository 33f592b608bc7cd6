"""Predict new images with a trained run of either family, or a feature table with a classifier."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import pandas as pd

from leukobench.cohort.class_names import CNMC, ClassNames
from leukobench.cohort.indexing import read_subjects
from leukobench.cohort.manifest import read_manifest
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, refuse_existing, write_csv
from leukobench.results.failures import failures_path, write_failures
from leukobench.results.referral import Referral, refer_for_sensitivity, refer_share
from leukobench.results.run import RunFolder, read_run_folder
from leukobench.results.run_info import COMBINED
from leukobench.results.subject_scores import subject_scores
from leukobench.workflows.combination import combined_scores, members_of
from leukobench.workflows.contact_sheet import MOST, write_contact_sheet
from leukobench.workflows.image_sources import ImageSources, errors_for_run, for_run, image_sources

StrPath = str | os.PathLike[str]
TABLE_SUFFIXES = (".csv", ".parquet")
_OF_IMAGES = {"cnn": "a network", COMBINED: "several models"}


@dataclass(frozen=True)
class Predictions:
    """Predictions of images.

    Attributes:
        scored: `path`, `score` (the probability of `all`) and `predicted`, one row an image; with names of the user's
            for the classes (`leukobench.cohort.class_names`) also `predicted_class`; of runs that store the
            distribution of their training cells also `novelty` and `out_of_distribution`, see
            `leukobench.results.novelty`; and `refer`, if that was asked for.
        failed: Reason of each image that could not be read or measured, by path.
        subjects: One row a subject, see `leukobench.results.subject_scores.subject_scores`; None where no subject of an
            image is known.
        classes: What the classes are called.
    """

    scored: pd.DataFrame
    failed: dict[str, str]
    subjects: pd.DataFrame | None = None
    classes: ClassNames = CNMC


def predict(
    run: RunFolder | StrPath,
    images: StrPath | Sequence[StrPath],
    out: StrPath,
    *,
    manifest: StrPath | None = None,
    fold: int | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    jobs: int = 1,
    refer: float | None = None,
    sensitivity: float | None = None,
    html: StrPath | None = None,
    order: str = "score",
    most: int = MOST,
    subjects: StrPath | None = None,
) -> Predictions:
    """Predict new cells with a trained run, and write a table; failed images are listed in a file next to it.

    Args:
        run: The run, or its folder.
        images: A folder of images, or several folders, images, and lists of images, see
            `leukobench.workflows.image_sources.image_sources`; for SVM and k-NN also a feature table (.csv, .parquet).
        out: Table (CSV) to write.
        manifest: Manifest of the images to predict, whose paths are relative to the one folder `images`; None for all
            images of the folder.
        fold: Of a cross-validation, the fold whose model predicts. By default the final model, or the mean over the
            folds of networks and combined runs.
        batch_size: Batch size of networks.
        device: Device of networks, one of `leukobench.cnn.device.DEVICES`.
        jobs: Number of parallel processes.
        refer: Share of cells to refer, see `leukobench.results.referral.refer_share`; None: no column `refer`.
        sensitivity: Sensitivity to reach by referral, see `refer_for_sensitivity` there; instead of `refer`.
        html: Contact sheet to write, see `leukobench.workflows.contact_sheet`; None for none.
        order: Order of the cells on it.
        most: Largest number of cells on it.
        subjects: Table (CSV) with the columns `path` (or file name) and `subject`. With it, or with the subjects of a
            manifest, a table of subjects is written beside `out`: `NAME.subjects.csv`.

    Raises:
        InputError: an argument that is for the other kind of run, an unusable source, or `out` exists.
    """
    out = Path(out)
    given = [images] if isinstance(images, str | os.PathLike) else list(images)
    for path in (out, failures_path(out), subjects_path(out), *([Path(html)] if html else [])):
        refuse_existing(path)
    known = _known_subjects(manifest, subjects)
    trained = run if isinstance(run, RunFolder) else read_run_folder(run)
    _refuse_network_options(trained, batch_size, device)
    referral = _referral(trained, refer, sensitivity, fold)
    with only_writer(out):
        tables = [Path(each) for each in given if Path(each).suffix.lower() in TABLE_SUFFIXES and Path(each).is_file()]
        if tables:
            if html:
                raise InputError(f"{tables[0]}: is a table; a contact sheet shows images; predict the images")
            if len(given) > 1:
                raise InputError(f"{tables[0]}: is a table; predict it alone, or name images, folders and lists only")
            done = _predict_table(trained, tables[0], fold, manifest is not None)
        else:
            sources = image_sources(given, manifest)
            done = predict_images(trained, sources.files, fold=fold, batch_size=batch_size, device=device, jobs=jobs)
            done = _named(sources, done)
        if referral is not None:
            done = replace(done, scored=referral.apply(done.scored))
        if html:
            files = dict(zip(sources.names, map(Path, sources.files), strict=True))
            write_contact_sheet(trained, done.scored, files, Path(html), order=order, most=most)
        done = replace(done, subjects=_by_subject(done.scored, known))
        done = _with_class_names(done, trained.info.classes)
        write_failures(done.failed, out)
        if done.subjects is not None:
            write_csv(done.subjects, subjects_path(out))
        write_csv(done.scored, out)
    return done


def _with_class_names(done: Predictions, classes: ClassNames) -> Predictions:
    scored = classes.add_beside(done.scored, "predicted")
    subjects = None if done.subjects is None else classes.add_beside(done.subjects, "predicted")
    return replace(done, scored=scored, subjects=subjects, classes=classes)


def subjects_path(out: Path) -> Path:
    """Return the path of the table of subjects beside a table of predictions."""
    return out.with_suffix(".subjects.csv")


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
    background = run.info.background
    with errors_for_run(background):
        done = _predict_by_family(run, images, fold, batch_size, device, jobs)
    return replace(done, failed={path: for_run(reason, background) for path, reason in done.failed.items()})


def _predict_by_family(
    run: RunFolder,
    images: StrPath | Sequence[StrPath],
    fold: int | None,
    batch_size: int | None,
    device: str | None,
    jobs: int,
) -> Predictions:
    if run.info.family == COMBINED:
        return _predict_by_members(run, images, fold, batch_size, device, jobs)
    if run.info.family == "cnn":
        from leukobench.cnn import prediction  # here: a classifier needs no TensorFlow

        found = prediction.predict_images(
            run, images, fold=fold, batch_size=batch_size, device=device or "auto", jobs=jobs
        )
        return Predictions(*found)
    return _predict_by_classifier(run, images, [fold], jobs)[0]


def _predict_by_classifier(
    run: RunFolder, images: StrPath | Sequence[StrPath], folds: Sequence[int | None], jobs: int
) -> list[Predictions]:
    """Measure images once, and predict them with the model of each of `folds`."""
    from leukobench.classifiers.prediction import trained_model
    from leukobench.features.dataframe import measure_like

    models = [trained_model(run, fold) for fold in folds]
    facts = models[0].facts
    if facts is None:
        raise InputError(f"{run.folder}: does not record how its cells were measured; predict a feature table instead")
    table = measure_like(facts, images, jobs=jobs)
    return [Predictions(model.score(table[model.columns]), table.attrs["failures"]) for model in models]


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
    of_members: list[list[pd.DataFrame]] = []
    for member in members_of(run):
        if member.info.family == "cnn":
            done = [
                predict_images(member, images, fold=each, batch_size=batch_size, device=device, jobs=jobs)
                for each in folds
            ]
        else:
            done = _predict_by_classifier(member, images, folds, jobs)
        of_members.append([each.scored for each in done])
        failed |= {path: reason for each in done for path, reason in each.failed.items()}
    return Predictions(combined_scores(run, list(zip(*of_members, strict=True)), folds), failed)


def _known_subjects(manifest: StrPath | None, subjects: StrPath | None) -> dict[str, str]:
    """Return the subject of each image, by path or by the name of the file; "" where it is unknown."""
    if subjects is not None:
        return read_subjects(subjects)
    if manifest is None:
        return {}
    rows = read_manifest(manifest)
    return dict(zip(rows["path"], rows["subject"], strict=True))


def _by_subject(scored: pd.DataFrame, known: dict[str, str]) -> pd.DataFrame | None:
    """Return the scores of the subjects; None where the subject of no predicted image is known."""
    if not known:
        return None
    subject = scored["path"].map(lambda path: known.get(path) or known.get(PurePath(path).name, ""))
    of = subject != ""
    if not of.any():
        return None
    table = subject_scores(subject[of], scored["score"][of].to_numpy())
    if "out_of_distribution" in scored:
        share = scored["out_of_distribution"][of].groupby(subject[of]).mean()
        table["out_of_distribution"] = share.reindex(table["subject"]).to_numpy()
    return table


def _refuse_network_options(run: RunFolder, batch_size: int | None, device: str | None) -> None:
    if run.info.family not in ("cnn", COMBINED) and (batch_size or device):
        raise InputError(
            f"batch_size and device apply to networks only; {run.folder} is a run of {run.info.recipe}; omit them"
        )


def _referral(run: RunFolder, share: float | None, sensitivity: float | None, fold: int | None) -> Referral | None:
    if share is not None and sensitivity is not None:
        raise InputError("refer and sensitivity both say which cells to refer; give one of them")
    if share is not None:
        return refer_share(run, share, fold)
    return None if sensitivity is None else refer_for_sensitivity(run, sensitivity, fold)


def _predict_table(run: RunFolder, table: Path, fold: int | None, of_manifest: bool) -> Predictions:
    if run.info.family in _OF_IMAGES:
        raise InputError(
            f"{table}: is a table; {run.folder} is a run of {_OF_IMAGES[run.info.family]}, which predicts images; name "
            "a folder, images, or a list of images (.txt)"
        )
    if of_manifest:
        raise InputError(f"{table}: is a feature table; a manifest selects images of a folder; omit one of them")
    from leukobench.classifiers.prediction import trained_model
    from leukobench.results.feature_table import read_feature_table

    return Predictions(trained_model(run, fold).predict(read_feature_table(table), table), {})


def _named(sources: ImageSources, done: Predictions) -> Predictions:
    """Return predictions under the names that the sources give to their files."""
    names = dict(zip(sources.files, sources.names, strict=True))
    scored = done.scored.assign(path=done.scored["path"].map(names))
    return Predictions(scored, {names[file]: reason for file, reason in done.failed.items()})
