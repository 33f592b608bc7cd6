"""Calibration of the probabilities of every model on the validation part, the same for both families.

    score = expit(intercept + slope * logit(raw_score))

Here `raw_score` is the model's own probability: of SVM and k-NN, calibrated on out-of-fold decision values of the
training part; of a network, its output. Most networks are trained with weights that balance the classes, so that their
outputs are too low for blasts, which are the larger class, and many are overconfident. After a calibration on the same
validation cells, at the same class share, the threshold 0.5 means the same for all models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from leukobench.cohort.manifest import LABELS, POSITIVE
from leukobench.core.errors import InputError
from leukobench.results.weights import cell_weights

DECIMALS = 9  # of a probability in a run folder
PRIOR_SD = (2.0, 0.5)  # of intercept and slope, around 0 and 1; chosen by benchmarks/calibration.py
BELOW_CHANCE = "the scores of its subject groups were below chance, so that calibration would have reversed their order"


@dataclass(frozen=True)
class Calibration:
    """A logistic calibration, as `fit_calibration` returns it.

    Attributes:
        intercept: Shift of the logits; positive if the raw probabilities were too low.
        slope: Factor of the logits; less than 1 if the raw probabilities were overconfident.
        groups: Number of subject groups that it was fitted on.
        cells: Number of cells that it was fitted on.
        share: Share of blasts among subject groups for which the intercept holds.
    """

    intercept: float
    slope: float
    groups: int
    cells: int
    share: float

    @classmethod
    def from_json(cls, content: Any, name: str) -> Calibration:
        """Check and return the attributes in a JSON file.

        Raises:
            InputError: an attribute is missing, or is not a number; the message starts with `name`.
        """
        try:
            intercept, slope, share = (float(content[each]) for each in ("intercept", "slope", "share"))
            found = cls(intercept, slope, int(content["groups"]), int(content["cells"]), share)
        except (KeyError, TypeError, ValueError):
            found = None
        if (
            found is None
            or asdict(found) != content
            or not found.slope > 0
            or not np.isfinite(found.intercept)
            or not 0 < found.share < 1
        ):
            raise InputError(
                f"{name}: is not intercept, positive slope, groups, cells and share (between 0 and 1) in numbers; "
                "train again"
            )
        return found


def calibrated(raw_score: np.ndarray, calibration: Calibration | None) -> np.ndarray:
    """Return calibrated probabilities.

    A probability is rounded to the decimals of `predictions.csv` first, so that the columns `raw_score` and `score` of
    a run agree. The probabilities 0 and 1 are taken as the nearest ones that do not round to another value.

    Args:
        raw_score: Probability of `all` by the model. [shape=(n,)]
        calibration: A calibration; with None the probabilities are returned as they are.

    >>> calibrated(np.array([0.2, 0.5, 0.8]), Calibration(0.0, 0.5, groups=8, cells=400, share=0.5)).round(3)
    array([0.333, 0.5  , 0.667])
    """
    if calibration is None:
        return np.asarray(raw_score, float)
    return expit(calibration.intercept + calibration.slope * log_odds(raw_score))


def fit_calibration(
    raw_score: np.ndarray,
    positive: np.ndarray,
    group: np.ndarray,
    *,
    share: float | None = None,
    prior_sd: tuple[float, float] = PRIOR_SD,
) -> Calibration | None:
    """Fit intercept and slope by penalised maximum likelihood, and shift the intercept to another class share.

    With p the calibrated probability, y the class (1: `all`) and w the weight of a cell, the fit minimises

        - sum of w * (y * log(p) + (1 - y) * log(1 - p)) + ((intercept / sd_1)^2 + ((slope - 1) / sd_2)^2) / 2

    Cells of one subject group resemble each other, so a group counts as one observation, whatever its number of cells:
    the groups of a class have equal weight, their weights add up to the class's share of the cells times the number of
    groups, and those of all cells to the number of groups.

    A validation part has few groups, often three of a class. The penalty, a normal prior around the model's own
    probability, keeps them from deciding more than they can, and bounds the fit where the classes are separated. With
    many groups it loses its influence. benchmarks/RESULTS.md compares this fit with others.

    The fit holds for the class share of these cells. With `share`, the intercept is that for another share of blasts
    among subject groups. By Bayes' theorem a change of the class share adds a constant to the logits:

        intercept = fitted intercept + logit(share) - logit(share of blasts among the groups of the fit)

    Args:
        raw_score: Probability of `all` by the model. [shape=(n,)]
        positive: Which cells are blasts; both classes must be present. [shape=(n,), bool]
        group: Subject group of each cell. [shape=(n,)]
        share: Share of blasts among subject groups for which the probabilities are to hold, above 0 and below 1; with
            None, that of the groups of the fit, so that the intercept is not shifted.
        prior_sd: Standard deviations of the prior of intercept and slope, around 0 and 1.

    Returns:
        The calibration; None if the slope would not be positive, which would reverse the order of the scores: they are
        below chance on these subjects.

    Source: Cox, D. R. (1958). Two further applications of a model for binary regression. Biometrika 45(3/4). Platt, J.
    (1999) fits the same curve to decision values, with other targets instead of a penalty. The shift: Saerens, M.,
    Latinne, P., Decaestecker, C. (2002). Adjusting the outputs of a classifier to new a priori probabilities. Neural
    Computation 14(1).

    >>> group = np.repeat(np.arange(6), 10)
    >>> raw_score, positive = np.where(group < 3, 0.7, 0.4), group < 3
    >>> equal, twice = (fit_calibration(raw_score, positive, group, share=share) for share in (1 / 2, 2 / 3))
    >>> round(float(np.exp(twice.intercept - equal.intercept)), 6)  # ratio of the odds
    2.0
    """
    positive = np.asarray(positive, bool)
    groups, own_share = len(np.unique(group)), group_share(positive, group)
    share = own_share if share is None else share
    class_share = np.where(positive, positive.mean(), 1 - positive.mean())
    weight = cell_weights("class-subject", positive, np.asarray(group)) * class_share
    weight *= groups / weight.sum()
    x, sign = log_odds(raw_score), np.where(positive, 1, -1)

    def loss(shift: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the penalised loss and its gradient; the shift is in standard deviations of the prior."""
        logits = shift[0] * prior_sd[0] + (1 + shift[1] * prior_sd[1]) * x
        excess = weight * (expit(logits) - positive)
        gradient = np.array([excess.sum(), excess @ x]) * prior_sd + shift
        return float(-weight @ log_expit(sign * logits) + shift @ shift / 2), gradient

    shift = minimize(loss, (0.0, 0.0), jac=True, method="BFGS", options={"gtol": 1e-8}).x
    intercept = float(shift[0] * prior_sd[0] + logit(share) - logit(own_share))
    slope = float(1 + shift[1] * prior_sd[1])
    return Calibration(intercept, slope, groups, len(positive), float(share)) if slope > 0 else None


def group_share(positive: np.ndarray, group: np.ndarray) -> float:
    """Return the share of blasts among subject groups; a group with cells of both classes counts once in each.

    Args:
        positive: Which cells are blasts. [shape=(n,), bool]
        group: Subject group of each cell. [shape=(n,)]

    >>> group_share(np.array([True, True, True, False, False]), np.array(["1", "1", "2", "H1", "H2"]))
    0.5
    """
    return float(pd.DataFrame({"positive": positive, "group": group}).drop_duplicates()["positive"].mean())


def calibrate_on_validation(
    rows: pd.DataFrame, raw_score: np.ndarray, validating: pd.Series, development: pd.DataFrame
) -> tuple[Calibration | None, str]:
    """Fit the calibration of a model on its validation rows, for the class share of the training and validation part.

    A validation part often has equally many subject groups of each class, whatever their share in the cohort. A
    calibration for that share would make the probabilities of the larger class too low. On 4,198 images of 31 groups
    of blasts and 16 of normal cells, with 3 and 3 groups in each validation part, the mean log loss of three models
    on test cells is 0.439 with the share of the groups of training and validation, 0.468 with that of validation alone,
    and 0.466 without calibration (benchmarks/RESULTS.md).

    Args:
        rows: Rows of a partition.
        raw_score: Probability of `all` by the model, of each row. [shape=(n,)]
        validating: Which rows are of the validation part.
        development: Rows of the training and the validation part.

    Returns:
        The calibration, and ""; or None, and the reason.
    """
    held = rows[validating]
    if held.empty:
        return None, "the split has no validation part"
    missing = [label for label in LABELS if label not in set(held["label"])]
    if missing:
        return None, f"the validation part has no cell of the class {missing[0]}"
    share = group_share(development["label"] == POSITIVE, development["subject_group"])
    positive = (held["label"] == POSITIVE).to_numpy()
    group = held["subject_group"].to_numpy()
    calibration = fit_calibration(raw_score[validating.to_numpy()], positive, group, share=share)
    return calibration, "" if calibration else BELOW_CHANCE


def notes_by_fold(not_calibrated: Mapping[int | None, str]) -> list[str]:
    """Return the notes of a run on models that were not calibrated on validation, from the reason of each fold.

    >>> notes_by_fold({0: "", 1: "too few", 2: "too few"})
    ['not calibrated on validation (folds 1, 2): too few']
    """
    folds: dict[str, list[str]] = {}
    for fold, reason in not_calibrated.items():
        if reason:
            folds.setdefault(reason, []).append("" if fold is None else str(fold))
    notes = []
    for reason, found in folds.items():
        where = "" if len(found) == len(not_calibrated) else f" (fold{'s' * (len(found) > 1)} {', '.join(found)})"
        notes.append(f"not calibrated on validation{where}: {reason}")
    return notes


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Return log(p / (1 - p)), rounded as in `predictions.csv`; 0 and 1 count as the nearest that round to no other.

    >>> log_odds(np.array([0.5, 0.9])).round(3)
    array([0.   , 2.197])
    """
    least = 10.0**-DECIMALS / 2
    return logit(np.clip(np.round(np.asarray(probability, float), DECIMALS), least, 1 - least))
