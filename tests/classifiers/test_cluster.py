"""The search for settings on real clusters of two workers on this machine, one of which is killed half-way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import leukobench.classifiers.search
import leukobench.core.workers
from leukobench.classifiers.search import _decisions
from leukobench.classifiers.training import train_classifier
from leukobench.cli import main
from leukobench.results.run import RunFolder

SETTINGS = {"C": [1, 3], "gamma": ["scale", 0.01], "kernel": ["rbf", "linear"], "projection": ["none", "whiten"]}


def train(cohort: Path, out: Path, **where: str) -> RunFolder:
    files = cohort / "features.csv", cohort / "split.csv"
    return train_classifier(*files, out, settings=SETTINGS, importance=False, seed=1, **where)


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_cluster_trains_the_same_model_though_a_worker_is_killed(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, backend: str
) -> None:
    killed = tmp_path / "killed"

    def decide_but_be_killed_once(combinations: list, *arguments: object) -> np.ndarray:
        if combinations[0]["projection"] == "whiten" and not killed.exists():
            killed.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return _decisions(combinations, *arguments)

    scheduler = request.getfixturevalue(backend)
    here = train(cohort, tmp_path / "here")
    monkeypatch.setattr(leukobench.classifiers.search, "_decisions", decide_but_be_killed_once)
    there = train(cohort, tmp_path / "there", backend=backend, scheduler=scheduler)
    assert int(killed.read_text()) != os.getpid()
    for name in ("search.csv", "predictions.csv", "metrics.json"):
        assert (there.folder / name).read_bytes() == (here.folder / name).read_bytes(), name
    assert there.info.parameters == here.info.parameters
    assert there.info.command[-6:] == ("--backend", backend, "--scheduler", scheduler, "--out", str(there.folder))


def test_a_cluster_that_does_not_answer_ends_in_one_line_and_leaves_nothing(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(leukobench.core.workers, "PATIENCE", 1)
    given = [
        "train-svm",
        str(cohort / "features.csv"),
        "--split",
        str(cohort / "split.csv"),
        "-o",
        str(tmp_path / "run"),
    ]
    result = CliRunner().invoke(main, [*given, "--backend", "dask", "--scheduler", "127.0.0.1:9"])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: 127.0.0.1:9: no Dask scheduler answers")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["train-svm", "train-knn", "leakage", "benchmark"])
def test_a_cluster_needs_an_address(cohort: Path, tmp_path: Path, command: str) -> None:
    files = {"benchmark": ["images"], "leakage": ["features.csv", "manifest.csv"]}.get(command, ["features.csv"])
    split = ["--split", str(cohort / "split.csv")] if command.startswith("train") else []
    given = [command, *(str(cohort / name) for name in files), *split, "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*given, "--backend", "ray"])
    assert result.exit_code == 2
    assert "--backend dask and --backend ray need --scheduler" in result.output
