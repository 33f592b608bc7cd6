"""`leukobench explain` on runs of train-svm and train-knn: what it writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from leukobench.classifiers.reference import read_reference
from leukobench.cli import main
from leukobench.results.feature_table import read_feature_table
from leukobench.results.run import RunFolder, read_run_folder
from tests.formats import assert_described

QUICK = {
    "svm": ("--C", "1", "--gamma", "0.01"),
    "knn": ("--neighbors", "5", "--metric", "euclidean", "--neighbor-weight", "uniform"),
}


def leukobench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def trained(family: str, table: Path, split: Path, out: Path) -> RunFolder:
    result = leukobench(f"train-{family}", table, "--split", split, *QUICK[family], "--no-importance", "-o", out)
    assert result.exit_code == 0, result.output
    return read_run_folder(out)


@pytest.fixture(scope="module", params=["svm", "knn"])
def run(request: pytest.FixtureRequest, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("runs")
    return trained(request.param, cohort / "features.csv", cohort / "split.csv", folder / request.param)


@pytest.fixture(scope="module")
def of_folds(cohort: Path, folds: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return trained("knn", cohort / "features.csv", folds, tmp_path_factory.mktemp("runs") / "folds")


def images_of(cohort: Path, run: RunFolder, part: str = "test") -> list[Path]:
    """The first blast and the first normal cell of a part."""
    rows = run.part(part)
    return [cohort / "images" / rows[rows["label"] == label]["path"].iloc[0] for label in ("all", "hem")]


def refused(result: Result, code: int = 1) -> str:
    """Check that a command ended in one line, and return it."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)  # click's own way out; anything else would be a traceback
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    return line


def test_each_image_gets_a_line_a_row_tables_and_a_figure(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    images, out = images_of(cohort, run), tmp_path / "why"
    result = leukobench("explain", run.folder, *images, "-o", out)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert [line.split(": ")[0] for line in lines[-3:]] == [*map(str, images), str(out)]
    known = run.predictions.set_index("path")
    rows = pd.read_csv(out / "explanations.csv")
    families = rows.columns[4:].tolist()
    assert families == ["color", "geometry", "statistics", "texture"]
    for number, (image, row) in enumerate(zip(images, rows.to_dict("records"), strict=True)):
        path = image.relative_to(cohort / "images").as_posix()
        assert row["path"] == image.as_posix()
        assert row["score"] == pytest.approx(known.loc[path, "score"], abs=1e-8)
        assert row["predicted"] == known.loc[path, "predicted"]
        assert f"predicted {row['predicted']} (probability of all {row['score']:.3f}" in lines[-3 + number]
        folder = out / f"{number + 1:03}_{image.stem}"
        by_feature = pd.read_csv(folder / "features.csv").set_index("feature")
        table = pd.read_csv(cohort / "features.csv").set_index("path").loc[path]
        assert by_feature["value"].to_dict() == table.to_dict()  # measured as the training table was
        assert by_feature.loc["geometry_area", "unit"] == "px^2"
        assert by_feature["contribution"].sum() == pytest.approx(row["score"] - row["reference_score"], abs=1e-7)
        sums = by_feature.groupby("family")["contribution"].sum()
        assert sums.to_numpy() == pytest.approx([row[family] for family in families], abs=1e-7)
        assert {file.name for file in folder.iterdir()} == {
            "features.csv",
            "families.csv",
            "contributions.png",
            "contributions.svg",
        }
        with Image.open(folder / "contributions.png") as figure:
            assert figure.width > 1500
        assert by_feature["contribution"].abs().idxmax() in (folder / "contributions.svg").read_text()
    assert_described(out, "explain")
    # what an image is told does not depend on the images beside it
    assert leukobench("explain", run.folder, images[1], "-o", tmp_path / "again").exit_code == 0
    for name in ("features.csv", "families.csv", "contributions.png"):
        together, alone = out / f"002_{images[1].stem}" / name, tmp_path / "again" / f"001_{images[1].stem}" / name
        assert together.read_bytes() == alone.read_bytes()


def test_in_brief_it_writes_the_same_table_and_nothing_else(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    images = images_of(cohort, run)
    for name, options in (("whole", ()), ("brief", ("--brief",))):
        assert leukobench("explain", run.folder, *images, *options, "-o", tmp_path / name).exit_code == 0
    (table,) = (tmp_path / "brief").iterdir()
    assert table.read_bytes() == (tmp_path / "whole" / "explanations.csv").read_bytes()


def test_reference_cells_are_training_cells(run: RunFolder, cohort: Path) -> None:
    reference = pd.read_csv(run.folder / "reference.csv").set_index("path")
    known = run.predictions.set_index("path").loc[reference.index]
    assert set(known["part"]) == {"train"}
    assert reference["label"].tolist() == known["label"].tolist()
    table = read_feature_table(cohort / "features.csv").values.loc[reference.index]
    assert reference.columns[2:].tolist() == table.columns.tolist()
    assert (read_reference(run.folder).features == table.to_numpy()).all()
    assert len(reference) == (run.predictions["part"] == "train").sum()  # so few that all are taken


def test_a_fold_explains_by_its_own_model_and_no_fold_by_that_of_all(
    of_folds: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    tested = of_folds.part("test", 1).iloc[0]
    assert tested["score"] != tested["raw_score"]
    image = cohort / "images" / tested["path"]
    result = leukobench("explain", of_folds.folder, image, "--fold", 1, "-o", tmp_path / "fold")
    assert result.exit_code == 0, result.output
    of_fold = pd.read_csv(tmp_path / "fold" / "explanations.csv").iloc[0]
    assert of_fold["score"] == pytest.approx(tested["score"], abs=1e-8)
    assert leukobench("explain", of_folds.folder, image, "-o", tmp_path / "all").exit_code == 0
    scored = leukobench("predict", of_folds.folder, cohort / "features.csv", "-o", tmp_path / "predictions.csv")
    assert scored.exit_code == 0, scored.output
    expected = pd.read_csv(tmp_path / "predictions.csv").set_index("path").loc[tested["path"], "score"]
    assert pd.read_csv(tmp_path / "all" / "explanations.csv")["score"][0] == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    "options",
    [
        ("--set", "clinton19", "--size", "native"),
        ("--channel", "a", "--levels", "16", "--distances", "1,3", "--stain", "reinhard", "--size", "96"),
    ],
)
def test_images_are_measured_by_the_settings_of_the_table(cohort: Path, tmp_path: Path, options: tuple[str]) -> None:
    table = tmp_path / "table.csv"
    extracted = leukobench("extract", cohort / "images", "--manifest", cohort / "manifest.csv", *options, "-o", table)
    assert extracted.exit_code == 0, extracted.output
    run = trained("svm", table, cohort / "split.csv", tmp_path / "run")
    image = images_of(cohort, run)[0]
    result = leukobench("explain", run.folder, image, "-o", tmp_path / "why")
    assert result.exit_code == 0, result.output
    values = pd.read_csv(tmp_path / "why" / f"001_{image.stem}" / "features.csv").set_index("feature")["value"]
    expected = pd.read_csv(table).set_index("path").loc[image.relative_to(cohort / "images").as_posix()]
    assert values.to_dict() == expected.to_dict()


def changed_run(run: RunFolder, folder: Path, **parameters: object) -> Path:
    """A copy of a run folder with other parameters in its run.json."""
    shutil.copytree(run.folder, folder)
    info = json.loads((folder / "run.json").read_text())
    info["parameters"] |= parameters
    (folder / "run.json").write_text(json.dumps(info))
    return folder


def test_a_run_without_reference_cells_must_be_trained_again(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    older = changed_run(run, tmp_path / "older")
    (older / "reference.csv").unlink()
    command = ("explain", older, images_of(cohort, run)[0], "-o", tmp_path / "why")
    assert "is incomplete: reference.csv is missing" in refused(leukobench(*command))
    info = json.loads((older / "run.json").read_text())
    del info["files"]["reference.csv"]
    (older / "run.json").write_text(json.dumps(info))
    assert f"{older}: contains no reference.csv" in refused(leukobench(*command))
    assert not (tmp_path / "why").exists()


def test_a_table_that_images_cannot_be_measured_like_is_named(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    image, table = images_of(cohort, run)[0], run.info.parameters["table"]
    for name, parameters, says in (
        ("bare", {"table": table | {"settings": {}}}, "its facts do not say how the cells of the table were"),
        ("unknown", {"table": None}, "features.csv.json"),
        (
            "later",
            {"table": table | {"feature_set_version": "9.0"}},
            "measured with version 9.0 of the feature catalogue",
        ),
        ("own", {"table": table | {"feature_set": "own"}}, "no feature set 'own'"),
        ("more", {"features": ["color_mean_red", "gene_a"]}, "the feature set leukobench does not contain gene_a"),
    ):
        other = changed_run(run, tmp_path / name, **parameters)
        line = refused(leukobench("explain", other, image, "-o", tmp_path / "why"))
        assert line.startswith(f"Error: {other}: ")
        assert says in line
    assert not (tmp_path / "why").exists()


def test_images_without_a_usable_cell_end_in_one_line_and_leave_nothing(
    run: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    good = images_of(cohort, run)[0]
    (tmp_path / "broken.bmp").write_bytes(good.read_bytes()[:999])
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "black.bmp")
    (tmp_path / "text.bmp").write_text("no picture")
    before = sorted(tmp_path.rglob("*"))
    for name, says in (
        ("broken.bmp", "cannot be read"),
        ("black.bmp", "holds no cell (every pixel is black)"),
        ("text.bmp", "is not an image that can be read"),
    ):
        line = refused(leukobench("explain", run.folder, good, tmp_path / name, "-o", tmp_path / "why"))
        assert line.startswith(f"Error: {tmp_path / name}: ")
        assert says in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_images_is_explained_and_an_svm_has_no_feature_maps(
    run: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    image = images_of(cohort, run)[0]
    (tmp_path / "cells").mkdir()
    shutil.copy(image, tmp_path / "cells" / "one.bmp")
    assert leukobench("explain", run.folder, tmp_path / "cells", "--brief", "-o", tmp_path / "why").exit_code == 0
    (row,) = pd.read_csv(tmp_path / "why" / "explanations.csv").to_dict("records")
    assert row["path"] == (tmp_path / "cells" / "one.bmp").as_posix()
    path = image.relative_to(cohort / "images").as_posix()
    assert row["score"] == pytest.approx(run.predictions.set_index("path").loc[path, "score"], abs=1e-8)
    line = refused(leukobench("explain", run.folder, image, "--maps", "-o", tmp_path / "maps"))
    assert line == f"Error: {run.folder}: is no network, so it has no feature maps (--maps)"


def test_unusable_folds_and_outputs_are_refused(
    run: RunFolder, of_folds: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    image = images_of(cohort, run)[0]
    line = refused(leukobench("explain", of_folds.folder, image, "--fold", 9, "-o", tmp_path / "why"))
    assert "contains no model_fold_9.skops; choose one of the folds 0, 1, 2" in line
    line = refused(leukobench("explain", run.folder, image, "--fold", 0, "-o", tmp_path / "why"))
    assert "it is not a cross-validation; choose no fold" in line
    assert not list(tmp_path.iterdir())
    assert "already exists" in refused(leukobench("explain", run.folder, image, "-o", tmp_path), code=2)
    assert "is no run folder" in refused(leukobench("explain", tmp_path, image, "-o", tmp_path / "why"))
