from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import leukobench.workflows.demo
from leukobench.cli import main
from leukobench.cohort.partition import read_partition
from leukobench.results.run import read_run_folder
from leukobench.workflows.demo import run_demo


def test_the_demo_runs_every_step(tmp_path: Path, quick_network: str) -> None:
    assert quick_network == leukobench.workflows.demo.NETWORK
    said: list[str] = []
    demo = run_demo(tmp_path / "demo", subjects=12, cells_per_subject=3, epochs=1, seed=1, say=said.append)
    assert [line.split()[0] for line in said] == [f"{step}/7" for step in range(1, 8)]
    assert demo.report.is_file()
    runs = [read_run_folder(tmp_path / "demo" / "runs" / name) for name in ("svm", "knn", "cnn")]
    tested = [tuple(run.part("test")["path"]) for run in runs]
    assert tested[0] == tested[1] == tested[2]
    assert read_partition(tmp_path / "demo" / "split.csv").shared_groups == []
    assert demo.comparison.table["run"].tolist() == ["svm", "knn", "cnn"]


def test_a_demo_that_stops_leaves_nothing_and_a_killed_one_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "demo"

    def stop(images: Path, **_: object) -> None:
        assert sorted(path.name for path in folder.iterdir()) == [".unfinished"]
        raise KeyboardInterrupt

    monkeypatch.setattr(leukobench.workflows.demo, "generate_cohort", stop)
    for left in ((), (".unfinished", "manifest.csv")):  # what a killed demo leaves
        for name in left:
            folder.mkdir(exist_ok=True)
            (folder / name).touch()
        result = CliRunner().invoke(main, ["demo", "-o", str(folder)])
        assert result.output.splitlines()[-1] == f"Error: {folder}: interrupted"
        assert not folder.exists()
    folder.mkdir()
    (folder / "mine.csv").touch()
    assert "already exists" in CliRunner().invoke(main, ["demo", "-o", str(folder)]).output
    assert [path.name for path in folder.iterdir()] == ["mine.csv"]
