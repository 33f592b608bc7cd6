from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from leukobench.cohort.split_levels import SplitLevel
from leukobench.comparison.auroc import auroc, swap_contributions
from leukobench.comparison.intervals import SubjectGroups
from leukobench.comparison.paired_tests import swap_test
from leukobench.comparison.scores import compare_scores, estimate_metric
from leukobench.comparison.weighted_metrics import Scored
from leukobench.workflows.level_bias import METRICS, contributions, fold_aurocs, level_biases

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


@pytest.mark.parametrize("equal", [False, True])
def test_the_contributions_of_the_groups_add_up_to_the_difference(equal: bool) -> None:
    rng = np.random.default_rng(0)
    rows = make_rows(rng)
    one = scored(rows.assign(fold=by_image(rows, rng)))
    other = scored(rows.assign(score=-rows["score"], fold=by_group(rows, rng)))
    difference = auroc(one, equal=equal) - auroc(other, equal=equal)
    groups = SubjectGroups.of(rows["label"], rows["subject_group"])
    assert abs(difference.value) > 0.1
    assert contributions(difference, groups, equal=equal).sum() == pytest.approx(difference.value)


@pytest.mark.parametrize("equal", [False, True])
def test_contributions_with_the_same_folds_are_nearly_those_of_swapped_ranks(equal: bool) -> None:
    """`compare` swaps the ranks of two runs with the same folds, group by group."""
    rng = np.random.default_rng(4)
    rows = make_rows(rng)
    rows["fold"] = by_group(rows, rng)
    one, other = (scored(rows.assign(score=rows["score"] + rng.normal(0, 0.7, len(rows)))) for _ in range(2))
    difference = auroc(one, equal=equal) - auroc(other, equal=equal)
    groups = SubjectGroups.of(rows["label"], rows["subject_group"])
    swapped = swap_contributions(one, other, equal=equal)
    assert np.corrcoef(contributions(difference, groups, equal=equal), swapped)[0, 1] > 0.8


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
        difference = auroc(levels[0]) - auroc(levels[1])
        groups = SubjectGroups.of(rows["label"], rows["subject_group"])
        biases.append(difference.value)
        p_values.append(swap_test(contributions(difference, groups)))
    assert abs(np.mean(biases)) < 3 * np.std(biases) / 200**0.5
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.08
