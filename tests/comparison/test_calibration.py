from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from leukobench.comparison.calibration import (
    added_share,
    calibration_intercept,
    calibration_slope,
    coefficient_interval,
    fit,
    recalibration_curve,
)
from leukobench.comparison.intervals import SubjectGroups
from leukobench.comparison.weighted_metrics import Scored


def rows(slope: float = 1.0, intercept: float = 0.0, cells: int = 20, seed: int = 0) -> Scored:
    """Cells of 30 subjects, each with both classes, whose calibration has these coefficients."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=30 * cells)
    return Scored(rng.random(30 * cells) < expit(intercept + slope * x), expit(x), np.repeat(np.arange(30), cells), 30)


def groups_of(scored: Scored) -> SubjectGroups:
    return SubjectGroups.of(pd.Series(np.where(scored.positive, "all", "hem")), pd.Series(scored.group))


def test_coefficients_and_clustered_errors_are_those_of_statsmodels() -> None:
    scored = rows(0.7, 0.4)
    x = logit(scored.score)
    clustered = {"cov_type": "cluster", "cov_kwds": {"groups": scored.group, "use_correction": False}}
    slope = sm.Logit(scored.positive, sm.add_constant(x)).fit(disp=0, **clustered)
    assert fit(scored).values == pytest.approx(slope.params)
    influence = fit(scored).influence
    assert influence @ influence.T == pytest.approx(slope.cov_params())
    fixed = sm.GLM(scored.positive, np.ones(len(x)), offset=x, family=sm.families.Binomial()).fit(**clustered)
    found = calibration_intercept(scored)
    assert found.value == pytest.approx(fixed.params[0])
    assert (found.influence**2).sum() == pytest.approx(fixed.cov_params()[0, 0])


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, 0.0), (1.0, -1.0), (2.0, 0.5)])
def test_the_true_coefficients_are_found(slope: float, intercept: float) -> None:
    scored = rows(slope, intercept, cells=3000)
    assert calibration_slope(scored).value == pytest.approx(slope, rel=0.03)
    if slope == 1:
        assert calibration_intercept(scored).value == pytest.approx(intercept, abs=0.03)


def test_the_interval_contains_the_estimate_and_undecided_rows_draw_the_slope_to_zero() -> None:
    scored = rows(1.0)
    groups = groups_of(scored)
    for slope in (False, True):
        found = coefficient_interval([scored], groups, slope=slope)
        assert found.low < found.value < found.high
    assert fit(scored, added=added_share(groups)).values[1] < fit(scored).values[1]
    repeated = coefficient_interval([scored, rows(0.5)], groups, slope=True)
    assert repeated.value == pytest.approx(np.mean([calibration_slope(each).value for each in (scored, rows(0.5))]))


def test_separated_classes_have_no_slope_and_no_curve() -> None:
    scored = Scored(np.repeat([True, False], 10), np.repeat([0.9, 0.2], 10), np.repeat(np.arange(4), 5), 4)
    assert np.isnan(calibration_slope(scored).value)
    assert recalibration_curve(scored, groups_of(scored), np.array([0.5])) is None


def test_the_curve_of_calibrated_scores_is_the_diagonal_within_its_band() -> None:
    scored = rows(cells=400)
    at = np.linspace(0.1, 0.9, 9)
    curve, low, high = recalibration_curve(scored, groups_of(scored), at)
    assert curve == pytest.approx(at, abs=0.02)
    assert (low < curve).all()
    assert (curve < high).all()
    assert expit(fit(scored).values @ [1, logit(0.3)]) == pytest.approx(
        recalibration_curve(scored, groups_of(scored), np.array([0.3]))[0][0]
    )
