"""Seeing inside a trained model: image files -> what pushed each of them which way, or where a network looked.

Of a run of `train-cnn`, see `cnn.explain`. Of `train-svm` and `train-knn` the images are measured as the training table
was, and then explained:

    explanations.csv    one row an image: score, call, mean score of the reference cells, contribution of each family
    NNN_NAME/           of each image, unless asked to be brief:
        features.csv        value, place among the reference cells, and contribution of each feature
        families.csv        the contributions of each family together
        contributions.png, contributions.svg
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from leukobench.cells.cell import read_cell
from leukobench.classifiers.explain import Explanation, explain_cell, explanations_table
from leukobench.classifiers.plots import explanation_figure
from leukobench.classifiers.prediction import load_trained
from leukobench.classifiers.reference import read_reference
from leukobench.core.errors import InputError
from leukobench.core.files import refuse_existing, whole_folder, write_csv
from leukobench.core.plotting import save_figure
from leukobench.features.batch import Measurement, measure_batch
from leukobench.features.catalog import features_of
from leukobench.results.run_info import read_run_info


@dataclass(frozen=True)
class Explained:
    """What was seen: a line an image, and what the folder holds."""

    lines: list[str]
    holds: str


def explain(
    run_folder: Path, images: Sequence[Path], out: Path, *, fold: int | None = None, brief: bool = False
) -> Explained:
    """Write why a run's model calls images what it does, whole or not at all.

    Args:
        run_folder: A run folder of any family.
        images: Image files.
        out: Folder to write.
        fold: Of a run of a cross-validation, the fold whose model is taken. Without it SVM and k-NN take the model that
            was fitted on every image; of networks there is none.
        brief: Whether to leave out what is written for each image by itself.

    Raises:
        InputError: no run folder, one of an earlier version, a fold that is missing or needless, an image that cannot
            be measured or read, or `out` exists.
    """
    refuse_existing(out)
    if read_run_info(run_folder).family == "cnn":
        from leukobench.cnn.explain import explain as explain_network  # loads TensorFlow, which the others do without
        from leukobench.cnn.explain import mean_line

        seen = explain_network(run_folder, images, out, fold=fold, brief=brief)
        holds = "" if brief else ", and of each image grad_cam.png and feature maps"
        mean = [mean_line(seen)] if len(seen) > 1 else []
        return Explained([each.line() for each in seen] + mean, f"explanations.csv, summary.csv, diagram.png{holds}")
    explanations = explain_by_features(run_folder, images, out, fold=fold, brief=brief)
    holds = "" if brief else ", and of each image contributions.png, features.csv and families.csv"
    return Explained([each.line() for each in explanations], f"explanations.csv{holds}")


def explain_by_features(
    run_folder: Path, images: Sequence[Path], out: Path, *, fold: int | None = None, brief: bool = False
) -> list[Explanation]:
    """Write which features pushed the cells of images which way; see `explain`."""
    trained = load_trained(run_folder, fold)
    reference = read_reference(run_folder)
    try:
        how = Measurement.from_facts(trained.facts, Path.cwd())
        lacking = sorted(set(trained.columns) - set(how.columns))
        if lacking:
            raise InputError(f"the feature set {how.feature_set} does not measure {lacking[0]}")
    except InputError as error:
        raise InputError(f"{run_folder}: {error}, so that no image can be measured as they were; train again") from None
    units = {feature.name: feature.unit for feature in features_of(how.feature_set, how.settings)}
    measured = _measured(how, images)
    explanations = []
    with whole_folder(out) as partial:
        for number, path in enumerate(tqdm(images, unit="image", disable=None)):
            of_cell = dict(zip(how.columns, measured[number], strict=True))
            wanted = {column: of_cell[column] for column in trained.columns}
            explanations.append(explain_cell(trained.model, reference, wanted, path, units))
            if not brief:
                picture = read_cell(path, how.background).rgb
                _write_one(explanations[-1], picture, partial / f"{number + 1:03}_{path.stem}")
        write_csv(explanations_table(explanations), partial / "explanations.csv")
    return explanations


def _measured(how: Measurement, images: Sequence[Path]) -> np.ndarray:
    """Measure images, all before anything else is computed. [shape=(images, features)]"""
    batch = measure_batch(how, [str(path) for path in images])
    if batch.failed:
        place, reason = next(iter(batch.failed.items()))
        raise InputError(f"{images[place]}: {reason}")
    return batch.values


def _write_one(found: Explanation, picture: np.ndarray, folder: Path) -> None:
    folder.mkdir()
    write_csv(found.by_feature, folder / "features.csv")
    write_csv(found.by_family, folder / "families.csv")
    save_figure(explanation_figure(found, picture), folder / "contributions")
