from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from comparison.bootstrap import group_weights, interval, weighted_auroc
from comparison.report import write_report
from comparison.results import compare
from study.errors import StudyError
from study.run import Run, predictions_table, read_run, write_run


def make_run(
    folder: Path,
    *,
    groups: int = 12,
    cells: int = 10,
    shift: float = 1.0,
    seed: int = 0,
    leaky: bool = False,
    manifest: str = "0123456789abcdef",
    drop: int = 0,
    background: str = "black",
) -> Run:
    """A run whose test cells score `shift` standard deviations higher where they are blasts."""
    rng = np.random.default_rng(seed)
    names = np.repeat([f"{'' if n % 2 else 'H'}{n}" for n in range(groups)], cells)
    label = np.where(np.char.startswith(names, "H"), "hem", "all")
    rows = pd.DataFrame(
        {
            "path": [f"{name}_{n}.bmp" for n, name in enumerate(names)],
            "subject": names,
            "subject_group": names,
            "label": label,
            "part": "test",
        }
    )
    logit = rng.normal(size=len(names)) + shift * (label == "all")
    table = predictions_table(rows, 1 / (1 + np.exp(-logit)))
    info = {
        "family": "svm",
        "recipe": "a-recipe",
        "parameters": {},
        "seed": seed,
        "background": background,
        "split": "image-LEAKY test=0.2" if leaky else "subject test=0.2",
        "leaky": leaky,
        "shared_subject_groups": groups * leaky,
        "checksums": {"manifest": manifest, "partition": "f" * 64},
        "excluded": {},
        "seconds": {"fit": 1.5, "predict": 0.1},
    }

    def save(folder: Path) -> None:
        (folder / "model.txt").write_text("model")

    return write_run(folder, info, table.iloc[drop:], save)


def test_weighted_auroc_equals_scikit_learn_with_sample_weights_and_ties() -> None:
    rng = np.random.default_rng(0)
    positive, score = rng.random(60) < 0.4, rng.integers(0, 12, 60) / 12
    weights = rng.integers(0, 4, (25, 60))
    expected = [roc_auc_score(positive, score, sample_weight=row) for row in weights]
    assert weighted_auroc(positive, score, weights) == pytest.approx(expected)


def test_a_resample_draws_whole_groups_as_many_of_each_class_as_there_are() -> None:
    label = pd.Series(["all"] * 6 + ["hem"] * 4)
    group = pd.Series(["1", "1", "2", "2", "3", "3", "H1", "H1", "H2", "H2"])
    weights = group_weights(label, group, resamples=500, seed=1)
    assert (weights[:, ::2] == weights[:, 1::2]).all()
    assert (weights[:, :6].sum(axis=1) == 6).all()
    assert (weights[:, 6:].sum(axis=1) == 4).all()
    assert len(np.unique(weights, axis=0)) > 20


def test_the_interval_of_a_clear_difference_leaves_out_zero(tmp_path: Path) -> None:
    good, poor = (
        make_run(tmp_path / "good", shift=2.0, groups=40),
        make_run(tmp_path / "poor", shift=0.3, groups=40, seed=1),
    )
    comparison = compare([poor, good])
    difference = comparison.differences[0]
    assert (difference.better, difference.other) == ("good", "poor")
    assert difference.low > 0
    assert difference.low < difference.auroc < difference.high
    assert comparison.verdicts[0].startswith("good is better than poor by ")
    assert comparison.cautions == []


def test_a_run_cannot_be_told_from_its_copy(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "a", groups=40), make_run(tmp_path / "b", groups=40)])
    difference = comparison.differences[0]
    assert (difference.auroc, difference.low, difference.high) == (0, 0, 0)
    assert "cannot be told apart on 40 subject groups" in comparison.verdicts[0]


def test_few_people_are_pointed_out(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "a", groups=6, shift=3), make_run(tmp_path / "b", groups=6, shift=0)])
    assert "3 of class all and 3 of class hem" in comparison.cautions[0]
    assert "a hint, not a finding" in comparison.verdicts[0]


def test_the_interval_covers_most_of_the_truth() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    group = pd.Series(np.repeat(np.arange(60), 5))
    label = pd.Series(np.where(group % 2, "all", "hem"))
    positive = (label == "all").to_numpy()
    for trial in range(100):
        score = rng.normal(size=300) + positive
        low, high = interval(weighted_auroc(positive, score, group_weights(label, group, resamples=400, seed=trial)))
        covered += low <= 0.7602 <= high  # Phi(1 / sqrt(2)), the AUROC of two unit normals one apart
    assert covered >= 88


def test_runs_that_may_not_be_compared_are_refused_with_the_reason(tmp_path: Path) -> None:
    first = make_run(tmp_path / "first")
    for name, change, reason in (
        ("fewer", {"drop": 3}, r"120 and 117 rows, 3 of them in one run only \(first: H0_0\.bmp\)"),
        ("leaky", {"leaky": True}, "leaky was split with subjects on both sides"),
        ("smear", {"background": "smear"}, "read the cells on black and smear"),
        ("elsewhere", {"manifest": "fedcba9876543210"}, "different manifests"),
    ):
        other = make_run(tmp_path / name, **change)
        with pytest.raises(StudyError, match=reason) as raised:
            compare([first, other])
        assert str(first.folder) in str(raised.value)
        assert str(other.folder) in str(raised.value)
    one_class = make_run(tmp_path / "one", groups=1)
    with pytest.raises(StudyError, match="holds 1 class"):
        compare([one_class])
    with pytest.raises(StudyError, match="same name"):
        compare([first, read_run(first.folder)])


def test_a_leaky_comparison_says_so_first(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "a", leaky=True, groups=40)])
    assert comparison.cautions[0].startswith("LEAKY")
    assert comparison.table["split"].tolist() == ["LEAKY"]


def test_the_report_is_one_file_that_needs_no_network(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / name, seed=seed).folder for seed, name in enumerate(("svm", "<b>knn"))]
    write_report(folders, tmp_path / "report")
    html = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="([^":,;]*)', html)) == {"data"}
    assert "&lt;b&gt;knn" in html
    assert "<b>knn" not in html
    assert "not a medical device" in html
    table = pd.read_csv(tmp_path / "report" / "table.csv")
    assert table["run"].tolist() == ["svm", "<b>knn"]
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "report.html",
        "roc.png",
        "roc.svg",
        "table.csv",
        "table.md",
    }


def test_equal_runs_give_equal_reports(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "svm").folder
    for name in ("one", "two"):
        write_report([folder], tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
