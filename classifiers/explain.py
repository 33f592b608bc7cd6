"""The explanation of one prediction: the contribution of each feature, relative to reference cells."""

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
from leukobench.cohort.class_names import CNMC, ClassNames
from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.core.text import printable
from leukobench.results.calibration import DECIMALS
from leukobench.results.metrics import predicted_class


@dataclass(frozen=True)
class ClassifierExplanation:
    """The explanation of one prediction.

    Contributions are in probability of `all`, calibrated as in training: positive towards `all`, negative towards
    `hem`. Their sum is `score` minus `reference_score`.

    Attributes:
        path: The image.
        score: Probability of `all`.
        predicted: The predicted class.
        reference_score: Mean probability of `all` of the reference cells.
        references: Number of reference cells.
        by_feature: `feature`, `family`, `value`, `unit`, `percentile_all`, `percentile_hem` (percentile of
            the value among the reference cells of a class: the share with a smaller value plus half of those with the
            same value, in percent), `contribution`,
            `standard_error`; the largest contribution first.
        by_family: `family`, `features` (number), `contribution`, `standard_error`; the largest first.
        classes: What the classes are called.
    """

    path: Path
    score: float
    predicted: str
    reference_score: float
    references: int
    by_feature: pd.DataFrame
    by_family: pd.DataFrame
    classes: ClassNames = CNMC

    def line(self) -> str:
        """Return a summary in one line."""
        predicted, positive = self.classes[self.predicted], self.classes.positive
        return (
            f"{self.path}: predicted {predicted} (probability of {positive} {self.score:.3f}, mean of "
            f"{self.references} reference cells {self.reference_score:.3f}); {self._towards(POSITIVE, 1)}; "
            f"{self._towards(NEGATIVE, -1)}"
        )

    def _towards(self, towards: str, sign: int) -> str:
        """Return the families that contribute to one class, and the feature with the largest contribution."""
        families, features = (
            [f"{name} {value:+.3f}" for name, value in table.iloc[:, [0, -2]].to_numpy() if sign * value > 0]
            for table in (self.by_family, self.by_feature)
        )
        most = f"largest {features[0]}" if features else "nothing"
        return f"towards {self.classes[towards]}: " + ", ".join([*families, most])


def explain_cell(
    model: Model,
    reference: LabelledCells,
    values: Mapping[str, float],
    path: Path,
    units: Mapping[str, str],
    classes: ClassNames = CNMC,
) -> ClassifierExplanation:
    """Explain the prediction of one cell; see `leukobench.classifiers.attribution`.

    The standard error of a contribution is that of the mean over the reference cells, each with its
    own orders: it covers the choice of reference cells and of orders. It treats cells as independent.

    Args:
        model: The model.
        reference: Cells that it was trained on, of both classes.
        values: Each feature of the cell, in the order that the model was trained on.
        path: Name of the image.
        units: Unit of each feature, "1" where it has none.
        classes: What the classes are called.
    """
    names, cell = list(values), np.array(list(values.values()), float)

    def score(features: np.ndarray) -> np.ndarray:
        return model.predict_proba(features)[:, 1]

    with threadpool_limits(1):  # the matrix products are too small for several threads
        contribution = contributions(score, cell, reference.features)
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
            **_mean_and_error(contribution),
        }
    )
    families, sizes = np.unique(family, return_counts=True)
    of_family = np.column_stack([contribution[:, family == name].sum(axis=1) for name in families])
    by_family = pd.DataFrame({"family": families, "features": sizes, **_mean_and_error(of_family)})
    return ClassifierExplanation(
        path=path,
        score=float(own[0]),
        predicted=str(predicted_class(own)[0]),
        reference_score=float(np.round(of_reference.mean(), DECIMALS)),
        references=len(reference),
        by_feature=_largest_first(by_feature),
        by_family=_largest_first(by_family),
        classes=classes,
    )


def explanations_table(explanations: Sequence[ClassifierExplanation]) -> pd.DataFrame:
    """Return one row an image: its prediction, and the sum of each family's contributions."""
    table = pd.DataFrame(
        {
            "path": printable(found.path.as_posix()),
            "score": found.score,
            "predicted": found.predicted,
            "reference_score": found.reference_score,
            **found.by_family.set_index("family")["contribution"].sort_index(),
        }
        for found in explanations
    )
    return explanations[0].classes.add_beside(table, "predicted")


def _mean_and_error(contribution: np.ndarray) -> dict[str, np.ndarray]:
    """Return the mean of each column over reference cells, and its standard error."""
    error = contribution.std(axis=0, ddof=1) / np.sqrt(len(contribution))
    # + 0.0 makes -0.0 0.0
    return {
        "contribution": np.round(contribution.mean(axis=0), DECIMALS) + 0.0,
        "standard_error": np.round(error, DECIMALS),
    }


def _percentile(cell: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the percentile of each feature among other cells; half of the equal values count. [%]"""
    return 100 * ((others < cell).mean(axis=0) + (others == cell).mean(axis=0) / 2)


def _largest_first(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values("contribution", key=np.abs, ascending=False, kind="stable", ignore_index=True)
