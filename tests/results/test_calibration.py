from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from leukobench.core.errors import InputError
from leukobench.results.calibration import (
    PRIOR_SD,
    Calibration,
    calibrate_on_validation,
    calibrated,
    fit_calibration,
    group_share,
    notes_by_fold,
)
from leukobench.results.weights import cell_weights

FREE = (1e4, 1e4)  # a prior so wide that it penalises nothing


def simulated(intercept: float, slope: float, cells: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Raw probabilities, and classes whose true logits are intercept + slope * raw logit; each cell is a group."""
    rng = np.random.default_rng(seed)
    raw = expit(rng.normal(0.5, 2, cells))
    return raw, rng.random(cells) < expit(intercept + slope * logit(raw)), np.arange(cells)


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, 1.0), (0.85, 1.0), (-0.5, 0.4), (1.5, 2.0)])
def test_with_many_subjects_the_true_intercept_and_slope_are_found(intercept: float, slope: float) -> None:
    found = fit_calibration(*simulated(intercept, slope, 20_000))
    assert (found.intercept, found.slope) == pytest.approx((intercept, slope), abs=0.06)
    assert (found.groups, found.cells) == (20_000, 20_000)


def test_without_a_penalty_the_fit_is_the_logistic_regression_of_scikit_learn() -> None:
    raw, positive, _ = simulated(0.3, 0.7, 300)
    group = np.random.default_rng(1).integers(0, 9, 300)
    weight = cell_weights("class-subject", positive, group) * np.where(positive, positive.mean(), 1 - positive.mean())
    reference = LogisticRegression(C=np.inf, tol=1e-8).fit(logit(raw)[:, None], positive, weight)
    found = fit_calibration(raw, positive, group, prior_sd=FREE)
    assert (found.intercept, found.slope) == pytest.approx((reference.intercept_[0], reference.coef_[0, 0]), abs=1e-4)
    # the score equation of the intercept: the mean probability is the share of blasts
    assert np.average(calibrated(raw, found), weights=weight) == pytest.approx(positive.mean(), abs=1e-4)


@pytest.mark.parametrize("groups", [2, 6, 200])
def test_a_constant_score_is_moved_towards_the_prevalence_as_far_as_its_groups_carry_it(groups: int) -> None:
    group = np.repeat(np.arange(groups), 10)
    positive = group % 2 == 0
    raw = np.full(len(group), 0.2)
    found = fit_calibration(raw, positive, group, prior_sd=(PRIOR_SD[0], 1e-6))  # the slope is 1
    share = positive.mean()
    expected = brentq(lambda a: groups * (expit(a + logit(0.2)) - share) + a / PRIOR_SD[0] ** 2, -9, 9)
    assert (found.intercept, found.slope) == pytest.approx((expected, 1), abs=1e-5)


def test_the_probabilities_have_the_class_share_of_training_and_validation_not_of_validation() -> None:
    rng = np.random.default_rng(0)
    groups = 9_000  # of one cell each, so many that the penalty has no influence
    part = np.repeat(["train", "validation", "test"], groups // 3)
    blasts = {"train": 0.8, "validation": 0.5, "test": 0.1}
    positive = rng.random(groups) < np.vectorize(blasts.get)(part)
    value = rng.normal(np.where(positive, 1.0, -1.0))  # two normal distributions; the log likelihood ratio is 2 * value
    rows = pd.DataFrame({"part": part, "label": np.where(positive, "all", "hem"), "subject_group": np.arange(groups)})
    development, held = rows[rows["part"] != "test"], rows["part"] == "validation"
    raw = expit(0.3 + 0.7 * value)
    calibration, _ = calibrate_on_validation(rows, raw, held, development)
    share = (development["label"] == "all").mean()
    assert calibration.share == pytest.approx(share)
    assert share == pytest.approx(0.65, abs=0.01)
    by_bayes = share * norm.pdf(value, 1) / (share * norm.pdf(value, 1) + (1 - share) * norm.pdf(value, -1))
    assert calibrated(raw, calibration) == pytest.approx(by_bayes, abs=0.02)
    # over cells with that share of blasts, the mean probability is that share
    seen = (rows["part"] != "test").to_numpy()
    assert calibrated(raw, calibration)[seen].mean() == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_another_class_share_adds_the_difference_of_its_logits_to_the_intercept(share: float) -> None:
    group = np.repeat(np.arange(8), [1, 2, 30, 4, 5, 6, 7, 80])
    positive = group < 6  # 6 groups of 8, but 48 cells of 135
    raw = expit(np.random.default_rng(2).normal(size=len(group)) + positive)
    assert group_share(positive, group) == 0.75
    own, other = fit_calibration(raw, positive, group), fit_calibration(raw, positive, group, share=share)
    assert other.intercept - own.intercept == pytest.approx(np.log(share / (1 - share)) - np.log(3))
    assert (own.share, other.share) == (0.75, share)
    assert (own.slope, own.groups, own.cells) == (other.slope, other.groups, other.cells)
    assert fit_calibration(raw, positive, group, share=0.75) == own


def test_a_subject_group_counts_once_whatever_its_number_of_cells() -> None:
    positive = np.repeat([True, True, False, False], 20)
    group = np.repeat([0, 1, 2, 3], 20)
    raw = expit(np.random.default_rng(0).normal(size=80) + positive)
    of_two = np.flatnonzero(group % 2 == 0)  # a group of each class, so that copies leave the prevalence as it is
    rows = np.concatenate([np.arange(80), of_two, of_two])
    once, thrice = fit_calibration(raw, positive, group), fit_calibration(raw[rows], positive[rows], group[rows])
    assert (once.intercept, once.slope) == pytest.approx((thrice.intercept, thrice.slope), abs=1e-6)
    assert (once.groups, once.cells, thrice.cells) == (4, 80, 160)


def test_separated_classes_give_a_bounded_calibration() -> None:
    group = np.repeat(np.arange(6), 5)
    positive = group % 2 == 0
    for raw in (positive.astype(float), np.where(positive, 0.51, 0.49), np.where(positive, 0.99, 0.98)):
        found = fit_calibration(raw, positive, group)
        # the penalty is at most the loss without calibration, so each parameter is within sqrt(2 loss) deviations
        without = -np.log(np.where(positive, np.clip(raw, 5e-10, 1), np.clip(1 - raw, 5e-10, 1))).mean() * 6
        assert abs(found.intercept) <= PRIOR_SD[0] * np.sqrt(2 * without) + 1e-6
        assert 0 < found.slope <= 1 + PRIOR_SD[1] * np.sqrt(2 * without) + 1e-6
        score = calibrated(raw, found)
        assert score[positive].min() > score[~positive].max()


def test_scores_below_chance_are_left_as_they_are() -> None:
    group = np.repeat(np.arange(20), 5)
    rows = pd.DataFrame({"subject_group": group, "label": np.where(group % 2 == 0, "all", "hem")})
    raw = np.where(group % 2 == 0, 0.1, 0.9)
    everything = pd.Series(True, index=rows.index)
    assert fit_calibration(raw, group % 2 == 0, group) is None
    calibration, reason = calibrate_on_validation(rows, raw, everything, rows)
    assert calibration is None
    assert "below chance" in reason
    assert (calibrated(raw, None) == raw).all()


def test_only_the_validation_rows_are_fitted() -> None:
    raw, positive, group = simulated(0.5, 0.5, 400)
    rows = pd.DataFrame({"subject_group": group, "label": np.where(positive, "all", "hem")}, index=np.arange(400)[::-1])
    held = pd.Series(np.arange(400) < 300, index=rows.index)
    expected = fit_calibration(raw[:300], positive[:300], group[:300], share=positive.mean())
    assert calibrate_on_validation(rows, raw, held, rows) == (expected, "")
    other = np.where(held, raw, 1 - raw)  # the scores of the other rows do not matter
    assert calibrate_on_validation(rows, other, held, rows) == (expected, "")
    assert calibrate_on_validation(rows, raw, ~held & held, rows) == (None, "the split has no validation part")
    for label, lacking in (("all", "hem"), ("hem", "all")):
        calibration, reason = calibrate_on_validation(rows, raw, held & (rows["label"] == label), rows)
        assert calibration is None
        assert reason.endswith(f"no cell of the class {lacking}")


def test_the_order_of_scores_is_kept_and_0_and_1_have_probabilities() -> None:
    raw = np.array([0, 1e-9, 0.3, 0.300000001, 1 - 1e-9, 1])
    score = calibrated(raw, Calibration(0.85, 0.5, 6, 60, 0.5))
    assert (np.diff(score) > 0).all()
    assert 0 < score[0] < 1e-3
    assert score[2] == pytest.approx(expit(0.85 + 0.5 * logit(0.3)))
    many, positive, group = simulated(0.85, 0.3, 500)
    assert roc_auc_score(positive, calibrated(many, fit_calibration(many, positive, group))) == pytest.approx(
        roc_auc_score(positive, many)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"slope": 0.0},
        {"slope": -1.0},
        {"slope": "1"},
        {"intercept": None},
        {"intercept": float("nan")},
        {"cells": 2.5},
        {"share": 1.0},
        {"share": None},
    ],
)
def test_a_malformed_calibration_is_refused(change: dict[str, Any]) -> None:
    calibration = Calibration(0.5, 0.8, 6, 60, 0.5)
    assert Calibration.from_json(asdict(calibration), "run.json") == calibration
    assert Calibration.from_json(asdict(replace(calibration, slope=1.0)) | {"slope": 1}, "run.json").slope == 1
    with pytest.raises(InputError, match=r"^run\.json: calibration of 0: is not intercept, positive slope"):
        Calibration.from_json(asdict(calibration) | change, "run.json: calibration of 0")


def test_notes_name_the_folds_that_were_not_calibrated() -> None:
    assert notes_by_fold({None: ""}) == []
    assert notes_by_fold({None: "no part"}) == ["not calibrated on validation: no part"]
    assert notes_by_fold({0: "no part", 1: "no part"}) == ["not calibrated on validation: no part"]
    assert notes_by_fold({0: "a", 1: "", 2: "b"}) == [
        "not calibrated on validation (fold 0): a",
        "not calibrated on validation (fold 2): b",
    ]
