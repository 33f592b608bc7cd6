from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from leukobench.comparison.bootstrap import Estimate
from leukobench.comparison.results import CHOSEN, FIXED, Difference, fold_aurocs, model_bytes, training_seconds
from leukobench.comparison.runs import compare
from leukobench.comparison.tables import headline, latex, level_table, long_table, markdown
from leukobench.comparison.verdict import cautions, sentence, verdicts
from leukobench.results.metrics import best_threshold
from tests.comparison.cohorts import make_rows, make_run


def test_the_interval_of_a_clear_difference_leaves_out_zero(tmp_path: Path) -> None:
    good = make_run(tmp_path / "good", shift=2.0, groups=40)
    poor = make_run(tmp_path / "poor", shift=0.3, groups=40, seed=1)
    comparison = compare([poor, good])
    pair = comparison.differences[0]
    assert (pair.better, pair.other) == ("good", "poor")
    assert 0 < pair.auroc.low < pair.auroc.value < pair.auroc.high
    assert max(pair.p, pair.delong_p, pair.mcnemar_p) < 0.01
    assert verdicts(comparison)[-1].startswith(
        f"good is better than poor by {pair.auroc.value:.3f} AUROC (95% interval"
    )
    assert comparison.ranked == ["good", "poor"]
    assert cautions(comparison) == []


def test_a_run_and_its_copy_have_no_significant_difference(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "a", groups=40), make_run(tmp_path / "b", groups=40)])
    pair = comparison.differences[0]
    assert (pair.auroc.value, pair.auroc.low, pair.auroc.high) == (0, 0, 0)
    assert (pair.p, pair.delong_p, pair.mcnemar_p, pair.only) == (1, 1, 1, (0, 0))
    assert "No significant difference between a and b on 40 subjects" in verdicts(comparison)[-1]


def test_a_difference_that_holms_correction_does_not_leave_is_none() -> None:
    gap = Estimate(0.04, 0.002, 0.08)
    pair = Difference("a", "b", gap, 0.06, gap, 0.0, (9, 1), 0.0, (False, False))
    assert not pair.significant


def test_holms_correction_is_named_where_it_turns_the_verdict(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "a"), make_run(tmp_path / "b", seed=1)])
    pair = replace(comparison.differences[0], auroc=Estimate(0.04, 0.002, 0.08), p=0.06)
    assert sentence(comparison, pair).endswith(", not significant after Holm correction.")


def test_a_run_whose_recipe_was_changed_is_marked(tmp_path: Path) -> None:
    plain, changed = make_run(tmp_path / "plain"), make_run(tmp_path / "changed", changed=["epochs=3"])
    assert compare([plain, changed]).table["recipe"].tolist() == ["a-recipe", "a-recipe (changed)"]


def test_few_people_are_pointed_out(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "a", groups=6, shift=3), make_run(tmp_path / "b", groups=6, shift=0)])
    assert "3 of class all and 3 of class hem" in cautions(comparison)[0]
    assert "the intervals are too narrow" in cautions(comparison)[0]
    assert "suggestive only, because 6 subjects are too few for a conclusion" in verdicts(comparison)[-1]


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
    assert thresholded[CHOSEN].threshold == best_threshold(held["label"].to_numpy(), held["score"].to_numpy())
    test = run.part("test")
    predicted = test["score"] >= thresholded[CHOSEN].threshold
    assert thresholded[CHOSEN].confusion[0] == (predicted & (test["label"] == "all")).sum()
    assert set(compare([make_run(tmp_path / "b")]).assessment("b").thresholded) == {FIXED}


def test_folds_are_pooled_by_row_and_shown_one_by_one(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", groups=12, folds=3)
    comparison = compare([run])
    test = run.part("test")
    assert comparison.assessment("a").metrics["auroc"].value == pytest.approx(
        roc_auc_score(test["label"] == "all", test["score"])
    )
    folds = fold_aurocs(comparison)["a"]
    assert folds["cells"].tolist() == [40, 40, 40]
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
    # 2 runs, 2 levels: 4 metrics of the score, and 8 metrics and 4 counts at one threshold, of a_b at two
    assert len(table) == 2 * (4 + 2 * 12) + 2 * (4 + 12)
    of_cells = table[(table["run"] == "a_b") & (table["level"] == "cells") & (table["metric"] == "auroc")].iloc[0]
    shown = f"{of_cells['value']:.3f} ({of_cells['low']:.3f} to {of_cells['high']:.3f})"
    assert shown in markdown(comparison)
    assert shown in latex(comparison)
    assert shown in headline(comparison)
    assert r"a\_b & 50\% \\" in latex(comparison)
    chosen = comparison.assessment("a_b").thresholded[CHOSEN].threshold
    assert level_table(comparison, "cells", comparison.runs)[2][1][0] == ["threshold", f"{chosen:.3f}", "-"]
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
    assert (pair.auroc.low, pair.auroc.high) == (0, 0)
