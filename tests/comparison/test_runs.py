from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from leukobench.comparison import runs
from leukobench.comparison.runs import compare
from leukobench.comparison.tables import PAIR_COLUMNS, latex, markdown
from leukobench.core.errors import InputError
from tests.comparison.cohorts import make_run


def test_runs_and_paths_of_run_folders_give_the_same_comparison(tmp_path: Path) -> None:
    made = [make_run(tmp_path / "a"), make_run(tmp_path / "b", seed=1)]
    for given in ([run.folder for run in made], [str(run.folder) for run in made], [made[0], str(made[1].folder)]):
        assert compare(given).table.equals(compare(made).table)
    with pytest.raises(InputError, match="runs: is empty"):
        compare([])
    with pytest.raises(InputError, match="runs: is one run; give a list"):
        compare(str(made[0].folder))


def test_the_table_holds_numbers_one_row_a_run(tmp_path: Path) -> None:
    comparison = compare([make_run(tmp_path / "a"), make_run(tmp_path / "b", seed=1)])
    table = comparison.table.set_index("run")
    auroc = comparison.assessment("b").metrics["auroc"]
    assert table.loc["b", ["auroc", "auroc_low", "auroc_high"]].tolist() == [auroc.value, auroc.low, auroc.high]
    of_subjects = comparison.assessment("b", "subjects").metrics["auroc"]
    assert table.loc["b", "subject_auroc"] == of_subjects.value
    assert table["training_seconds"].tolist() == [1.5, 1.5]


def test_the_tests_hold_one_row_a_pair(tmp_path: Path) -> None:
    made = [make_run(tmp_path / name, seed=seed, shift=2 - seed, groups=40) for seed, name in enumerate("abc")]
    comparison = compare(made)
    tests = comparison.tests
    assert list(tests.columns) == PAIR_COLUMNS
    assert tests[["run", "other_run"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    first = comparison.differences[0]
    assert tests.loc[0, ["auroc_difference", "low", "high", "p"]].tolist() == [
        *vars(first.auroc.estimate).values(),
        first.auroc.p,
    ]
    assert tests.loc[0, "significant"] == first.significant
    assert compare(made[:1]).tests.empty
    assert list(compare(made[:1]).tests.columns) == PAIR_COLUMNS


def test_a_leaky_run_is_not_significantly_better(tmp_path: Path) -> None:
    poor, leaky = make_run(tmp_path / "a", shift=0, groups=40), make_run(tmp_path / "b", leaky=True, shift=3, groups=40)
    pair = compare([poor, leaky], allow_leaky=True).tests.iloc[0]
    assert (pair["run"], pair["comparable"], pair["significant"]) == ("b", False, False)


def test_figures_are_drawn_by_name_and_the_report_is_written(tmp_path: Path) -> None:
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.7, 0.5]})
    comparison = compare([make_run(tmp_path / "a", history=history)])
    figures = comparison.figures()
    names = {"auroc", "roc", "precision_recall", "calibration", "scores", "subjects", "decision", "training"}
    names |= {"referral", "settling"}
    assert set(figures) == names
    assert all(isinstance(figure, Figure) for figure in figures.values())
    written = comparison.report(str(tmp_path / "report"))
    assert written == tmp_path / "report" / "report.html"
    assert {path.stem for path in written.parent.iterdir()} == names | {"report", "summary", "table", "methods"}
    with pytest.raises(InputError, match="already exists"):
        comparison.report(tmp_path / "report")


def test_the_report_repeats_itself_by_its_command(tmp_path: Path) -> None:
    made = [make_run(tmp_path / "a"), make_run(tmp_path / "b", leaky=True, seed=1)]
    text = compare(made, common=True, allow_leaky=True).report(tmp_path / "report").read_text(encoding="utf-8")
    folders = " ".join(str(run.folder) for run in made)
    assert f"leukobench compare {folders} --common --allow-leaky -o report" in text


def test_names_are_escaped_in_latex_and_in_markdown(tmp_path: Path) -> None:
    made = [make_run(tmp_path / name, seed=seed) for seed, name in enumerate(["a_50%&~^$#", "b|c{}"])]
    comparison = compare(made)
    header = latex(comparison).splitlines()[2]
    assert header == r" &  & a\_50\%\&\textasciitilde \textasciicircum \$\# & b|c\{\} \\"
    assert r"a_50%&~^$#" in markdown(comparison)
    assert r"b\|c{}" in markdown(comparison)


def test_it_works_from_any_folder_and_imports_heavy_libraries_only_where_they_are_needed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    code = (
        "import sys\n"
        "from leukobench.comparison.runs import compare\n"
        f"comparison = compare([{str(run.folder)!r}])\n"
        "print(sorted({'statsmodels', 'matplotlib', 'cv2', 'jinja2'} & set(sys.modules)))\n"
        "print(comparison.report('report'))"
    )
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "report/report.html"]
    assert (tmp_path / "elsewhere" / "report" / "report.html").is_file()


def test_the_example_runs() -> None:
    assert doctest.testmod(runs).failed == 0
