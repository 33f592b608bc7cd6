from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from leukobench import cli
from leukobench.comparison.runs import compare
from leukobench.comparison.verdict import cautions
from leukobench.core.errors import InputError
from tests.comparison.cohorts import make_run


def table_of(run_folder: Path, out: Path, /, **changes: object) -> Path:
    """The test scores of a run as the table of another program, with further images."""
    rows = pd.read_csv(run_folder / "predictions.csv", dtype=str)
    rows = rows[rows["part"] == "test"][["path", "subject", "label", "score"]]
    more = pd.DataFrame({"path": ["elsewhere.bmp"], "subject": ["X"], "label": ["all"], "score": ["0.5"]})
    pd.concat([rows.iloc[::-1].assign(**changes), more]).to_csv(out, index=False)
    return out


@pytest.mark.parametrize("folds", [0, 3])
def test_scores_of_another_program_are_measured_like_a_run(tmp_path: Path, folds: int) -> None:
    one, other = (make_run(tmp_path / str(seed), seed=seed, folds=folds, validation=True).folder for seed in (0, 1))
    theirs = table_of(other, tmp_path / "theirs.csv")
    expected, found = (compare([one, second]) for second in (other, theirs))
    for metric in ("auroc", "subject_weighted_auroc", "brier"):
        name, same = expected.table["run"][1], found.table["run"][1]
        assert found.assessment(same).metrics[metric] == expected.assessment(name).metrics[metric]
    assert found.tests["p"].tolist() == expected.tests["p"].tolist()
    assert any(line.startswith("theirs.csv: scores of another program.") for line in cautions(found))


def test_the_command_reports_them(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run").folder
    theirs = table_of(make_run(tmp_path / "other", seed=1).folder, tmp_path / "theirs.csv")
    done = CliRunner().invoke(cli.main, ["compare", str(theirs), str(run), "-o", str(tmp_path / "report")])
    assert done.exit_code == 0, done.output
    assert "nan" not in done.output
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "scores of another program" in page
    assert ">nan<" not in page


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"score": "1.5"}, "is no probability of `all` from 0 to 1"),
        ({"score": "high"}, "is no probability of `all` from 0 to 1"),
        ({"label": "hem"}, "has the label 'hem', and 'all' in"),
        ({"subject": "7"}, "has the subject '7', and "),
        ({"path": "a.bmp"}, "'a.bmp' is listed twice"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    run = make_run(tmp_path / "run").folder
    theirs = table_of(run, tmp_path / "theirs.csv", **changes)
    with pytest.raises(InputError, match=reason):
        compare([run, theirs])


def test_a_table_needs_a_run_with_its_images(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run").folder
    theirs = table_of(run, tmp_path / "theirs.csv")
    with pytest.raises(InputError, match="compare it with at least one run folder"):
        compare([theirs])
    theirs.write_text("path,label,score\nnowhere.bmp,all,0.5\n")
    with pytest.raises(InputError, match=r"lists no image that .*run tested"):
        compare([run, theirs])
