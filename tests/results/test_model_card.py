"""The model card of a run folder says what the run folder records, and nothing depends on it."""

from __future__ import annotations

from pathlib import Path

from leukobench.results.model_card import CARD
from leukobench.results.run import read_run_folder
from tests.comparison.cohorts import make_rows, make_run


def test_it_has_the_sizes_of_the_parts_the_metrics_and_a_line_for_each_test_subject(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", groups=6, cells=10, validation=True)
    text = (run.folder / CARD).read_text(encoding="utf-8")
    assert text.startswith(f"# Model card: {run.info.recipe}\n")
    assert "| test | 60 | 30 | 30 | 6 | 6 |" in text
    assert "| validation | 60 | 30 | 30 | 6 | 6 |" in text
    assert f"| test | {run.metrics['test']['auroc']:.3f} |" in text
    test = run.part("test")
    for subject, rows in test.groupby("subject"):
        right = (rows["predicted"] == rows["label"]).mean()
        assert f"| {subject} | {rows['label'].iloc[0]} | 10 | {rows['score'].mean():.2f} | {right:.0%} |" in text
    assert "No subject group is in two parts: the test subjects are unseen." in text
    assert "not a medical device" in text


def test_a_leaky_run_says_so_and_names_do_not_break_the_table(tmp_path: Path) -> None:
    rows = make_rows(4, 3)
    rows = rows.assign(subject=rows["subject"].replace("1", "a|b\n"))
    text = (make_run(tmp_path / "run", rows=rows, leaky=True).folder / CARD).read_text(encoding="utf-8")
    assert "**LEAKY: subjects are shared between parts." in text
    assert "| a\\|b\\n | all | 3 |" in text


def test_a_run_without_it_or_with_another_one_is_as_good(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run.folder / CARD).write_text("notes of the user")
    assert read_run_folder(run.folder).metrics == run.metrics
    (run.folder / CARD).unlink()
    assert read_run_folder(run.folder).metrics == run.metrics
