"""Training a classical recipe: feature table + partition -> run folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline

from classifiers.recipes import ClassicalRecipe, recipe_named
from classifiers.search import Folds, group_folds, search
from classifiers.storage import save_model
from study.errors import StudyError
from study.feature_table import FeatureTable, read_feature_table
from study.files import refuse_existing, sha256_of, write_csv
from study.manifest import POSITIVE
from study.partition import read_partition
from study.run import Run, predictions_table, split_facts, write_run

LIBRARIES = ("numpy", "pandas", "scikit-learn", "skops")


def train(
    table_path: Path,
    partition_path: Path,
    out: Path,
    *,
    family: str,
    recipe: str | None = None,
    seed: int = 0,
    jobs: int = 1,
) -> Run:
    """Fit a classifier on the training part, predict every part, and write the run folder.

    Settings are chosen on the training part alone, over subject groups; the scaler is fitted there too. The
    validation part, where there is one, is predicted but not trained on, so that both families train on the same rows.

    Args:
        table_path: Feature table.
        partition_path: Partition.
        out: Run folder to write.
        family: `svm` or `knn`.
        recipe: Name of a recipe of the family; by default our own.
        seed: For the folds and the classifier.
        jobs: Processes for the search.

    Raises:
        StudyError: a file is malformed, the partition names images that the table lacks, or `out` exists.
    """
    chosen = recipe_named(recipe or f"leukobench-{family}", family)
    refuse_existing(out)
    partition = read_partition(partition_path)
    table = read_feature_table(table_path)
    partition, excluded = _rows_with_features(partition, table, partition_path, table_path)
    features = table.values.loc[partition["path"]].to_numpy()
    positive = (partition["label"] == POSITIVE).to_numpy()
    training = (partition["part"] == "train").to_numpy()

    start = time.perf_counter()
    groups = partition["subject_group"].to_numpy()[training]
    folds = group_folds(positive[training], groups, seed, str(partition_path))
    best, tried = search(chosen, features[training], positive[training], folds, seed, jobs)
    model, note = _fit(best, chosen.calibrated, folds, features[training], positive[training])
    fitted = time.perf_counter()
    score = model.predict_proba(features)[:, 1]
    predicted = time.perf_counter()

    facts = split_facts(partition, partition_path)
    facts["checksums"]["features"] = sha256_of(table_path)
    info = {
        "family": family,
        "recipe": chosen.name,
        "parameters": _parameters(chosen, best, table, tried),
        "seed": seed,
        **facts,
        "excluded": excluded,
        "note": note,
        "seconds": {"fit": fitted - start, "predict": predicted - fitted},
    }

    def save(folder: Path) -> Path:
        write_csv(tried, folder / "search.csv")
        return save_model(model, folder)

    return write_run(out, info, predictions_table(partition, score), save, libraries=LIBRARIES)


def _rows_with_features(
    partition: pd.DataFrame, table: FeatureTable, partition_path: Path, table_path: Path
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the partition less the images listed as failed beside the table, and those with their reasons.

    Raises:
        StudyError: the partition names an image that is neither in the table nor listed as failed.
    """
    lacking = partition["path"][~partition["path"].isin(table.values.index)]
    excluded = {path: table.failed[path] for path in lacking if path in table.failed}
    unknown = [path for path in lacking if path not in excluded]
    if unknown:
        raise StudyError(
            f"{partition_path}: names {len(unknown)} of {len(partition)} images that {table_path} lacks "
            f"(first: {unknown[0]}); extract features by the manifest that was split"
        )
    return partition[~partition["path"].isin(list(excluded))], excluded


def _fit(
    pipeline: Pipeline, calibrated: bool, folds: Folds, features: np.ndarray, positive: np.ndarray
) -> tuple[CalibratedClassifierCV | Pipeline, str]:
    """Fit a pipeline, with Platt's sigmoid on the decision values of held-out groups where it is to be calibrated.

    Returns the model, and a note where the sigmoid would have turned the order of the scores round: that happens where
    the held-out groups scored below chance, and says that there are too few people to calibrate by.
    """
    if not calibrated:
        return pipeline.fit(features, positive), ""
    model = CalibratedClassifierCV(pipeline, cv=folds, ensemble=False).fit(features, positive)
    model.cv = len(folds)  # the folds themselves are row numbers of this table: of no use in the stored model
    sigmoid = model.calibrated_classifiers_[0].calibrators[0]
    if sigmoid.a_ < 0:  # p = 1 / (1 + exp(a f + b)) rises with the decision value f
        return model, ""
    sigmoid.a_, sigmoid.b_ = -1.0, 0.0
    return model, (
        "not calibrated: subject groups left out scored below chance, so that the calibration would have turned the "
        "scores round; the probability is the plain logistic function of the decision value"
    )


def _parameters(recipe: ClassicalRecipe, best: Pipeline, table: FeatureTable, tried: pd.DataFrame) -> dict[str, Any]:
    return {
        "calibrated": recipe.calibrated,
        "grid": {key: list(values) for key, values in recipe.grid.items()},
        "classifier": best.named_steps["classify"].get_params(),
        "features": list(table.values.columns),
        "table": table.facts,
        "search_auroc": float(np.max(tried["auroc_mean"])),
    }
