"""Compute a comparison: run folders -> metrics with intervals, and tests of each pair of runs. No model is loaded."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from leukobench.cohort.manifest import LABELS, POSITIVE
from leukobench.comparison.bootstrap import Draws, Estimate, draw_groups
from leukobench.comparison.paired_tests import delong, holm, mcnemar
from leukobench.comparison.pairing import paired_test_rows, run_names
from leukobench.comparison.resampled_metrics import Scored, score_metrics, thresholded_metrics
from leukobench.comparison.results import (
    CHOSEN,
    FIXED,
    LEVELS,
    Assessment,
    ComparedRuns,
    Difference,
    ThresholdedMetrics,
    scored_rows,
)
from leukobench.results.metrics import THRESHOLD, best_threshold
from leukobench.results.run import RunFolder

P_VALUES = ("p", "delong_p", "mcnemar_p")  # of a `Difference`; each is corrected over the pairs


def assess(runs: Sequence[RunFolder], *, common: bool = False, allow_leaky: bool = False) -> ComparedRuns:
    """Compute the metrics of runs on their shared test rows, and test each pair.

    Args:
        runs: The runs.
        common: Whether to leave out rows that are not tested in every run.
        allow_leaky: Whether runs whose parts share subjects may be listed beside runs with a subject-level split.

    Raises:
        InputError: the runs may not be compared; see `leukobench.comparison.pairing.paired_test_rows`.
    """
    rows = paired_test_rows(runs, common=common, allow_leaky=allow_leaky)
    named = dict(zip(run_names(runs), runs, strict=True))
    subjects = _subjects(rows, list(named))
    draws = draw_groups(rows["label"], rows["subject_group"])
    scored: dict[tuple[str, str], Scored] = {}
    auroc: dict[tuple[str, str], np.ndarray] = {}
    assessments = []
    for name, run in named.items():
        for level, table in zip(LEVELS, (rows, subjects), strict=True):
            each = scored[name, level] = scored_rows(table, name, draws)
            metrics = score_metrics(each, draws.weights)
            auroc[name, level] = metrics["auroc"]
            thresholded = {rule: _thresholded(each, at, draws) for rule, at in _thresholds(run).items()}
            assessments.append(Assessment(name, level, _estimates(metrics, draws), thresholded))
    return ComparedRuns(
        runs=named,
        rows=rows,
        subjects=subjects,
        draws=draws,
        assessments=assessments,
        differences=_differences(named, scored, auroc, draws),
        dropped={name: len(run.part("test")) - len(rows) for name, run in named.items()},
        common=common,
        allow_leaky=allow_leaky,
    )


def _subjects(rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return one row a subject: the mean score of its cells, and the class of at least half of them."""
    of_subject = rows.groupby("subject")
    share = (rows["label"] == POSITIVE).groupby(rows["subject"]).mean()
    subjects = of_subject[["subject_group"]].first()
    return subjects.assign(label=np.where(share >= 0.5, *LABELS)).join(of_subject[names].mean())


def _thresholds(run: RunFolder) -> dict[str, float]:
    """Return the thresholds; one is chosen on validation where that part has both classes."""
    validation = run.part("validation")
    if set(validation["label"]) != set(LABELS):
        return {FIXED: THRESHOLD}
    return {
        FIXED: THRESHOLD,
        CHOSEN: best_threshold(validation["label"].to_numpy(), validation["score"].to_numpy()),
    }


def _thresholded(rows: Scored, threshold: float, draws: Draws) -> ThresholdedMetrics:
    hit, missed, false, rejected = (int(count) for count in rows.confusion(threshold).sum(axis=0))
    metrics = _estimates(thresholded_metrics(rows, draws.weights, threshold), draws)
    return ThresholdedMetrics(threshold, metrics, (hit, missed, false, rejected))


def _estimates(metrics: dict[str, np.ndarray], draws: Draws) -> dict[str, Estimate]:
    return {name: draws.estimate(values) for name, values in metrics.items()}


def _differences(
    runs: dict[str, RunFolder],
    scored: dict[tuple[str, str], Scored],
    auroc: dict[tuple[str, str], np.ndarray],
    draws: Draws,
) -> list[Difference]:
    """Test every pair of runs, and correct each kind of test over the pairs."""
    cells, subjects = LEVELS
    ranked = sorted(runs, key=lambda name: -auroc[name, cells][0])
    found = []
    for first, second in itertools.combinations(ranked, 2):
        one, two = scored[first, cells], scored[second, cells]
        gap = auroc[first, cells] - auroc[second, cells]
        first_only, second_only, mcnemar_p = mcnemar(_correct(one), _correct(two))
        found.append(
            Difference(
                better=first,
                other=second,
                auroc=draws.estimate(gap),
                p=draws.p_value(gap),
                subjects=draws.estimate(auroc[first, subjects] - auroc[second, subjects]),
                delong_p=delong(one.positive, one.score, two.score)[2],
                only=(first_only, second_only),
                mcnemar_p=mcnemar_p,
                leaky=(runs[first].info.leaky, runs[second].info.leaky),
            )
        )
    corrected = zip(*(holm([getattr(pair, name) for pair in found]) for name in P_VALUES), strict=True)
    return [
        replace(pair, p=p, delong_p=delong_p, mcnemar_p=mcnemar_p)
        for pair, (p, delong_p, mcnemar_p) in zip(found, corrected, strict=True)
    ]


def _correct(rows: Scored) -> np.ndarray:
    return (rows.score >= THRESHOLD) == rows.positive
