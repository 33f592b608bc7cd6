from __future__ import annotations

import dataclasses
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leukobench.cohort.partition import read_split
from leukobench.core.errors import InputError
from leukobench.results.calibration import Calibration, calibrated
from leukobench.results.run import RunFolder, predictions_table, read_run_folder, write_run
from leukobench.results.run_info import RunInfo, by_fold, command_line, split_facts


def save_text(folder: Path) -> None:
    (folder / "model.txt").write_text("model")


def make_run(cohort: Path, folder: Path, save_models: Callable[[Path], None] = save_text) -> RunFolder:
    partition = read_split(cohort / "split.csv")
    score = np.linspace(0, 1, len(partition.rows))
    info = RunInfo(
        family="svm",
        recipe="a-recipe",
        parameters={},
        seed=0,
        background="black",
        **split_facts(partition),
        seconds={"fit": 1.0, "predict": 0.5},
        command=command_line("train-svm", ["a table.csv"], {"--split": "split.csv"}),
    )
    return write_run(folder, info, predictions_table(partition.rows, score), save_models)


def test_a_run_reads_back_unchanged(cohort: Path, tmp_path: Path) -> None:
    run = make_run(cohort, tmp_path / "runs" / "a")
    assert run.name == "a"
    assert len(run.predictions) == 40
    assert run.predictions["score"].tolist() == pytest.approx(np.linspace(0, 1, 40).tolist(), abs=1e-9)
    assert (run.predictions["predicted"] == "all").sum() == 20
    assert run.predictions["fold"].isna().all()
    assert run.folds == []
    assert set(run.metrics) == {"train", "validation", "test"}
    assert not run.info.leaky


def test_a_lock_that_could_not_be_removed_is_no_file_of_the_run(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink, failed = os.unlink, []

    def fail_once_for_a_lock_in_the_run(path: str | os.PathLike[str], **options: Any) -> None:
        if not failed and ".metrics.json." in str(path) and str(path).endswith(".lock"):
            failed.append(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", fail_once_for_a_lock_in_the_run)
    run = make_run(cohort, tmp_path / "a")
    assert len(failed) == 1 and failed[0].endswith(".lock")
    assert not list(run.folder.glob(".*"))
    assert read_run_folder(run.folder).info.files.keys() == {"metrics.json", "model.txt", "predictions.csv"}


def test_run_json_reads_back_unchanged(cohort: Path, tmp_path: Path) -> None:
    run = make_run(cohort, tmp_path / "a")
    content = json.loads((tmp_path / "a" / "run.json").read_text())
    assert set(content) == {each.name for each in dataclasses.fields(RunInfo)}
    assert content["command"] == "leukobench train-svm 'a table.csv' --split split.csv"
    assert RunInfo.from_json(content, tmp_path / "a" / "run.json") == run.info
    assert run.info.command == ("leukobench", "train-svm", "a table.csv", "--split", "split.csv")


def test_predictions_of_a_fold_are_those_of_its_validation_and_test_part(cohort: Path) -> None:
    rows = read_split(cohort / "split.csv").rows
    table = predictions_table(rows, np.zeros(len(rows)), fold=2)
    assert table["path"].tolist() == rows["path"][rows["part"] != "train"].tolist()
    assert set(table["part"]) == {"validation", "test"}
    assert (table["fold"] == 2).all()


def test_a_calibrated_cross_validation_reads_back_unchanged(cohort: Path, folds: Path, tmp_path: Path) -> None:
    calibration = {0: Calibration(0.5, 0.8, 4, 16, 0.5), 1: None, 2: Calibration(-1.0, 2.0, 4, 16, 0.7)}
    raw = np.linspace(0, 1, 40)
    split = read_split(folds)
    tables = [predictions_table(part.rows, raw, fold, calibration[fold]) for fold, part in split.by_fold()]
    info = dataclasses.replace(make_run(cohort, tmp_path / "a").info, calibration=by_fold(calibration))
    write_run(tmp_path / "b", info, pd.concat(tables), save_text)
    run = read_run_folder(tmp_path / "b")
    assert {fold: run.info.calibration_of(fold) for fold in run.folds} == calibration
    assert run.info.calibration_of(None) is None
    assert set(run.metrics) == {"validation", "test"}
    for fold, partition in split.by_fold():
        for part in ("validation", "test"):
            found = run.part(part, fold)
            assert found["path"].tolist() == partition.part(part)["path"].tolist()
            expected = calibrated(raw[(partition.rows["part"] == part).to_numpy()], calibration[fold])
            assert found["score"].to_numpy() == pytest.approx(expected, abs=1e-9)
            assert (found["predicted"] == np.where(found["score"] >= 0.5, "all", "hem")).all()
            # and anybody can compute one column of the table from the other
            again = np.round(calibrated(found["raw_score"].to_numpy(), calibration[fold]), 9)
            assert found["score"].tolist() == again.tolist()
    assert (run.part("test", 1)["score"] == run.part("test", 1)["raw_score"]).all()
    assert run.part("test")["path"].is_unique


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


def test_incomplete_and_changed_folders_are_refused(cohort: Path, tmp_path: Path) -> None:
    make_run(cohort, tmp_path / "incomplete")
    (tmp_path / "incomplete" / "metrics.json").unlink()
    with pytest.raises(InputError, match=r"incomplete: metrics\.json is missing"):
        read_run_folder(tmp_path / "incomplete")

    make_run(cohort, tmp_path / "changed")
    table = tmp_path / "changed" / "predictions.csv"
    table.write_text(table.read_text().replace("hem", "all", 1))
    with pytest.raises(InputError, match=r"predictions\.csv: was changed"):
        read_run_folder(tmp_path / "changed")

    with pytest.raises(InputError, match="no such run folder"):
        read_run_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is no run folder"):
        read_run_folder(cohort)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": None}, "seed is not a whole number"),
        ({"seed": True}, "seed is not a whole number"),
        ({"leaky": "no"}, "leaky is not true or false"),
        ({"files": []}, "files is not a table of names and values"),
        ({"calibration": []}, "calibration is not a table of names and values"),
        ({"calibration": {"final": {"slope": 1}}}, "calibration of final: is not intercept, positive slope"),
        ({"command": "leukobench 'train"}, "command cannot be read"),
        ({"format": 2}, r"was written by leukobench .*, whose run folders this version \(.*\) does not read"),
    ],
)
def test_a_malformed_run_json_is_refused(cohort: Path, tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    make_run(cohort, tmp_path / "a")
    file = tmp_path / "a" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError, match=reason):
        read_run_folder(tmp_path / "a")


def test_a_missing_key_and_a_malformed_json_file_are_refused(cohort: Path, tmp_path: Path) -> None:
    make_run(cohort, tmp_path / "a")
    file = tmp_path / "a" / "run.json"
    content = json.loads(file.read_text())
    del content["seed"]
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"run\.json: lacks seed"):
        read_run_folder(tmp_path / "a")
    for text in ("{", "[]"):
        file.write_text(text)
        with pytest.raises(InputError, match=r"run\.json: (cannot be read|is not the run\.json)"):
            read_run_folder(tmp_path / "a")


def test_a_run_folder_of_version_0_1_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.json").write_text('{"leukobench": "0.1.0", "family": "svm"}')
    with pytest.raises(InputError, match=r"old: was written by leukobench 0\.1\.0, .*train again"):
        read_run_folder(tmp_path / "old")


@pytest.mark.parametrize(
    "change",
    [
        {"part": "holdout"},
        {"label": "blast"},
        {"score": "x"},
        {"score": 7},
        {"raw_score": -1},
        {"fold": "b"},
    ],
)
def test_malformed_predictions_are_refused(cohort: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    run = make_run(cohort, tmp_path / "a")
    table, info = tmp_path / "a" / "predictions.csv", tmp_path / "a" / "run.json"
    pd.read_csv(table).assign(**change).to_csv(table, index=False)
    files = {name: checksum for name, checksum in run.info.files.items() if name != "predictions.csv"}
    info.write_text(json.dumps(json.loads(info.read_text()) | {"files": files}))
    with pytest.raises(InputError, match=r"predictions\.csv: .* has a (part|label|score|raw_score|fold)"):
        read_run_folder(tmp_path / "a")
