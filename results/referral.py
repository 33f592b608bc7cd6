"""Which cells are to be looked at by eye, by thresholds from the validation part of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from leukobench.cohort.manifest import LABELS, POSITIVE
from leukobench.core.errors import InputError
from leukobench.results.metrics import THRESHOLD, threshold_at_sensitivity
from leukobench.results.run import RunFolder
from leukobench.results.weights import cell_weights


@dataclass(frozen=True)
class Referral:
    """The scores of the cells that are referred: at least `low` and below `high`."""

    low: float
    high: float

    def apply(self, scored: pd.DataFrame) -> pd.DataFrame:
        """Return predictions with the column `refer`; out-of-distribution cells are referred, whatever their score."""
        between = (scored["score"] >= self.low) & (scored["score"] < self.high)
        unlike = scored.get("out_of_distribution", False)
        return scored.assign(refer=between | unlike)


def refer_share(run: RunFolder, share: float, fold: int | None = None) -> Referral:
    """Refer the least certain cells, those closest to 0.5: a share of the validation cells, subjects weighted equally.

    Args:
        run: The run.
        share: Share of the cells, above 0 and below 1.
        fold: Of a cross-validation, the fold whose validation part is used; None for those of all folds.

    Raises:
        InputError: a share outside (0, 1), or a run without a validation part.
    """
    if not 0 < share < 1:
        raise InputError(f"share {share}: is not above 0 and below 1")
    rows = _validation_rows(run, fold)
    margin = (rows["score"] - THRESHOLD).abs().to_numpy()
    weight = cell_weights("subject", (rows["label"] == POSITIVE).to_numpy(), rows["subject_group"].to_numpy())
    order = np.argsort(margin, kind="stable")
    at = np.searchsorted(np.cumsum(weight[order]) / weight.sum(), share - 1e-9)
    widest = float(margin[order][at])
    return Referral(THRESHOLD - widest, float(np.nextafter(THRESHOLD + widest, 2)))


def refer_for_sensitivity(run: RunFolder, sensitivity: float, fold: int | None = None) -> Referral:
    """Refer the cells predicted normal that cannot be called so at a sensitivity.

    These are the cells with a score below 0.5 and at least the threshold that reaches the sensitivity on validation
    cells. Where 0.5 reaches it, no cell is referred for its score.

    Args:
        run: The run.
        sensitivity: Share of the blasts of the validation part that must be predicted `all` or referred, in (0, 1].
        fold: See `refer_share`.

    Raises:
        InputError: a sensitivity outside (0, 1], or a run without a validation part.
    """
    rows = _validation_rows(run, fold)
    return Referral(
        threshold_at_sensitivity(rows["label"].to_numpy(), rows["score"].to_numpy(), sensitivity), THRESHOLD
    )


def _validation_rows(run: RunFolder, fold: int | None) -> pd.DataFrame:
    rows = run.part("validation", fold)
    if set(rows["label"]) != set(LABELS):
        raise InputError(
            f"{run.folder}: has no validation cells of both classes, from which the thresholds of a referral come; "
            "split with a validation part and train again"
        )
    return rows
