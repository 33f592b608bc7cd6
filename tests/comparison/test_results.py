from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from leukobench.comparison.intervals import Estimate
from leukobench.comparison.paired_tests import Detectable, holm
from leukobench.comparison.results import (
    CHOSEN,
    FIXED,
    CellLevelTests,
    Difference,
    Gap,
    fold_aurocs,
    model_bytes,
    training_seconds,
)
from leukobench.comparison.runs import compare
from leukobench.comparison.tables import headline, latex, level_table, long_table, markdown
from leukobench.comparison.verdict import cautions, result, sentence, verdicts
from leukobench.core.errors import InputError
from leukobench.results.metrics import best_threshold
from tests.comparison.cohorts import make_rows, make_run


def test_the_interval_of_a_clear_difference_leaves_out_zero(tmp_path: Path) -> None:
    good = make_run(tmp_path / "good", shift=2.0, groups=40)
    poor = make_run(tmp_path / "poor", shift=0.3, groups=40, seed=1)
    comparison = compare([poor, good])
    pair = comparison.differences[0]
    assert (pair.better, pair.other) == ("good", "poor")
    for gap in (pair.auroc, pair.subject_weighted):
        assert 0 < gap.estimate.low < gap.estimate.value < gap.estimate.high
        assert gap.p < 0.01
    assert max(pair.cell_level.delong_p, pair.cell_level.mcnemar_p) < 0.01
    assert verdicts(comparison)[-1].startswith(
        f"good is better than poor by {pair.auroc.estimate.value:.3f} AUROC (95% interval"
    )
    assert comparison.ranked == ["good", "poor"]
    assert cautions(comparison) == []


def test_a_run_and_its_copy_have_no_significant_difference(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "a", groups=40), make_run(tmp_path / "b", groups=40)])
    pair = comparison.differences[0]
    assert (pair.auroc.estimate.value, pair.auroc.estimate.low, pair.auroc.estimate.high) == (0, 0, 0)
    assert pair.cell_level == CellLevelTests(1, (0, 0), 1)
    assert (pair.auroc.p, pair.subject_weighted.p, pair.auroc.could) == (1, 1, Detectable(0, True, 0.05))
    assert "No significant difference between a and b on 40 subject groups" in verdicts(comparison)[-1]
    assert verdicts(comparison)[-1].endswith("they are equivalent within 0.05.")


def test_the_corrected_p_value_decides() -> None:
    gap = Gap(Estimate(0.04, 0.002, 0.08), 0.06, Detectable(0.05, False, 0.05))
    pair = Difference("a", "b", gap, gap, CellLevelTests(0.0, (9, 1), 0.0), (False, False))
    assert not pair.significant
    smaller = replace(gap, p=0.04)
    assert not replace(pair, auroc=smaller).significant
    assert replace(pair, auroc=smaller, subject_weighted=smaller).significant
    reverse = replace(smaller, estimate=Estimate(-0.04, -0.08, -0.002))
    assert not replace(pair, auroc=smaller, subject_weighted=reverse).significant


def test_runs_are_equivalent_only_if_both_aurocs_are() -> None:
    near = Gap(Estimate(0.0, -0.01, 0.01), 1.0, Detectable(0.015, True, 0.05))
    wide = Gap(Estimate(-0.03, -0.15, 0.09), 1.0, Detectable(0.17, False, 0.05))
    pair = Difference("a", "b", near, wide, CellLevelTests(1.0, (0, 0), 1.0), (False, False))
    assert not pair.equivalent
    assert result(pair) == "no significant difference; equivalence within 0.05 not shown"
    assert replace(pair, subject_weighted=near).equivalent
    assert result(replace(pair, subject_weighted=near)) == "no significant difference; equivalent within 0.05"


def test_p_values_are_corrected_by_holms_method(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, groups=40, seed=seed) for seed, name in enumerate("abc")]
    alone = [compare([runs[one], runs[two]]).differences[0] for one, two in ((0, 1), (0, 2), (1, 2))]
    together = compare(runs).differences
    for kind in ("auroc", "subject_weighted"):
        expected = holm([getattr(pair, kind).p for pair in alone])
        assert sorted(getattr(pair, kind).p for pair in together) == pytest.approx(sorted(expected))


def test_without_significance_the_power_and_the_equivalence_are_stated(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "a"), make_run(tmp_path / "b", seed=1)], margin=0.01)
    pair = comparison.differences[0]
    said = sentence(comparison, pair)
    assert f"would show a true difference of {pair.auroc.could.difference:.3f} with 80% power" in said
    assert said.endswith("equivalence within 0.01 is not shown.")


def test_a_run_whose_recipe_was_changed_is_marked(tmp_path: Path) -> None:
    plain, changed = make_run(tmp_path / "plain"), make_run(tmp_path / "changed", changed=["epochs=3"])
    assert compare([plain, changed]).table["recipe"].tolist() == ["a-recipe", "a-recipe (changed)"]


def test_few_people_are_pointed_out(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "a", groups=8, shift=3), make_run(tmp_path / "b", groups=8, shift=0)])
    assert "4 of class all and 4 of class hem" in cautions(comparison)[0]
    assert "the intervals are wide, and may still be too narrow" in cautions(comparison)[0]
    assert "suggestive only, because 8 subject groups are too few for a conclusion" in verdicts(comparison)[-1]
    alone = compare([make_run(tmp_path / "c", groups=2)])
    assert "there are no intervals" in cautions(alone)[0]


def test_metrics_of_cells_and_of_subjects(tmp_path: Path) -> None:
    # subject 1 (blasts): mean 0.7; subject 3 (blasts): mean 0.3; subjects H0, H2 (normal): means 0.4 and 0.2
    rows = make_rows(4, 2)
    score = {"H0": (0.6, 0.2), "1": (0.9, 0.5), "H2": (0.1, 0.3), "3": (0.2, 0.4)}
    comparison = compare([make_run(tmp_path / "a", rows=rows, score=np.concatenate(list(score.values())))])
    cells, subjects = comparison.assessment("a"), comparison.assessment("a", "subjects")
    assert comparison.subjects["a"].to_dict() == pytest.approx({"H0": 0.4, "1": 0.7, "H2": 0.2, "3": 0.3})
    # blasts 0.9, 0.5, 0.2, 0.4 against 0.6, 0.2, 0.1, 0.3: they have the higher score in 4 + 3 + 1.5 + 3 of 16 pairs
    assert cells.metrics["auroc"].value == pytest.approx(11.5 / 16)
    assert cells.thresholded[FIXED].confusion == (2, 2, 1, 3)
    assert subjects.metrics["auroc"].value == pytest.approx(3 / 4)
    assert subjects.thresholded[FIXED].confusion == (1, 1, 0, 2)
    assert subjects.thresholded[FIXED].metrics["sensitivity"].value == 0.5


def test_the_threshold_is_chosen_on_validation_alone(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", validation=True, shift=0.5)
    assert set(run.part("validation")["subject"]).isdisjoint(run.part("test")["subject"])
    held = run.part("validation")
    thresholded = compare([run]).assessment("a").thresholded
    threshold = best_threshold(held["label"].to_numpy(), held["score"].to_numpy())
    assert thresholded[CHOSEN].thresholds == {None: threshold}
    test = run.part("test")
    predicted = test["score"] >= threshold
    assert thresholded[CHOSEN].confusion[0] == (predicted & (test["label"] == "all")).sum()
    assert set(compare([make_run(tmp_path / "b")]).assessment("b").thresholded) == {FIXED}


def test_an_asked_sensitivity_is_reached_on_validation(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", validation=True, shift=0.5)
    held = run.part("validation")
    for asked in (0.8, 0.95):
        (threshold,) = compare([run], sensitivity=asked).assessment("a").thresholded[CHOSEN].thresholds.values()
        assert (held["score"][held["label"] == "all"] >= threshold).mean() >= asked
        above = held["score"][held["score"] > threshold].min()  # the next higher threshold would not reach it
        assert (held["score"][held["label"] == "all"] > above).mean() < asked


def test_folds_are_pooled_by_row_and_shown_one_by_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", groups=12, folds=3)
    comparison = compare([run])
    test = run.part("test")
    metrics = comparison.assessment("a").metrics
    assert metrics["pooled_auroc"].value == pytest.approx(roc_auc_score(test["label"] == "all", test["score"]))
    folds = fold_aurocs(comparison)["a"]
    assert folds["cells"].tolist() == [40, 40, 40]
    assert metrics["auroc"].value == pytest.approx(folds["auroc"].mean())  # equally many pairs in each fold
    assert folds["groups"].tolist() == [4, 4, 4]
    first = test[test["fold"] == 0]
    assert folds.loc[0, "auroc"] == pytest.approx(roc_auc_score(first["label"] == "all", first["score"]))
    assert fold_aurocs(compare([make_run(tmp_path / "b")])) == {}


def test_the_common_rows_of_a_split_and_a_cross_validation(tmp_path: Path) -> None:
    rows = make_rows(12)
    folds = make_run(tmp_path / "folds", rows=rows, folds=3)
    split = make_run(tmp_path / "split", rows=rows[rows["subject"].isin(["H0", "1", "H2", "3"])])
    comparison = compare([folds, split], common=True)
    assert len(comparison.rows) == 40
    assert comparison.dropped == {"folds": 80, "split": 0}
    assert "80 of folds" in cautions(comparison)[-1]


def test_leaky_runs_say_so_and_are_not_ranked_against_others(tmp_path: Path) -> None:
    honest, leaky = (
        make_run(tmp_path / "honest", groups=40),
        make_run(tmp_path / "leaky", leaky=True, groups=40, seed=2),
    )
    alone = compare([leaky])
    assert cautions(alone)[0].startswith("LEAKY (all runs)")
    assert alone.table["split"].tolist() == ["LEAKY"]
    both = compare([honest, leaky], allow_leaky=True)
    assert cautions(both)[0].startswith("LEAKY (leaky)")
    assert verdicts(both)[0].startswith("Highest AUROC of the 1 run tested on unseen subjects: honest")
    assert "are not comparable: leaky had the test subjects in training" in verdicts(both)[-1]


def test_families_are_compared_by_the_best_run_of_each(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / "svm", shift=2.5, groups=40),
        make_run(tmp_path / "knn", shift=0.2, groups=40, seed=1, family="knn"),
        make_run(tmp_path / "net", shift=0.4, groups=40, seed=2, family="cnn"),
    ]
    said = verdicts(compare(runs))
    assert said[1].startswith(
        "By family, handcrafted features (svm) and networks (net): handcrafted features are better"
    )


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / kind / "svm", seed=seed) for seed, kind in enumerate(("small", "large"))]
    assert compare(runs).table["run"].tolist() == ["small/svm", "large/svm"]


def test_the_table_is_the_same_in_every_format(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / "a_b", validation=True), make_run(tmp_path / "50%", seed=1)]
    comparison = compare(runs)
    table = long_table(comparison)
    # cells: 7 metrics of the score, and 10 metrics and 4 counts at a threshold; subjects: the same without calibration
    # and without those that weight subjects equally; a_b has two thresholds
    assert len(table) == (7 + 2 * 14) + (3 + 2 * 12) + (7 + 14) + (3 + 12)
    of_cells = table[(table["run"] == "a_b") & (table["level"] == "cells") & (table["metric"] == "auroc")].iloc[0]
    shown = f"{of_cells['value']:.3f} ({of_cells['low']:.3f} to {of_cells['high']:.3f})"
    assert shown in markdown(comparison)
    assert shown in latex(comparison)
    assert shown in headline(comparison)
    assert r"a\_b & 50\% \\" in latex(comparison)
    chosen = comparison.assessment("a_b").thresholded[CHOSEN].shown
    assert level_table(comparison, "cells", comparison.runs)[2][1][0] == ["threshold", chosen, "-"]
    for line in latex(comparison).splitlines()[2:-2]:
        assert line.startswith(r"\m") or line.count("&") - line.count(r"\&") == 3  # block, metric, two runs


def test_time_and_size_are_those_of_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", seconds={"fit": 3.0, "frozen_base": 2.0, "predict": 0.5})
    assert training_seconds(run) == 5.0
    assert model_bytes(run) == 10
    (run.folder / "model.txt").unlink()
    assert model_bytes(run) is None


def test_subjects_joined_by_identical_images_count_once(tmp_path: Path) -> None:
    rows = make_rows(24)
    rows.loc[rows["subject"].isin(["1", "3"]), "subject_group"] = "1=3"
    comparison = compare([make_run(tmp_path / "a", rows=rows)])
    assert comparison.groups_of_class == {"all": 11, "hem": 12}
    assert len(comparison.subjects) == 24


def test_runs_of_the_same_order_of_scores_do_not_differ(tmp_path: Path) -> None:
    rows = make_rows(24)
    run = make_run(tmp_path / "a", rows=rows, seed=1)
    shifted = make_run(tmp_path / "b", rows=rows, score=run.predictions["score"].to_numpy() ** 2)
    pair = compare([run, shifted]).differences[0]  # the same order of scores
    assert (pair.auroc.estimate.low, pair.auroc.estimate.high, pair.auroc.p) == (0, 0, 1)


def test_repeats_are_averaged_and_shown_one_by_one(tmp_path: Path) -> None:
    for name, shift in (("a", 1.5), ("b", 1.0)):
        for number in range(3):
            make_run(tmp_path / name / f"repeat_{number}", groups=24, folds=3, shift=shift, seed=number)
    comparison = compare([tmp_path / "a", tmp_path / "b"])
    assert list(comparison.runs) == ["a", "b"]
    alone = [compare([tmp_path / "a" / f"repeat_{number}"]) for number in range(3)]
    for metric in ("auroc", "subject_weighted_auroc", "pooled_auroc", "brier", "calibration_slope"):
        values = [next(iter(each.assessments)).metrics[metric].value for each in alone]
        assert comparison.assessment("a").metrics[metric].value == pytest.approx(np.mean(values))
    assert comparison.repeat_aurocs["a"].tolist() == pytest.approx(
        [next(iter(each.assessments)).metrics["auroc"].value for each in alone]
    )
    assert comparison.differences[0].auroc.estimate.value == pytest.approx(
        (comparison.repeat_aurocs["a"] - comparison.repeat_aurocs["b"]).mean()
    )
    with pytest.raises(InputError, match="a has 3 and repeat_0 1 repeats"):
        compare([tmp_path / "a", tmp_path / "b" / "repeat_0"])


def test_runs_of_other_folds_are_refused(tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "a", groups=24, folds=3), make_run(tmp_path / "b", groups=24, folds=4)
    with pytest.raises(InputError, match="were cross-validated on different folds"):
        compare([one, two])
    comparison = compare([one, two], common=True)
    assert not comparison.within_folds
    assert "pooled_auroc" not in comparison.assessment("a").metrics


def test_the_share_of_correct_cells_of_each_subject(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "a", groups=12, cells=5, validation=True)])
    table, rows = comparison.by_subject, comparison.rows
    right = (rows["a"] >= 0.5) == (rows["label"] == "all")
    assert table.set_index("subject")["correct_at_half"].to_dict() == right.groupby(rows["subject"]).mean().to_dict()
    assert table["correct_at_chosen"].between(0, 1).all()
    blasts = table[table["label"] == "all"]
    sensitivity = comparison.assessment("a").thresholded[FIXED].metrics["subject_sensitivity"].value
    assert blasts["correct_at_half"].mean() == pytest.approx(sensitivity)


def test_a_recipe_that_was_selected_on_c_nmc_says_so(tmp_path: Path) -> None:
    ours = make_run(tmp_path / "ours", groups=24, recipe="leukobench-svm")
    published = make_run(tmp_path / "published", groups=24, recipe="clinton-svm")
    (caution,) = cautions(compare([ours, published]))
    assert caution.startswith("leukobench-svm: selected by cross-validation on subjects of the training phase")
    assert cautions(compare([published])) == []
