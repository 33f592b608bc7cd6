"""The mean score of a subject, and its interval over the cells of the subject."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import t as student

from leukobench.results.subject_scores import mean_intervals, subject_scores


def test_the_interval_is_that_of_the_cells_and_one_undecided_cell() -> None:
    score = np.array([0.9, 0.7, 0.8, 0.6])
    with_undecided = np.append(score, 0.5)  # the standard error of a mean of five values, on the logit scale
    middle = with_undecided.mean()
    error = with_undecided.std(ddof=1) / np.sqrt(5) / (middle * (1 - middle))
    expected = expit(logit(middle) + np.array([-1, 1]) * student.ppf(0.975, 4) * error)
    assert [float(end[0]) for end in mean_intervals(score, np.zeros(4, int))] == pytest.approx(expected)


def test_an_interval_narrows_with_the_cells_and_stays_within_probabilities() -> None:
    few, many = (mean_intervals(np.ones(n), np.zeros(n, int)) for n in (4, 400))
    assert 0 < few[0][0] < many[0][0] < 1 and few[1][0] == many[1][0] == 1


def test_one_cell_has_no_interval_and_subjects_are_sorted() -> None:
    table = subject_scores(pd.Series(["b", "a", "a"]), np.array([0.4, 0.9, 0.5]))
    assert table["subject"].tolist() == ["a", "b"] and table["cells"].tolist() == [2, 1]
    assert table["score"].tolist() == pytest.approx([0.7, 0.4]) and table["predicted"].tolist() == ["all", "hem"]
    assert table[["low", "high"]].isna().all(axis=1).tolist() == [False, True]


def test_the_interval_covers_the_mean_of_skewed_scores() -> None:
    population = np.random.default_rng(0).beta(0.4, 1.6, 4_000)
    draws = np.random.default_rng(1).choice(population, (1_000, 10))
    low, high = mean_intervals(draws.ravel(), np.repeat(np.arange(1_000), 10))
    assert 0.93 <= ((low <= population.mean()) & (population.mean() <= high)).mean() <= 0.99


def test_a_rounded_score_stays_within_its_interval() -> None:
    equal = np.array([6.0000000004e-9, 6.0000000004e-9])  # nothing varies: low and high are the mean
    found = subject_scores(pd.Series(["H1", "H1"]), equal).iloc[0]
    assert found["low"] <= found["score"] <= found["high"]
