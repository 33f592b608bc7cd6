"""What each figure of a report shows, in words and with its values: for people who cannot see it, and on hover."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from leukobench.cohort.manifest import LABELS, POSITIVE
from leukobench.comparison.curves import net_benefit
from leukobench.comparison.referral import error_at
from leukobench.comparison.results import ComparedRuns
from leukobench.comparison.tables import metric_text
from leukobench.core.text import listed
from leukobench.results.metrics import THRESHOLD

MOST_RUNS = 10  # of which the values are told


def alt_texts(comparison: ComparedRuns, referral: pd.DataFrame, settling: pd.DataFrame) -> dict[str, str]:
    """Return a text for each figure of `leukobench.comparison.plots.draw_figures`, by the name of its file.

    Args:
        comparison: The compared runs.
        referral: Its table of `leukobench.comparison.referral`.
        settling: Its table of `leukobench.comparison.settling`.
    """

    def metric(key: str) -> Callable[[str], str]:
        return lambda name: metric_text(comparison, key, comparison.assessment(name).metrics[key])

    auroc, weighted = metric("auroc"), metric("subject_weighted_auroc")
    none, fifth = error_at(referral, 0), error_at(referral, 0.2)
    shown: dict[str, tuple[str, Callable[[str], str]]] = {
        "auroc": (
            "AUROC with its interval, cells weighted equally and subjects weighted equally",
            lambda name: f"{auroc(name)} and {weighted(name)}",
        ),
        "roc": ("ROC curves; area under the curve", auroc),
        "precision_recall": ("Precision-recall curves; average precision", metric("average_precision")),
        "calibration": (
            f"Observed share of {comparison.classes.in_words(POSITIVE)} over its predicted probability; slope",
            metric("calibration_slope"),
        ),
        "decision": (
            "Decision curves; net benefit at the threshold 0.5",
            lambda name: f"{net_benefit(comparison.scored(name), np.array([THRESHOLD]))[0]:.3f}",
        ),
        "scores": ("Distribution of the scores of each class; medians", lambda name: _medians(comparison, name)),
        "subjects": ("Mean score of every subject; on the right side of 0.5", lambda name: _right(comparison, name)),
        "referral": (
            "Error of the answered cells with 0% and with 20% of the cells referred",
            lambda name: f"{none[name]:.3f} and {fifth[name]:.3f}",
        ),
        "settling": (
            "AUROC of the subject groups over the number of cells of each",
            lambda name: _settled(settling[settling["run"] == name]),
        ),
        "training": ("Loss and validation AUROC over the epochs; epochs", lambda name: _epochs(comparison, name)),
    }
    return {
        file: f"{title}: {listed([f'{name} {values(name)}' for name in comparison.runs], MOST_RUNS)}"
        for file, (title, values) in shown.items()
    }


def _medians(comparison: ComparedRuns, name: str) -> str:
    median = comparison.rows[name].groupby(comparison.rows["label"]).median()
    return " and ".join(f"{median[label]:.3f} ({comparison.classes[label]})" for label in LABELS)


def _right(comparison: ComparedRuns, name: str) -> str:
    subjects = comparison.subjects
    right = (subjects[name] >= THRESHOLD) == (subjects["label"] == POSITIVE)
    of_class = {label: right[subjects["label"] == label] for label in LABELS}
    return " and ".join(f"{int(of.sum())} of {len(of)} {comparison.classes[label]}" for label, of in of_class.items())


def _epochs(comparison: ComparedRuns, name: str) -> str:
    history = comparison.runs[name].history
    return "none" if history is None else str(int(history["epoch"].max()))


def _settled(rows: pd.DataFrame) -> str:
    few, all_cells = rows.iloc[0], rows.iloc[-1]
    return " and ".join(f"{each['subject_auroc']:.3f} ({each['cells']})" for each in (few, all_cells))
