"""`predict` with runs of both families: where images may come from, and what is said of those that fail."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from leukobench.cells.cell import OTHER_BACKGROUND
from leukobench.cells.decoding import read_image
from leukobench.classifiers.training import train_classifier
from leukobench.cli import main
from leukobench.cohort.synthetic import draw_smear
from leukobench.results.novelty import read_novelty
from leukobench.results.referral import refer_share
from leukobench.results.run import RunFolder
from leukobench.workflows.image_sources import for_run
from tests.cnn.test_prediction import trained as trained_network
from tests.formats import assert_described

QUICK = {"n_neighbors": 5, "metric": "euclidean"}


def leukobench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module", params=["knn", "cnn"])
def run(request: pytest.FixtureRequest, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("runs") / "run"
    if request.param == "cnn":
        return trained_network(cohort / "images", cohort / "manifest.csv", cohort / "split.csv", out)
    features, split = cohort / "features.csv", cohort / "split.csv"
    return train_classifier(features, split, out, recipe="leukobench-knn", settings=QUICK, importance=False)


def written_by_training(run: RunFolder, paths: pd.Series) -> list[float]:
    return run.predictions.set_index("path")["score"][paths].tolist()


def test_files_lists_and_folders_are_scored_each_image_once(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    images = sorted((cohort / "images").rglob("*.bmp"))
    (tmp_path / "list.txt").write_text(f"{images[3]}\n\n{images[0]}\n")
    out = tmp_path / "scores.csv"
    last = images[-1].parent
    result = leukobench("predict", run.folder, images[0], tmp_path / "list.txt", last, "-o", out)
    assert result.exit_code == 0, result.output
    scored = pd.read_csv(out)
    assert scored["path"].tolist() == [str(images[0]), str(images[3]), *map(str, sorted(last.rglob("*.bmp")))]
    known = scored["path"].map(lambda path: Path(path).relative_to(cohort / "images").as_posix())
    assert scored["score"].tolist() == pytest.approx(written_by_training(run, known), abs=1e-6)


def test_a_manifest_names_the_images_of_one_folder(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(cohort / "manifest.csv", dtype=str, keep_default_na=False).iloc[::-7]
    rows.to_csv(tmp_path / "some.csv", index=False)
    given = ("predict", run.folder, cohort / "images", "--manifest", tmp_path / "some.csv")
    assert leukobench(*given, "-o", tmp_path / "scores.csv").exit_code == 0
    scored = pd.read_csv(tmp_path / "scores.csv")
    assert scored["path"].tolist() == rows["path"].tolist()
    assert scored["score"].tolist() == pytest.approx(written_by_training(run, scored["path"]), abs=1e-6)
    result = leukobench(*given, tmp_path / "some.csv", "-o", tmp_path / "more.csv")
    assert result.exit_code == 1 and not (tmp_path / "more.csv").exists()


def test_failed_images_are_listed_with_the_reason_and_the_exit_code_says_so(
    run: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    good = next((cohort / "images").rglob("*.bmp"))
    (tmp_path / "text.bmp").write_text("no image")
    (tmp_path / "list.txt").write_text(f"{good}\n{tmp_path / 'text.bmp'}\n{tmp_path / 'absent.bmp'}\n")
    result = leukobench("predict", run.folder, tmp_path / "list.txt", "-o", tmp_path / "scores.csv")
    assert result.exit_code == 1
    assert "1 cell predicted" in result.output and "2 of 3 images could not be read" in result.output
    assert pd.read_csv(tmp_path / "scores.csv")["path"].tolist() == [str(good)]
    failures = pd.read_csv(tmp_path / "scores.csv.failures.csv")
    assert failures["path"].tolist() == [str(tmp_path / "text.bmp"), str(tmp_path / "absent.bmp")]
    assert failures["reason"].str.len().min() > 5
    assert_described(tmp_path / "scores.csv.failures.csv", "predict")


@pytest.mark.parametrize("content", ["\n \n", b"\xff\xfe\x00\x80"], ids=["empty", "not text"])
def test_a_list_without_paths_is_refused_in_one_line(run: RunFolder, tmp_path: Path, content: str | bytes) -> None:
    (tmp_path / "list.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    result = leukobench("predict", run.folder, tmp_path / "list.txt", "-o", tmp_path / "scores.csv")
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert "list.txt" in result.output and "one path a line" in result.output


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_photographs_are_refused_with_what_helps_for_a_run_of_cells_on_black(
    run: RunFolder, cohort: Path, tmp_path: Path, command: str
) -> None:
    cell = read_image(next((cohort / "images").rglob("*.bmp"))).rgb
    photograph, _ = draw_smear(cell, np.random.default_rng(0))
    (tmp_path / "photographs").mkdir()
    cv2.imwrite(str(tmp_path / "photographs" / "a.png"), photograph[..., ::-1])
    given = (run.folder, tmp_path / "photographs", "-o", tmp_path / "refused")
    result = leukobench(command, *given, *(["--fold", "0"] if run.folds else []))
    assert result.exit_code == 1
    assert "is not cut out on black" in result.output
    assert "choose another background" not in result.output  # no option of this command
    assert "`leukobench segment --all` does it for photographs of smears" in result.output
    assert "(--background of `extract` and `train-cnn`)" in result.output
    assert leukobench("segment", tmp_path / "photographs", "--all", "-o", tmp_path / "cells").exit_code == 0
    predicted = leukobench("predict", run.folder, tmp_path / "cells" / "cut_out", "-o", tmp_path / "scores.csv")
    assert predicted.exit_code == 0, predicted.output
    assert len(pd.read_csv(tmp_path / "scores.csv")) >= 1


def test_the_list_of_failures_advises_the_same(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    cell = next((cohort / "images").rglob("*.bmp"))
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((300, 300, 3), 200, np.uint8))
    leukobench("predict", run.folder, cell, tmp_path / "grey.png", "-o", tmp_path / "scores.csv")
    (reason,) = pd.read_csv(tmp_path / "scores.csv.failures.csv")["reason"]
    assert reason.endswith("or train on images like this one")
    assert for_run(f"a.png: {OTHER_BACKGROUND}", "white") == (
        "a.png: cut out the cells like the training cells, or train on images like this one"
    )


def test_the_referred_cells_are_marked_and_counted(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    given = ("predict", run.folder, cohort / "images")
    result = leukobench(*given, "--refer", 0.3, "-o", tmp_path / "scores.csv")
    assert result.exit_code == 0, result.output
    scored = pd.read_csv(tmp_path / "scores.csv")
    expected = refer_share(run, 0.3).apply(scored)["refer"]
    assert scored["refer"].tolist() == expected.tolist() and 0 < expected.sum() < len(scored)
    assert f"; {expected.sum()} to be looked at by eye" in result.output
    assert_described(tmp_path / "scores.csv", "predict")
    both = leukobench(*given, "--refer", 0.3, "--sensitivity", 0.9, "-o", tmp_path / "both.csv")
    assert both.exit_code == 1 and "give one of them" in both.output


def test_the_contact_sheet_shows_the_first_cells_and_says_how_many_it_leaves_out(
    run: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    shutil.copytree(cohort / "images" / "training_data" / "fold_0", tmp_path / "new")
    renamed = next((tmp_path / "new").rglob("*.bmp")).rename(tmp_path / "new" / "<b>&.bmp")
    given = ("predict", run.folder, tmp_path / "new", "-o", tmp_path / "scores.csv")
    result = leukobench(*given, "--html", tmp_path / "sheet.html", "--order", "novelty", "--most", 6)
    assert result.exit_code == 0, result.output
    scored = pd.read_csv(tmp_path / "scores.csv").sort_values("novelty", ascending=False)
    page = (tmp_path / "sheet.html").read_text()
    pictures = re.findall(r'<img alt="cell ([^,]*), predicted \w+, score [\d.]+" src="data:image/jpeg;base64,', page)
    assert list(map(html.unescape, pictures)) == scored["path"].tolist()[:6]
    assert f"{len(scored) - 6} cells are not on this page" in page
    assert "default-src 'none'" in page and "<script" not in page and "<b>&" not in page
    assert renamed.name in scored["path"].tolist()
    again = leukobench(*given[:-1], tmp_path / "again.csv", "--html", tmp_path / "sheet.html")
    assert again.exit_code == 2 and not (tmp_path / "again.csv").exists()


def test_a_run_folder_that_was_moved_predicts_the_same_from_another_folder(
    run: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, tmp_path / "elsewhere" / "copy")
    shutil.copytree(cohort / "images" / "training_data" / "fold_0", tmp_path / "elsewhere" / "new")
    command = [sys.executable, "-m", "leukobench.cli", "predict", "copy", "new", "-o", "scores.csv"]
    environment = os.environ | {"LEUKOBENCH_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        command, cwd=tmp_path / "elsewhere", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    scored = pd.read_csv(tmp_path / "elsewhere" / "scores.csv")
    assert scored["score"].tolist() == pytest.approx(
        written_by_training(run, "training_data/fold_0/" + scored["path"]), abs=1e-6
    )


def test_the_novelty_of_training_is_that_of_prediction_and_a_run_without_says_so(
    run: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    result = leukobench("predict", run.folder, cohort / "images", "-o", tmp_path / "scores.csv")
    scored = pd.read_csv(tmp_path / "scores.csv").set_index("path")
    written = read_novelty(run).set_index("path").loc[scored.index]
    assert scored["novelty"].tolist() == pytest.approx(written["novelty"].tolist(), rel=1e-3)
    flagged = int((scored["novelty"] > 1).sum())
    assert scored["out_of_distribution"].sum() == flagged
    assert f"; {flagged} unlike the training cells" in result.output
    facts = run.info.novelty["final"]
    assert set(facts["test"]) == set(run.part("test")["subject_group"])
    shutil.copytree(run.folder, tmp_path / "old")
    content = json.loads((tmp_path / "old" / "run.json").read_text())
    for name in ("novelty.npz", "novelty.csv"):
        (tmp_path / "old" / name).unlink()
        del content["files"][name]
    del content["novelty"]
    (tmp_path / "old" / "run.json").write_text(json.dumps(content))
    result = leukobench("predict", tmp_path / "old", cohort / "images", "-o", tmp_path / "old.csv")
    assert result.exit_code == 0 and "stores no distribution of its training cells" in result.output
    old = pd.read_csv(tmp_path / "old.csv")
    assert list(old.columns) == ["path", "score", "predicted"]
    assert old["score"].tolist() == scored["score"].tolist()


def test_subjects_of_a_manifest_or_table_have_a_mean_score(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    images, manifest = cohort / "images", cohort / "manifest.csv"
    out = tmp_path / "scores.csv"
    result = leukobench("predict", run.folder, images, "--manifest", manifest, "-o", out)
    assert result.exit_code == 0 and "scores.subjects.csv: mean score of 10 subjects" in result.output
    subjects = pd.read_csv(tmp_path / "scores.subjects.csv", dtype={"subject": str}).set_index("subject")
    rows = pd.read_csv(manifest, dtype=str)
    mean = pd.read_csv(out)["score"].groupby(rows["subject"]).mean()
    assert subjects["score"].to_dict() == pytest.approx(mean.to_dict(), abs=1e-8)
    assert (subjects["low"] <= subjects["score"]).all() and (subjects["cells"] == 4).all()
    assert_described(tmp_path / "scores.subjects.csv", "predict")
    names = rows.assign(path=rows["path"].map(lambda path: Path(path).name))[["path", "subject"]]
    names.iloc[:6].to_csv(tmp_path / "names.csv", index=False)
    result = leukobench("predict", run.folder, images, "--subjects", tmp_path / "names.csv", "-o", tmp_path / "b.csv")
    assert result.exit_code == 0, result.output
    assert pd.read_csv(tmp_path / "b.subjects.csv")["cells"].sum() == 6
