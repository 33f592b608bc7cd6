"""Compute a comparison: run folders -> metrics with intervals, and tests of each pair of runs. No model is loaded."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from leukobench.cohort.manifest import LABELS, POSITIVE
from leukobench.comparison.auroc import swap_contributions
from leukobench.comparison.intervals import Estimate, Measured, SubjectGroups
from leukobench.comparison.measuring import EQUAL, estimates, mean_over_repeats, measure_classes, measure_score
from leukobench.comparison.paired_tests import MARGIN, delong, detectable, holm, mcnemar, swap_test
from leukobench.comparison.pairing import COHORT_COLUMNS, paired_test_rows, run_names
from leukobench.comparison.results import (
    CHOSEN,
    FIXED,
    LEVELS,
    Assessment,
    CellLevelTests,
    ComparedRuns,
    Difference,
    Gap,
    ThresholdedMetrics,
    Thresholds,
    row_thresholds,
    scored_rows,
)
from leukobench.comparison.weighted_metrics import Scored
from leukobench.results.metrics import THRESHOLD
from leukobench.results.run import RunFolder
from leukobench.results.thresholds import YOUDEN, fold_thresholds

OF_CELLS = ("subject_weighted_auroc", "calibration_intercept", "calibration_slope", "calibration_error")


def assess(
    runs: Sequence[Sequence[RunFolder]],
    *,
    common: bool = False,
    allow_leaky: bool = False,
    sensitivity: float | None = None,
    margin: float = MARGIN,
) -> ComparedRuns:
    """Compute the metrics of runs on their shared test rows, and test each pair.

    Args:
        runs: The repeats of each run; one without repeats.
        common: Whether to leave out rows that are not tested in every run.
        allow_leaky: Whether runs whose parts share subjects may be listed beside runs with a subject-level split.
        sensitivity: Sensitivity that the threshold chosen on validation must reach there; None: the threshold of the
            highest Youden's J.
        margin: Margin of equivalence of two AUROCs.

    Raises:
        InputError: the runs may not be compared; see `leukobench.comparison.pairing.paired_test_rows`.
    """
    named = dict(zip(run_names(runs), map(tuple, runs), strict=True))
    paired = paired_test_rows(named, common=common, allow_leaky=allow_leaky)
    of_level = dict(
        zip(LEVELS, (paired.tables, [_subjects(table, list(named)) for table in paired.tables]), strict=True)
    )
    groups = {level: SubjectGroups.of(of[0]["label"], of[0]["subject_group"]) for level, of in of_level.items()}
    scored = {
        (name, level): [scored_rows(table, table[name].to_numpy(), groups[level]) for table in tables]
        for name in named
        for level, tables in of_level.items()
    }
    measured = {key: [measure_score(rows) for rows in repeats] for key, repeats in scored.items()}
    of_cells = {name: measured[name, LEVELS[0]] for name in named}
    assessments = []
    for name, repeats in named.items():
        thresholds = [_thresholds(run, sensitivity) for run in repeats]
        for level, tables in of_level.items():
            rows = scored[name, level]
            assessments.append(
                Assessment(
                    name,
                    level,
                    _score_metrics(measured[name, level], rows, groups[level], level),
                    {
                        rule: _thresholded(rows, tables, [each[rule] for each in thresholds], groups[level], level)
                        for rule in thresholds[0]
                    },
                )
            )
    cells, subjects = (of_level[level][0] for level in LEVELS)
    return ComparedRuns(
        runs={name: repeats[0] for name, repeats in named.items()},
        repeats=named,
        rows=cells,
        subjects=subjects,
        groups=groups[LEVELS[0]],
        assessments=assessments,
        differences=_differences(
            named, {name: scored[name, LEVELS[0]] for name in named}, of_cells, groups[LEVELS[0]], margin
        ),
        dropped=paired.dropped,
        common=common,
        allow_leaky=allow_leaky,
        sensitivity=sensitivity,
        margin=margin,
        repeat_aurocs=pd.DataFrame({name: [each["auroc"].value for each in of_cells[name]] for name in named}),
    )


def _subjects(rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return one row a subject: the mean score of its cells, and the class of at least half of them."""
    of_subject = rows.groupby("subject")
    share = (rows["label"] == POSITIVE).groupby(rows["subject"]).mean()
    subjects = of_subject[["subject_group", "fold"]].first()
    # of an image-level split, a subject is tested in several folds
    if (of_subject["fold"].nunique(dropna=False) > 1).any():
        subjects["fold"] = pd.NA
    subjects = subjects.assign(label=np.where(share >= 0.5, *LABELS))
    return subjects[[*COHORT_COLUMNS[1:], "fold"]].join(of_subject[names].mean())


def _thresholds(run: RunFolder, sensitivity: float | None) -> dict[str, Thresholds]:
    """Return the thresholds of each fold; one is chosen on validation where every fold has both classes there."""
    folds: list[int | None] = [*run.folds]
    fixed: dict[str, Thresholds] = {FIXED: dict.fromkeys(folds or [None], THRESHOLD)}
    chosen = fold_thresholds(run, YOUDEN if sensitivity is None else sensitivity)
    return fixed | {CHOSEN: chosen} if chosen else fixed


def _score_metrics(
    of_repeats: Sequence[Mapping[str, Measured]], repeats: Sequence[Scored], groups: SubjectGroups, level: str
) -> dict[str, Estimate]:
    measured = mean_over_repeats(of_repeats)
    if level != LEVELS[0]:  # a subject is a row there, and its mean score is no probability that could be calibrated
        measured = {name: each for name, each in measured.items() if name not in OF_CELLS}
    return estimates(measured, groups, repeats)


def _thresholded(
    repeats: Sequence[Scored],
    tables: Sequence[pd.DataFrame],
    thresholds: Sequence[Thresholds],
    groups: SubjectGroups,
    level: str,
) -> ThresholdedMetrics:
    at = [row_thresholds(by_fold, table) for by_fold, table in zip(thresholds, tables, strict=True)]
    measured = mean_over_repeats([measure_classes(rows, each) for rows, each in zip(repeats, at, strict=True)])
    if level != LEVELS[0]:
        measured = {name: each for name, each in measured.items() if not name.startswith("subject_")}
    hit, missed, false, rejected = (int(count) for count in repeats[0].confusion(at[0]).sum(axis=0))
    return ThresholdedMetrics(thresholds[0], estimates(measured, groups, repeats), (hit, missed, false, rejected))


def _differences(
    runs: Mapping[str, Sequence[RunFolder]],
    scored: Mapping[str, Sequence[Scored]],
    measured: Mapping[str, Sequence[Mapping[str, Measured]]],
    groups: SubjectGroups,
    margin: float,
) -> list[Difference]:
    """Test every pair of runs, and correct each kind of test over the pairs."""
    mean = {name: mean_over_repeats(of_repeats) for name, of_repeats in measured.items()}
    ranked = sorted(scored, key=lambda name: -mean[name]["auroc"].value)
    found = []
    for first, second in itertools.combinations(ranked, 2):
        cells, subjects = (
            _gap(
                mean[first][metric] - mean[second][metric],
                scored[first],
                scored[second],
                groups,
                metric in EQUAL,
                margin,
            )
            for metric in ("auroc", "subject_weighted_auroc")
        )
        leaky = (runs[first][0].info.leaky, runs[second][0].info.leaky)
        tests = _cell_level(scored[first][0], scored[second][0])
        found.append(Difference(first, second, cells, subjects, tests, leaky))
    return _corrected(found)


def _gap(
    difference: Measured,
    first: Sequence[Scored],
    second: Sequence[Scored],
    groups: SubjectGroups,
    equal: bool,
    margin: float,
) -> Gap:
    """Return the difference of two AUROCs with its interval, test and power; both runs have the same repeats."""
    pairs = zip(first, second, strict=True)
    contributions = np.mean([swap_contributions(one, two, equal=equal) for one, two in pairs], axis=0)
    could = detectable(difference, groups, equal=equal, margin=margin)
    return Gap(groups.interval(difference, equal=equal), swap_test(contributions), could)


def _cell_level(first: Scored, second: Scored) -> CellLevelTests:
    first_only, second_only, mcnemar_p = mcnemar(_correct(first), _correct(second))
    return CellLevelTests(delong(first.positive, first.score, second.score)[2], (first_only, second_only), mcnemar_p)


def _corrected(pairs: Sequence[Difference]) -> list[Difference]:
    """Correct each kind of p-value over the pairs by Holm's method."""
    cells, subjects = holm([pair.auroc.p for pair in pairs]), holm([pair.subject_weighted.p for pair in pairs])
    delongs, mcnemars = (holm([getattr(pair.cell_level, name) for pair in pairs]) for name in ("delong_p", "mcnemar_p"))
    return [
        dataclasses.replace(
            pair,
            auroc=dataclasses.replace(pair.auroc, p=cells[number]),
            subject_weighted=dataclasses.replace(pair.subject_weighted, p=subjects[number]),
            cell_level=dataclasses.replace(pair.cell_level, delong_p=delongs[number], mcnemar_p=mcnemars[number]),
        )
        for number, pair in enumerate(pairs)
    ]


def _correct(rows: Scored) -> np.ndarray:
    return (rows.score >= THRESHOLD) == rows.positive
