from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leukobench.core.errors import InputError
from leukobench.results.metrics import best_threshold, classification_metrics, threshold_at_sensitivity
from leukobench.results.run import RunFolder, predictions_table
from leukobench.results.run_info import RunInfo
from leukobench.results.thresholds import fold_thresholds


def run_of(tables: list[pd.DataFrame]) -> RunFolder:
    info = RunInfo(
        family="svm",
        recipe="a-recipe",
        parameters={},
        background="black",
        seed=0,
        split="kfold folds=2",
        leaky=False,
        shared_subject_groups=0,
        checksums={},
        seconds={},
        command=(),
    )
    return RunFolder(Path("run"), info, pd.concat(tables, ignore_index=True), {}, None)


def rows(part: list[str], label: str = "all hem all hem all hem") -> pd.DataFrame:
    subject = [str(number) for number in range(len(part))]
    return pd.DataFrame(
        {
            "path": [f"{name}.bmp" for name in subject],
            "subject": subject,
            "subject_group": subject,
            "label": label.split()[: len(part)],
            "part": part,
        }
    )


def test_each_fold_has_the_threshold_of_its_own_validation_rows() -> None:
    part = ["validation"] * 4 + ["test"] * 2
    run = run_of(
        [
            predictions_table(rows(part), np.array([0.9, 0.7, 0.8, 0.1, 0, 1]), 0),
            predictions_table(rows(part[::-1]), np.array([0, 1, 0.3, 0.1, 0.25, 0.15]), 1),
        ]
    )
    assert fold_thresholds(run) == pytest.approx({0: 0.75, 1: 0.2})
    assert fold_thresholds(run, 1.0) == {0: 0.8, 1: 0.25}
    assert fold_thresholds(run, 0.5) == {0: 0.9, 1: 0.3}


def test_a_single_split_has_one_threshold() -> None:
    run = run_of([predictions_table(rows(["validation"] * 4 + ["test", "train"]), np.linspace(1, 0, 6))])
    held = run.part("validation")
    assert fold_thresholds(run) == {None: best_threshold(held["label"], held["score"])}


@pytest.mark.parametrize("part", [["test"] * 4, ["validation", "test", "validation", "test"]])
def test_without_validation_rows_of_both_classes_there_is_none(part: list[str]) -> None:
    good = predictions_table(rows(["validation"] * 4), np.linspace(1, 0, 4), 0)
    assert fold_thresholds(run_of([good])) != {}
    assert fold_thresholds(run_of([good, predictions_table(rows(part), np.linspace(1, 0, 4), 1)])) == {}


@pytest.mark.parametrize("rule", ["roc", 0.0, 1.5, -1])
def test_another_rule_is_refused(rule: str | float) -> None:
    run = run_of([predictions_table(rows(["validation"] * 4), np.linspace(1, 0, 4))])
    with pytest.raises(InputError, match=r"rule|sensitivity"):
        fold_thresholds(run, rule)


@pytest.mark.parametrize("sensitivity", [0.01, 0.07, 0.29, 0.5, 0.95, 0.999, 1.0])
def test_the_threshold_is_the_highest_that_reaches_the_sensitivity(sensitivity: float) -> None:
    rng = np.random.default_rng(0)
    label = np.repeat(["all", "hem"], [100, 60])
    score = np.round(rng.random(160), 2)  # with ties
    threshold = threshold_at_sensitivity(label, score, sensitivity)
    assert classification_metrics(label, score, threshold)["sensitivity"] >= sensitivity
    higher = np.nextafter(threshold, 2)
    assert classification_metrics(label, score, higher)["sensitivity"] < sensitivity


def test_a_sensitivity_needs_blasts() -> None:
    with pytest.raises(InputError, match="no row of the class all"):
        threshold_at_sensitivity(np.array(["hem"]), np.array([0.5]), 0.9)
