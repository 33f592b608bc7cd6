from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from leukobench.cohort.partition import read_partitions
from leukobench.core.errors import InputError
from leukobench.results.run import Run, predictions_table, read_run, split_facts, write_run


def save_text(folder: Path) -> None:
    (folder / "model.txt").write_text("model")


def make_run(cohort: Path, folder: Path, save_models: Callable[[Path], None] = save_text) -> Run:
    partitions = read_partitions(cohort / "split.csv")
    partition = partitions[""]
    score = np.linspace(0, 1, len(partition))
    info = {
        "family": "svm",
        "recipe": "a-recipe",
        "parameters": {},
        "seed": 0,
        "background": "black",
        **split_facts(partitions, cohort / "split.csv"),
        "excluded": {},
        "seconds": {"fit": 1.0, "predict": 0.5},
    }
    return write_run(folder, info, predictions_table(partition, score), save_models)


def test_a_run_is_read_as_it_was_written(cohort: Path, tmp_path: Path) -> None:
    run = make_run(cohort, tmp_path / "runs" / "a")
    assert run.name == "a"
    assert len(run.predictions) == 40
    assert run.predictions["score"].tolist() == pytest.approx(np.linspace(0, 1, 40).tolist(), abs=1e-9)
    assert (run.predictions["predicted"] == "all").sum() == 20
    assert set(run.metrics) == {"train", "validation", "test"}
    assert not run.info["leaky"]


def test_a_run_that_fails_half_way_leaves_nothing(cohort: Path, tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        make_run(cohort, tmp_path / "a", fail)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_kept(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("keep me")
    with pytest.raises(InputError, match="already exists"):
        make_run(cohort, tmp_path / "a")
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["mine.txt"]


def test_torn_and_changed_folders_are_refused(cohort: Path, tmp_path: Path) -> None:
    make_run(cohort, tmp_path / "torn")
    (tmp_path / "torn" / "metrics.json").unlink()
    with pytest.raises(InputError, match=r"torn: metrics\.json is missing"):
        read_run(tmp_path / "torn")

    make_run(cohort, tmp_path / "changed")
    table = tmp_path / "changed" / "predictions.csv"
    table.write_text(table.read_text().replace("hem", "all", 1))
    with pytest.raises(InputError, match=r"predictions\.csv: was changed"):
        read_run(tmp_path / "changed")

    make_run(cohort, tmp_path / "old")
    info = json.loads((tmp_path / "old" / "run.json").read_text())
    del info["seed"]
    (tmp_path / "old" / "run.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match=r"run\.json: lacks seed"):
        read_run(tmp_path / "old")

    with pytest.raises(InputError, match="no such run folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is no run folder"):
        read_run(cohort)
