"""All metrics of scored rows with their confidence intervals, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from leukobench.comparison.auroc import auroc, independent_pairs
from leukobench.comparison.calibration import calibration_intercept, calibration_slope, coefficient_interval
from leukobench.comparison.intervals import FEW_GROUPS, LEVEL, UNDECIDED, Estimate, Measured, SubjectGroups
from leukobench.comparison.weighted_metrics import (
    Scored,
    average_precision,
    brier_score,
    calibration_error,
    influences,
    thresholded_metrics,
)

EQUAL = ("subject_weighted_auroc", "subject_sensitivity", "subject_specificity")  # subjects are weighted equally
AUROCS = ("auroc", "subject_weighted_auroc", "pooled_auroc")
COEFFICIENTS = ("calibration_intercept", "calibration_slope")
ONE_CLASS = ("sensitivity", "specificity")  # ends of the names of metrics that depend on one class
NEED_GROUPS = ("balanced_accuracy", "matthews")  # with few groups, the coverage of their intervals is too low
UNDECIDED_ALONE = 0.5  # groups that are added for an interval of metrics that depend on one class
WITHOUT_INTERVAL = ("calibration_error",)  # it is biased upwards, so its interval might not contain the true value


def measure_score(rows: Scored) -> dict[str, Measured]:
    """Measure the metrics of the score itself; `pooled_auroc` only of a cross-validation."""
    found = {"auroc": auroc(rows), "subject_weighted_auroc": auroc(rows, equal=True)}
    if rows.fold is not None:
        found["pooled_auroc"] = auroc(_pooled(rows))
    numeric = influences(
        lambda weights: {
            "average_precision": average_precision(rows, weights),
            "brier": brier_score(rows, weights),
            "calibration_error": calibration_error(rows, weights),
        },
        rows.groups,
    )
    found |= {"average_precision": numeric["average_precision"], "brier": numeric["brier"]}
    found |= {"calibration_intercept": calibration_intercept(rows), "calibration_slope": calibration_slope(rows)}
    return found | {"calibration_error": numeric["calibration_error"]}


def measure_classes(rows: Scored, threshold: float | np.ndarray) -> dict[str, Measured]:
    """Measure the metrics of the classes that are predicted at a threshold: one for all rows, or one for each."""
    return influences(lambda weights: thresholded_metrics(rows, weights, threshold), rows.groups)


def mean_over_repeats(measured: Sequence[Mapping[str, Measured]]) -> dict[str, Measured]:
    """Return the mean of each metric over the repeats of a cross-validation."""
    return {name: Measured.mean([each[name] for each in measured]) for name in measured[0]}


def estimates(
    measured: Mapping[str, Measured], groups: SubjectGroups, repeats: Sequence[Scored], level: float = LEVEL
) -> dict[str, Estimate]:
    """Return each metric with its confidence interval.

    Args:
        measured: The metrics, by name; their mean over the repeats.
        groups: The subject groups.
        repeats: The rows as scored in each repeat of a cross-validation; else one.
        level: Confidence level.
    """
    return {name: estimate(name, each, groups, repeats, level) for name, each in measured.items()}


def estimate(
    name: str, measured: Measured, groups: SubjectGroups, repeats: Sequence[Scored], level: float = LEVEL
) -> Estimate:
    """Return one metric with its confidence interval; see `estimates`."""
    few = min(groups.of_class) < FEW_GROUPS and name in NEED_GROUPS
    if few or name in WITHOUT_INTERVAL:
        return Estimate(measured.value)
    if name in COEFFICIENTS:
        return coefficient_interval(repeats, groups, slope=name == "calibration_slope", level=level)
    if name == "matthews":  # from -1 to 1
        share = groups.logit_interval(Measured((measured.value + 1) / 2, measured.influence / 2), level=level)
        return Estimate(measured.value, 2 * share.low - 1, 2 * share.high - 1)
    classes: tuple[bool, ...] = (True, False)
    undecided = UNDECIDED
    if name.endswith(ONE_CLASS):
        classes, undecided = (name.endswith("sensitivity"),), UNDECIDED_ALONE
    return groups.logit_interval(
        measured,
        classes=classes,
        undecided=undecided,
        equal=name in EQUAL,
        level=level,
        independent=_independent(name, measured.value, groups, repeats[0]),
    )


def _independent(name: str, value: float, groups: SubjectGroups, rows: Scored) -> int:
    """Return the number of independent observations behind a metric of 0 or 1; 0 where it has no exact bound."""
    if name.endswith(ONE_CLASS):
        return groups.of_class[not name.endswith("sensitivity")]
    if name in AUROCS and value in (0, 1):
        return independent_pairs(_pooled(rows) if name == "pooled_auroc" else rows)
    return 0


def _pooled(rows: Scored) -> Scored:
    return Scored(rows.positive, rows.score, rows.group, rows.groups)
