"""Applying a trained run to another feature table: only to one that was measured as the training table was."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import leukobench
from leukobench.classifiers.model import Model
from leukobench.classifiers.storage import load_model
from leukobench.core.errors import InputError
from leukobench.results.feature_table import FeatureTable, facts_path, read_feature_table
from leukobench.results.run import read_run, scores_table

PROVENANCE = {"manifest", "leukobench"}  # facts of a table that say where it comes from, not how cells were measured


@dataclass(frozen=True)
class TrainedModel:
    """A model of a run folder, and what a table must be for it.

    Attributes:
        folder: The run folder.
        model: The model; of a cross-validation, the one fitted on every image, or that of a fold.
        columns: The columns that it was trained on, in order.
        facts: What `features.json` said of the training table.
    """

    folder: Path
    model: Model
    columns: list[str]
    facts: dict[str, Any]

    def check(self, table: FeatureTable, path: Path) -> None:
        """Refuse a table that was measured in another way than the training table.

        Raises:
            InputError: other columns, another feature set, version, setting or background, or nothing that says so.
        """
        lacking = [column for column in self.columns if column not in table.values.columns]
        surplus = [column for column in table.values.columns if column not in self.columns]
        trained, found = _measured(self.facts), _measured(table.facts)
        if lacking or surplus:
            differences = (("lacks {}", lacking), ("has {} besides", surplus))
            difference = [text.format(_some(columns)) for text, columns in differences if columns]
            raise InputError(
                f"{path}: {self.folder} was trained with {_describe(len(self.columns), trained)}; this table has "
                f"{_describe(table.values.shape[1], found)}: it {' and '.join(difference)}; extract the same set"
            )
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

    def predict(self, table: FeatureTable, path: Path) -> pd.DataFrame:
        """Score every row of a table.

        Returns:
            `path`, `score` (the probability of `all`) and `predicted`.

        Raises:
            InputError: see `check`.
        """
        self.check(table, path)
        score = self.model.predict_proba(table.values[self.columns].to_numpy())[:, 1]
        return scores_table(table.values.index, score)


def load_trained(folder: Path, fold: str | None = None) -> TrainedModel:
    """Load the model of a run folder of `train-svm` or `train-knn`.

    Args:
        folder: The run folder.
        fold: Of a cross-validation, the fold whose model is taken; None: the one fitted on every image.

    Raises:
        InputError: no such run folder or fold, a torn one, one of a network, or one that another version wrote.
    """
    run = read_run(folder)
    if run.info["family"] == "cnn":
        raise InputError(f"{folder}: is the run of a network, which scores images; name one of train-svm or train-knn")
    for name, trained, here in (
        ("leukobench", run.info["leukobench"], leukobench.__version__),
        ("scikit-learn", run.info["versions"]["scikit-learn"], importlib.metadata.version("scikit-learn")),
    ):
        if _minor(trained) != _minor(here):
            raise InputError(
                f"{folder}: was trained with {name} {trained}, and this is {here}, which may read the model otherwise; "
                f"install {name} {_minor(trained)}, or train again"
            )
    parameters = run.info["parameters"]
    return TrainedModel(folder, load_model(run.model_file(".skops", fold)), parameters["features"], parameters["table"])


def predict(folder: Path, table_path: Path) -> pd.DataFrame:
    """Score every row of a feature table by a run folder's model; see `TrainedModel.predict`."""
    trained = load_trained(folder)
    return trained.predict(read_feature_table(table_path), table_path)


def _measured(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts that say how cells were measured, those of nested tables by their own names."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        if name not in PROVENANCE:
            flat |= _measured(value) if isinstance(value, dict) else {name: value}
    return flat


def _describe(columns: int, facts: dict[str, Any]) -> str:
    words = [f"{columns} feature{'s' * (columns != 1)}"]
    if "feature_set" in facts:
        words.append(f"of set {facts['feature_set']}")
        words += [str(facts["feature_set_version"])] * ("feature_set_version" in facts)
    return " ".join(words)


def _some(columns: list[str]) -> str:
    return columns[0] if len(columns) == 1 else f"{len(columns)} columns (first: {columns[0]})"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
