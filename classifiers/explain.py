"""Why a classifier called one cell what it did: which features pushed it which way, beside those of reference cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from leukobench.classifiers.attribution import contributions
from leukobench.classifiers.cells import LabelledCells
from leukobench.classifiers.model import Model
from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.results.metrics import predicted_class
from leukobench.results.run import DECIMALS


@dataclass(frozen=True)
class ClassifierExplanation:
    """Why a classifier called one cell what it did.

    Contributions are in probability of `all`: positive towards `all`, negative towards `hem`. Together they are `score`
    less `reference_score`.

    Attributes:
        path: The image.
        score: Probability of `all`.
        predicted: The class it was called.
        reference_score: Mean probability of `all` of the reference cells.
        references: How many there are.
        by_feature: `feature`, `family`, `value`, `unit`, `percentile_all`, `percentile_hem` (the share of the reference
            cells of a class that have less, half of those that have the same included, in percent), `contribution`,
            `standard_error`; the largest contribution first.
        by_family: `family`, `features` (how many), `contribution`, `standard_error`; the largest first.
    """

    path: Path
    score: float
    predicted: str
    reference_score: float
    references: int
    by_feature: pd.DataFrame
    by_family: pd.DataFrame

    def line(self) -> str:
        """Say it in a line."""
        return (
            f"{self.path}: called {self.predicted} (probability of all {self.score:.3f}, mean of {self.references} "
            f"reference cells {self.reference_score:.3f}); {self._pushed(POSITIVE, 1)}; {self._pushed(NEGATIVE, -1)}"
        )

    def _pushed(self, towards: str, sign: int) -> str:
        """Say which families pushed one way, and the feature that pushed most."""
        families, features = (
            [f"{name} {value:+.3f}" for name, value in table.iloc[:, [0, -2]].to_numpy() if sign * value > 0]
            for table in (self.by_family, self.by_feature)
        )
        most = f"most of all {features[0]}" if features else "nothing"
        return f"towards {towards}: " + ", ".join([*families, most])


def explain_cell(
    model: Model,
    reference: LabelledCells,
    values: Mapping[str, float],
    path: Path,
    units: Mapping[str, str],
) -> ClassifierExplanation:
    """Explain what a model calls one cell; see `leukobench.classifiers.attribution`.

    The standard error of a contribution is that of the mean over the reference cells, each walked from in its own
    orders: how far other reference cells and other orders would move it. It counts cells as if they were independent.

    Args:
        model: The model.
        reference: Cells that it was trained on, of both classes.
        values: Each feature of the cell, in the order that the model was trained on.
        path: Name of the image.
        units: Unit of each feature, "1" where it has none.
    """
    names, cell = list(values), np.array(list(values.values()), float)

    def score(features: np.ndarray) -> np.ndarray:
        return model.predict_proba(features)[:, 1]

    with threadpool_limits(1):  # the products are small: more threads would mostly wait for each other
        moved = contributions(score, cell, reference.features)
        own, of_reference = (np.round(score(cells), DECIMALS) for cells in (cell[None], reference.features))
    family = np.array([name.partition("_")[0] for name in names])
    by_feature = pd.DataFrame(
        {
            "feature": names,
            "family": family,
            "value": cell,
            "unit": [units[name] for name in names],
            "percentile_all": _percentile(cell, reference.features[reference.positive]),
            "percentile_hem": _percentile(cell, reference.features[~reference.positive]),
            **_mean_and_error(moved),
        }
    )
    families, sizes = np.unique(family, return_counts=True)
    of_family = np.column_stack([moved[:, family == name].sum(axis=1) for name in families])
    by_family = pd.DataFrame({"family": families, "features": sizes, **_mean_and_error(of_family)})
    return ClassifierExplanation(
        path=path,
        score=float(own[0]),
        predicted=str(predicted_class(own)[0]),
        reference_score=float(np.round(of_reference.mean(), DECIMALS)),
        references=len(reference),
        by_feature=_largest_first(by_feature),
        by_family=_largest_first(by_family),
    )


def explanations_table(explanations: Sequence[ClassifierExplanation]) -> pd.DataFrame:
    """Return one row an image: how it was called, and the sum of each family's contributions."""
    return pd.DataFrame(
        {
            "path": found.path.as_posix(),
            "score": found.score,
            "predicted": found.predicted,
            "reference_score": found.reference_score,
            **found.by_family.set_index("family")["contribution"].sort_index(),
        }
        for found in explanations
    )


def _mean_and_error(moved: np.ndarray) -> dict[str, np.ndarray]:
    """Return the mean of each column over reference cells, and its standard error."""
    error = moved.std(axis=0, ddof=1) / np.sqrt(len(moved))
    # + 0.0: what rounds to nothing is 0, not -0
    return {"contribution": np.round(moved.mean(axis=0), DECIMALS) + 0.0, "standard_error": np.round(error, DECIMALS)}


def _percentile(cell: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return of each feature how many of other cells have less, half of those with the same included, in percent."""
    return 100 * ((others < cell).mean(axis=0) + (others == cell).mean(axis=0) / 2)


def _largest_first(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values("contribution", key=np.abs, ascending=False, kind="stable", ignore_index=True)
