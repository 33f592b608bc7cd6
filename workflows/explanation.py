"""Explain predictions: the features of a cell, or the regions of its image, that led to its predicted class.

For a network see `leukobench.cnn.explain`. For SVM and k-NN the images are measured like the training table, and the
folder contains:

    explanations.csv    one row an image: score, predicted class, mean score of the reference cells, contribution of
                        each feature family
    NNN_NAME/           for each image, unless `brief`:
        features.csv        value, percentile among the reference cells, and contribution of each feature
        families.csv        contribution of each feature family
        contributions.png, contributions.svg

For a combined run there is such a folder for each of the runs that it consists of.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leukobench.cells.cell import read_cell
from leukobench.classifiers.explain import ClassifierExplanation, explain_cell, explanations_table
from leukobench.classifiers.plots import explanation_figure
from leukobench.classifiers.prediction import trained_model
from leukobench.classifiers.reference import read_reference
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, refuse_existing, whole_folder, write_csv
from leukobench.core.plotting import save_figure
from leukobench.core.progress import ProgressBar
from leukobench.features.batch import Measurement, measure_batch
from leukobench.features.catalog import features_of
from leukobench.results.run import RunFolder, read_run_folder
from leukobench.results.run_info import COMBINED, read_run_info
from leukobench.workflows.combination import members_of
from leukobench.workflows.image_sources import errors_for_run, image_sources

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Explained:
    """A line of text for each image, and a list of the files in the folder."""

    lines: list[str]
    contains: str


def explain(
    run_folder: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    fold: int | None = None,
    brief: bool = False,
    maps: bool = False,
) -> Explained:
    """Explain the predictions of a run for images, and write the folder `out`, completely or not at all.

    Args:
        run_folder: A run folder of either family.
        images: Folders, image files or lists of them, see `leukobench.workflows.image_sources.image_sources`.
        out: Folder to write.
        fold: Of a cross-validation, the fold whose model is explained. By default the final model; a cross-validation
            of networks has none.
        brief: Whether to write no files for single images.
        maps: Networks: whether to write the feature maps of every layer for each image.

    Raises:
        InputError: no run folder, one of an earlier version, a missing fold, a fold without cross-validation, no image,
            an image that cannot be read or measured, feature maps of a run without a network, or `out` exists.
    """
    run_folder, out = Path(run_folder), Path(out)
    refuse_existing(out)
    info = read_run_info(run_folder)
    with errors_for_run(info.background):
        return _explain_by_family(run_folder, info.family, images, out, fold=fold, brief=brief, maps=maps)


def _explain_by_family(
    run_folder: Path,
    family: str,
    images: Sequence[str | os.PathLike[str]],
    out: Path,
    *,
    fold: int | None,
    brief: bool,
    maps: bool,
) -> Explained:
    if maps and family not in ("cnn", COMBINED):
        raise InputError(f"{run_folder}: is no network, so it has no feature maps (maps)")
    files = [Path(file) for file in image_sources(images).files]
    if family == COMBINED:
        return _explain_members(read_run_folder(run_folder), files, out, fold=fold, brief=brief, maps=maps)
    if family == "cnn":
        from leukobench.cnn import explain as networks  # here: classifiers need no TensorFlow

        found = networks.explain(run_folder, files, out, fold=fold, brief=brief, maps=maps)
        drawn = [name for name, asked in (("grad_cam.png", not brief), ("feature maps", maps)) if asked]
        single = f", and for each image {' and '.join(drawn)}" if drawn else ""
        mean = [networks.mean_line(found)] if len(found) > 1 else []
        return Explained([each.line() for each in found] + mean, f"explanations.csv, summary.csv, diagram.png{single}")
    with only_writer(out), whole_folder(out) as partial:
        explanations = explain_by_features(run_folder, files, fold=fold)
        if not brief:
            for number, (path, (explanation, rgb)) in enumerate(zip(files, explanations, strict=True)):
                _write_one(explanation, rgb, partial / f"{number + 1:03}_{path.stem}")
        write_csv(explanations_table([explanation for explanation, _ in explanations]), partial / "explanations.csv")
    single = "" if brief else ", and for each image contributions.png, features.csv and families.csv"
    return Explained([explanation.line() for explanation, _ in explanations], f"explanations.csv{single}")


def _explain_members(
    run: RunFolder, images: Sequence[Path], out: Path, *, fold: int | None, brief: bool, maps: bool
) -> Explained:
    """Explain the predictions of each member of a combined run in a folder of its own."""
    lines = []
    with only_writer(out), whole_folder(out) as partial:
        for member in members_of(run):
            of_network = maps and member.info.family == "cnn"
            done = explain(member.folder, images, partial / member.name, fold=fold, brief=brief, maps=of_network)
            lines += [f"{member.name}: {line}" for line in done.lines]
    return Explained(lines, "a folder for each of the combined runs")


def explain_by_features(
    run_folder: Path, images: Sequence[Path], *, fold: int | None = None
) -> list[tuple[ClassifierExplanation, np.ndarray]]:
    """Explain the predictions of an SVM or k-NN run: the contributions of features, and the pixels of each cell."""
    run = read_run_folder(run_folder)
    trained = trained_model(run, fold)
    reference = read_reference(run_folder)
    try:
        if trained.facts is None:
            raise InputError("its feature table had no features.csv.json with the settings of the measurement")
        how = Measurement.from_facts(trained.facts, Path.cwd())
        lacking = sorted(set(trained.columns) - set(how.columns))
        if lacking:
            raise InputError(f"the feature set {how.feature_set} does not contain {lacking[0]}")
    except InputError as error:
        raise InputError(f"{run_folder}: {error}, so no image can be measured in the same way; train again") from None
    units = {feature.name: feature.unit for feature in features_of(how.feature_set, how.settings)}
    measured = _measured(how, images)
    explanations = []
    for number, path in enumerate(ProgressBar(LOG, list(images), desc="explaining", unit="image")):
        of_cell = dict(zip(how.columns, measured[number], strict=True))
        wanted = {column: of_cell[column] for column in trained.columns}
        explanation = explain_cell(trained.model, reference, wanted, path, units, run.info.classes)
        explanations.append((explanation, read_cell(path, how.background).rgb))
    return explanations


def _measured(how: Measurement, images: Sequence[Path]) -> np.ndarray:
    """Measure all images. [shape=(images, features)]"""
    batch = measure_batch(how, [(str(path), "") for path in images])
    if batch.failed:
        place, reason = next(iter(batch.failed.items()))
        raise InputError(f"{images[place]}: {reason}")
    return batch.values


def _write_one(found: ClassifierExplanation, rgb: np.ndarray, folder: Path) -> None:
    folder.mkdir()
    write_csv(found.by_feature, folder / "features.csv")
    write_csv(found.by_family, folder / "families.csv")
    save_figure(explanation_figure(found, rgb), folder / "contributions")
