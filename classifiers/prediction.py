"""Applying a trained classifier to another feature table, which must be measured like the training table."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

import leukobench
from leukobench.classifiers.model import Model
from leukobench.classifiers.storage import load_model
from leukobench.core.errors import InputError
from leukobench.results.feature_table import FeatureTable, TableFacts, facts_path
from leukobench.results.novelty import NoveltyModel, load_novelty, with_novelty
from leukobench.results.run import RunFolder, read_run_folder, scores_table


@dataclass(frozen=True)
class TrainedModel:
    """A model of a run folder, and what a feature table must be like to be scored by it.

    Attributes:
        folder: The run folder.
        model: The model, with its calibration on the validation part.
        columns: Names of the features that it was trained on, in order.
        facts: How the training table was measured; None where that is not known.
        novelty: The distribution of its training cells; None in a run of leukobench 0.4.0 or earlier.
    """

    folder: Path
    model: Model
    columns: list[str]
    facts: TableFacts | None
    novelty: NoveltyModel | None

    def check(self, table: FeatureTable, path: Path) -> None:
        """Raise InputError where a table was measured in another way than the training table.

        Raises:
            InputError: other columns, another feature set, version, setting or background, or no facts that say so.
        """
        trained, found = _measurement(self.facts), _measurement(table.facts)
        self._check_columns(table.values, str(path), found)
        if trained and not found:
            raise InputError(
                f"{path}: has no {facts_path(path).name} that says how it was measured, and {self.folder} was trained "
                f"with {_describe(len(self.columns), trained)}; extract again"
            )
        for name in sorted(trained.keys() | found.keys()) if trained else ():
            if trained.get(name) != found.get(name):
                raise InputError(
                    f"{path}: {self.folder} was trained with {name} {trained.get(name)}; this table has {name} "
                    f"{found.get(name)}; extract it as the training table was, or train again"
                )

    def score(self, values: pd.DataFrame) -> pd.DataFrame:
        """Score cells that are known to be measured like the training table.

        Args:
            values: One row an image, indexed by path, one column a feature, in any order.

        Returns:
            `path`, `score` (the probability of `all`), `predicted`, and where novelty is known, `novelty` and
            `out_of_distribution`.

        Raises:
            InputError: a column is missing, or there is one that the model was not trained on.
        """
        self._check_columns(values, "the feature table", {})
        features = values[self.columns].to_numpy(float)
        scores = scores_table([str(path) for path in values.index], self.model.predict_proba(features)[:, 1])
        return with_novelty(scores, self.novelty.novelty(features) if self.novelty else None)

    def predict(self, table: FeatureTable, path: Path) -> pd.DataFrame:
        """Score every row of a feature table.

        Args:
            table: The feature table.
            path: Where it was read, for the error messages.

        Returns:
            See `score`.

        Raises:
            InputError: see `check`.
        """
        self.check(table, path)
        return self.score(table.values)

    def _check_columns(self, values: pd.DataFrame, name: str, found: Mapping[str, Any]) -> None:
        lacking = [column for column in self.columns if column not in values.columns]
        surplus = [column for column in values.columns if column not in self.columns]
        differences = (("lacks {}", lacking), ("has {} besides", surplus))
        difference = [text.format(_some(columns)) for text, columns in differences if columns]
        if difference:
            raise InputError(
                f"{name}: {self.folder} was trained with {_describe(len(self.columns), _measurement(self.facts))}; "
                f"this table has {_describe(values.shape[1], found)}: it {' and '.join(difference)}; extract the same "
                "feature set"
            )


def trained_model(run: RunFolder, fold: int | None = None) -> TrainedModel:
    """Load the model of a run of SVM or k-NN.

    Args:
        run: The run folder.
        fold: Of a cross-validation, the fold whose model is loaded; None for the final model.

    Raises:
        InputError: no such fold, the run of a network, or one that another version wrote.
    """
    info = run.info
    if info.family == "cnn":
        raise InputError(
            f"{run.folder}: is the run of a network, which scores images; name a run of train-svm or train-knn"
        )
    for name, trained, here in (
        ("leukobench", info.leukobench, leukobench.__version__),
        (
            "scikit-learn",
            info.versions.get("scikit-learn", "an unknown version"),
            importlib.metadata.version("scikit-learn"),
        ),
    ):
        if _minor(trained) != _minor(here):
            raise InputError(
                f"{run.folder}: was trained with {name} {trained}; {name} {here} is installed and may read the model "
                f"differently; install {name} {_minor(trained)}, or train again"
            )
    facts, columns = info.parameters.get("table"), info.parameters.get("features")
    if not isinstance(columns, list) or not all(isinstance(column, str) for column in columns):
        raise InputError(f"{run.folder / 'run.json'}: the parameter features is no list of names; train again")
    return TrainedModel(
        folder=run.folder,
        model=replace(load_model(run.model_file(".skops", fold)), on_validation=info.calibration_of(fold)),
        columns=columns,
        facts=None if facts is None else TableFacts.from_json(facts, run.folder / "run.json"),
        novelty=load_novelty(run, fold),
    )


def load_trained(folder: str | os.PathLike[str], fold: int | None = None) -> TrainedModel:
    """Read a run folder and load its model; see `trained_model`.

    Raises:
        InputError: no run folder, an incomplete one, or see `trained_model`.
    """
    return trained_model(read_run_folder(folder), fold)


def _measurement(facts: TableFacts | None) -> dict[str, Any]:
    return facts.measurement if facts else {}


def _describe(columns: int, measurement: Mapping[str, Any]) -> str:
    words = [f"{columns} feature{'s' * (columns != 1)}"]
    if measurement:
        words.append(f"of set {measurement['feature_set']} {measurement['feature_set_version']}")
    return " ".join(words)


def _some(columns: list[str]) -> str:
    return columns[0] if len(columns) == 1 else f"{len(columns)} columns (first: {columns[0]})"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
