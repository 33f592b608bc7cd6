"""Run folders that another person wrote, or changed: read or refused in one line, and never believed."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukobench.classifiers.training import train_classifier
from leukobench.comparison.checklist import answers, limits
from leukobench.comparison.literature import compare_with_literature
from leukobench.comparison.runs import compare
from leukobench.comparison.tables import cost_table, headline
from leukobench.comparison.thumbnails import most_wrong
from leukobench.comparison.verdict import cautions, verdicts
from leukobench.core.errors import InputError
from leukobench.core.files import sha256_of
from leukobench.results.feature_table import CHECKSUM, TableFacts, read_feature_table
from leukobench.results.run import read_run_folder
from leukobench.workflows.prediction import predict
from tests.comparison.cohorts import make_rows, make_run

FOREIGN = (None, [], "x", 1e300, {}, True, [[]], {"a": None}, float("nan"), -1, 10**400, "\x00\r")


@pytest.fixture(scope="module")
def trained(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that a training wrote."""
    folder = tmp_path_factory.mktemp("trained") / "svm"
    return train_classifier(cohort / "features.csv", cohort / "split.csv", folder, recipe="leukobench-svm").folder


def change_file(folder: Path, name: str, content: bytes) -> None:
    """Replace a file of a run folder, and its checksum in run.json."""
    (folder / name).write_bytes(content)
    info = json.loads((folder / "run.json").read_text())
    info["files"][name] = sha256_of(folder / name)
    (folder / "run.json").write_text(json.dumps(info))


def change_predictions(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    table = pd.read_csv(folder / "predictions.csv", dtype=str, keep_default_na=False)
    change_file(folder, "predictions.csv", change(table).to_csv(index=False).encode())


def use(folder: Path) -> str:
    """Read a run and do everything with it that a report does, but for its figures."""
    comparison = compare([read_run_folder(folder)])
    texts = [headline(comparison), *verdicts(comparison), *cautions(comparison), str(limits(comparison))]
    texts += [str(compare_with_literature(comparison)), str(answers(comparison, []))]
    return "\n".join([*texts, str(comparison.table), str(cost_table(comparison, list(comparison.runs)))])


def refusal(folder: Path) -> str:
    """Return the message with which a run is refused, "" if it is not."""
    try:
        use(folder)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
        assert folder.name in str(error)
        return str(error)
    return ""


def places(content: Any, depth: int = 3) -> Iterator[tuple[Any, ...]]:
    """The place of every value in a JSON file, down to a depth."""
    if depth and content:
        for key in content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ():
            yield (key,)
            yield from ((key, *rest) for rest in places(content[key], depth - 1))


def replaced(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    content = copy.deepcopy(content)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return content


def test_a_value_of_another_type_anywhere_in_run_json_is_used_or_refused_in_one_line(
    trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    assert use(folder)
    content = json.loads((folder / "run.json").read_text())
    refused = {}
    for place in places(content, 2):
        for value in FOREIGN if len(place) == 1 else FOREIGN[:4]:
            (folder / "run.json").write_text(json.dumps(replaced(content, place, value)))
            refused[place, str(value)] = refusal(folder)
    assert len(refused) > 400
    for name in ("seconds", "checksums", "versions", "files", "leaky", "seed", "format", "command", "excluded"):
        assert refused[(name,), "None"], name
    assert refused[("seconds", "predict"), "x"]
    assert "run.json: seconds is not a table of durations" in refused[("seconds",), "{}"]
    assert refused[("model_parameters",), "None"] == ""


def test_a_foreign_value_in_run_json_is_refused_in_one_line_when_the_model_predicts(
    cohort: Path, trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    content = json.loads((folder / "run.json").read_text())
    wanted = predict(folder, cohort / "features.csv", tmp_path / "right.csv").scored
    changed = [("parameters", name) for name in ("table", "features")] + [("versions", "scikit-learn")]
    changed += [("parameters", "table", name) for name in content["parameters"]["table"]]
    for number, place in enumerate(changed):
        for value in FOREIGN:
            (folder / "run.json").write_text(json.dumps(replaced(content, place, value)))
            out = tmp_path / f"{number}.csv"
            try:
                found = predict(folder, cohort / "features.csv", out).scored
            except InputError as error:
                assert len(str(error).splitlines()) == 1
                assert not out.exists()
            else:
                pd.testing.assert_frame_equal(found, wanted)
                out.unlink()


@pytest.mark.parametrize("name", ["batch_size", "input_side", "frame", "views"])
def test_a_parameter_of_a_network_that_is_no_whole_number_is_refused(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path / "run", parameters={name: 8})
    assert run.count(name) == 8
    for value in (None, [], "x", 1e300, True, 0, -1):
        run = make_run(tmp_path / repr(value), parameters={name: value})
        with pytest.raises(InputError, match=rf"run\.json: the parameter {name} is no whole number"):
            run.count(name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", b"[" * 100_000),
        ("run.json", b"\xff"),
        ("run.json", b""),
        ("metrics.json", b"[" * 100_000),
        ("metrics.json", b"[]"),
        ("metrics.json", b'{"test": {"auroc": "x"}}'),
        ("history.csv", b""),
        ("history.csv", b"\xff\xfe"),
        ("history.csv", b"loss\nx\n"),
        ("importance.csv", b"feature,drop\na,x\n"),
        ("importance.csv", b"\xff"),
        ("predictions.csv", b""),
        ("predictions.csv", b"\xff\xff"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(trained: Path, tmp_path: Path, name: str, content: bytes) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    if name == "run.json":
        (folder / name).write_bytes(content)
    else:
        change_file(folder, name, content)
    with pytest.raises(InputError, match=name) as caught:
        compare([folder]).figures()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("fold", ["1.5", "inf", "-1", "1e300", "nan", "x"])
def test_a_fold_that_is_no_whole_number_is_refused(tmp_path: Path, fold: str) -> None:
    run = make_run(tmp_path / "run", folds=3)
    change_predictions(run.folder, lambda table: table.assign(fold=[fold, *table["fold"][1:]]))
    with pytest.raises(InputError, match="fold that is not a whole number"):
        read_run_folder(run.folder)


def test_leakage_that_run_json_denies_is_refused(tmp_path: Path) -> None:
    rows = make_rows(12, 10)
    rows["part"] = np.where(np.arange(len(rows)) % 10 < 5, "train", "test")  # every subject on both sides
    said = make_run(tmp_path / "said", rows=rows, leaky=True)
    assert compare([said.folder]).leaky == ["said"]

    info = json.loads((said.folder / "run.json").read_text())
    (said.folder / "run.json").write_text(json.dumps(info | {"leaky": False}))
    with pytest.raises(InputError, match=r"said: run\.json says .* share no subjects, but .* 12 subject groups"):
        compare([said.folder])

    # without rows of training and validation, the method of the split still says so
    method = make_run(tmp_path / "method", leaky=True)
    info = json.loads((method.folder / "run.json").read_text())
    (method.folder / "run.json").write_text(json.dumps(info | {"leaky": False}))
    with pytest.raises(InputError, match="the split is image-LEAKY"):
        compare([method.folder])


def test_leakage_within_a_fold_is_refused_and_other_folds_may_have_the_group(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", folds=3)
    table = pd.read_csv(run.folder / "predictions.csv", dtype=str, keep_default_na=False)
    elsewhere = table[table["fold"] == "0"].assign(part="validation", fold="1")
    change_predictions(run.folder, lambda table: pd.concat([table, elsewhere]))
    assert len(read_run_folder(run.folder).part("validation")) == len(elsewhere)
    change_predictions(run.folder, lambda table: pd.concat([table, elsewhere.head(1).assign(fold="0", path="a.bmp")]))
    with pytest.raises(InputError, match="1 subject group in several parts"):
        read_run_folder(run.folder)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A cell that is nobody else's business, beside the folder of images."""
    pixels = np.zeros((60, 60, 3), np.uint8)
    pixels[10:50, 10:50] = 200, 30, 90
    Image.fromarray(pixels).save(tmp_path / "private.png")
    (tmp_path / "images").mkdir()
    return tmp_path / "private.png"


@pytest.mark.parametrize(
    "path", ["../private.png", "a/../../private.png", "/private.png", "{absolute}", "C:private.png"]
)
def test_no_picture_from_outside_the_folder_of_images_gets_into_a_report(
    tmp_path: Path, picture: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", shift=-3)  # almost every cell is misclassified
    wanted = path.format(absolute=picture)
    change_predictions(run.folder, lambda table: table.assign(path=[*table["path"][:-1], wanted]))
    opened: list[object] = []
    monkeypatch.setattr("leukobench.comparison.thumbnails.read_cell", lambda *arguments: opened.append(arguments))
    with pytest.raises(InputError, match=r"predictions\.csv: '.*private\.png' .* no image is shown"):
        compare([run.folder]).report(tmp_path / "report", images=tmp_path / "images")
    assert opened == []
    assert not (tmp_path / "report").exists()


def test_links_in_the_folder_of_images_are_the_users_own_and_are_followed(tmp_path: Path, picture: Path) -> None:
    rows = make_rows(12, 1).assign(path=[f"{number}.png" for number in range(12)])
    for path in rows["path"]:
        (tmp_path / "images" / path).symlink_to(picture)
    run = make_run(tmp_path / "run", rows=rows, shift=-3)
    shown = most_wrong(compare([run.folder]), tmp_path / "images")
    assert len(shown["run"]) == 1  # one image with twelve names


def test_a_value_of_another_type_in_features_json_is_refused_in_one_line(cohort: Path, tmp_path: Path) -> None:
    shutil.copyfile(cohort / "features.csv", tmp_path / "features.csv")
    content = json.loads((cohort / "features.csv.json").read_text())
    assert set(content) == {field.name for field in dataclasses.fields(TableFacts)} | {CHECKSUM}
    for name in content:
        for value in (None, [], 1e300, True):
            (tmp_path / "features.csv.json").write_text(json.dumps(content | {name: value}))
            with pytest.raises(InputError, match=r"features\.csv\.json: ") as caught:
                read_feature_table(tmp_path / "features.csv")
            assert len(str(caught.value).splitlines()) == 1
    for text in ("[" * 100_000, "[]", ""):
        (tmp_path / "features.csv.json").write_text(text)
        with pytest.raises(InputError, match=r"features\.csv\.json: "):
            read_feature_table(tmp_path / "features.csv")
