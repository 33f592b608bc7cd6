from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from leukobench.cohort.split_levels import SplitLevel
from leukobench.comparison.auroc import auroc, rank_scores
from leukobench.comparison.scores import compare_scores, estimate_metric
from leukobench.comparison.weighted_metrics import Scored
from leukobench.workflows.level_bias import METRICS, _p_value, fold_aurocs, fold_percentiles, level_biases

FOLDS, GROUPS = 4, 24  # of groups, twelve of each class


def make_rows(rng: np.random.Generator, fewest: int = 5, most: int = 15) -> pd.DataFrame:
    """Cells with an effect of their class and of their subject group; no folds yet."""
    group = np.repeat(np.arange(GROUPS), rng.integers(fewest, most + 1, GROUPS))
    positive = group % 2 == 0
    rows = pd.DataFrame({"path": [f"{number}.bmp" for number in range(len(group))], "group": group})
    rows["label"], rows["subject_group"] = np.where(positive, "all", "hem"), [f"g{number:02}" for number in group]
    return rows.assign(score=positive + rng.normal(size=GROUPS)[group] + rng.normal(size=len(group)))


def by_image(rows: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
    return pd.Series(rng.permutation(len(rows)) % FOLDS, rows.index)


def by_group(rows: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
    """Three groups of each class in each fold."""
    fold = np.empty(GROUPS, int)
    for first in (0, 1):
        fold[first::2] = rng.permutation(GROUPS // 2) % FOLDS
    return pd.Series(fold[rows["group"]], rows.index)


def scored(rows: pd.DataFrame) -> Scored:
    group = rows["group"].to_numpy()
    return Scored((rows["label"] == "all").to_numpy(), rows["score"].to_numpy(), group, GROUPS, rows["fold"].to_numpy())


def test_percentiles_of_two_folds_by_hand() -> None:
    positive = np.array([True, True, False, True, False, False])
    rows = Scored(positive, np.array([3.0, 1, 2, 7, 7, 5]), np.arange(6), 6, np.array([0, 0, 0, 1, 1, 1]))
    # 3 in the first fold: above one of two positives and equal to the other, above the negative: (0.75 + 1) / 2
    expected = [0.875, 0.125, 0.5, (0.5 + 0.75) / 2, (0.5 + 0.75) / 2, (0 + 0.25) / 2]
    assert fold_percentiles(rows).score == pytest.approx(expected)
    assert fold_percentiles(rows).fold is None


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_auroc_over_all_pairs_of_percentiles_is_that_within_folds(equal: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = make_rows(rng, 40, 80 if equal else 40)  # a fold has a quarter of the groups, or of the cells, of each class
    rows["fold"] = by_group(rows, rng)
    rows["score"] = rows["score"] * (1 + rows["fold"]) - 5 * rows["fold"]  # the scales of the folds differ
    within = auroc(scored(rows), equal=equal).value
    assert auroc(fold_percentiles(scored(rows), equal=equal), equal=equal).value == pytest.approx(within, abs=5e-4)


def test_separated_folds_stay_separated_whatever_their_shares_of_positives() -> None:
    fold, place = np.repeat([0, 1], 10), np.tile(np.arange(10), 2)
    positive = place >= np.where(fold == 0, 2, 8)  # eight of ten cells, and two of ten
    rows = Scored(positive, place.astype(float), np.arange(20), 20, fold)
    assert auroc(rows).value == 1
    assert auroc(fold_percentiles(rows)).value == 1
    assert auroc(dataclasses.replace(rows, score=rank_scores(rows), fold=None)).value < 0.9


def test_the_auroc_of_a_level_is_the_mean_over_its_folds_weighted_by_their_pairs() -> None:
    rng = np.random.default_rng(1)
    rows = make_rows(rng)
    rows["fold"] = by_image(rows, rng)
    values, pairs = [], []
    for _, of_fold in rows.groupby("fold"):
        positive = of_fold["label"] == "all"
        values.append(roc_auc_score(positive, of_fold["score"]))
        pairs.append(positive.sum() * (~positive).sum())
    assert fold_aurocs(rows)["auroc"] == pytest.approx(np.average(values, weights=pairs))


def test_with_the_same_folds_at_both_levels_bias_and_intervals_are_those_of_compare_scores() -> None:
    rng = np.random.default_rng(2)
    reference = make_rows(rng)
    reference["fold"] = by_group(reference, rng)
    lenient = reference.assign(score=reference["score"] + 0.5 * (reference["label"] == "all"))
    shuffled = lenient.sample(frac=1, random_state=0)
    found = level_biases("svm", {SplitLevel.IMAGE: [shuffled], SplitLevel.SUBJECT_GROUP: [reference]})
    assert [each.metric for each in found] == list(METRICS)
    for each in found:
        groups, folds = reference["subject_group"], reference["fold"]
        columns = reference["label"], lenient["score"], reference["score"], groups
        expected = compare_scores(*columns, metric=each.metric, folds=folds)
        shown = (each.bias.value, each.bias.low, each.bias.high)
        assert shown == pytest.approx((expected.value, expected.low, expected.high))
        assert each.p < 0.01
        value = estimate_metric(reference["label"], lenient["score"], groups, each.metric, folds=folds)
        assert (each.value.value, each.value.low) == pytest.approx((value.value, value.low))


def test_repeats_are_averaged_and_p_values_corrected_over_the_levels() -> None:
    rng = np.random.default_rng(3)
    rows = make_rows(rng)
    one, other = (rows.assign(fold=by_group(rows, rng)) for _ in range(2))
    lenient = [each.assign(score=each["score"] + 0.3 * (each["label"] == "all")) for each in (one, other)]
    alone = level_biases("svm", {SplitLevel.IMAGE: lenient, SplitLevel.SUBJECT_GROUP: [one, other]})[0]
    single = [
        level_biases("svm", {SplitLevel.IMAGE: [a], SplitLevel.SUBJECT_GROUP: [b]})[0]
        for a, b in zip(lenient, (one, other), strict=True)
    ]
    assert alone.bias.value == pytest.approx(np.mean([each.bias.value for each in single]))
    both = level_biases(
        "svm", {SplitLevel.IMAGE: lenient, SplitLevel.SUBJECT_ID: [one, other], SplitLevel.SUBJECT_GROUP: [one, other]}
    )
    assert both[0].p == pytest.approx(2 * alone.p)
    assert (both[1].bias.value, both[1].p) == (0, 1)


def test_without_a_leak_the_bias_is_zero_on_average_and_the_test_rejects_five_percent() -> None:
    """Both levels have the same scores but for noise, and other folds; 200 cohorts: a standard error of 1.5 percent."""
    biases, p_values = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        rows = make_rows(rng)
        levels = []
        for folds in (by_image, by_group):
            noise = rng.normal(0, 0.5, GROUPS)[rows["group"]] + rng.normal(0, 0.5, len(rows))
            levels.append(scored(rows.assign(score=rows["score"] + noise, fold=folds(rows, rng))))
        biases.append(auroc(levels[0]).value - auroc(levels[1]).value)
        p_values.append(_p_value(levels[:1], levels[1:], equal=False))
    assert abs(np.mean(biases)) < 3 * np.std(biases) / 200**0.5
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.1
