"""`leukobench predict` with the networks of a run, on images that nobody has labelled."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from leukobench.cells.decoding import read_image
from leukobench.cli import main
from leukobench.cnn import prediction
from leukobench.cnn.architectures import ARCHITECTURES
from leukobench.cnn.backend import keras
from leukobench.cnn.fitting import outputs_of
from leukobench.cnn.recipe_catalog import RECIPES
from leukobench.cnn.recipes import Recipe
from leukobench.cnn.training import train_network
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import write_manifest
from leukobench.cohort.partition import write_split
from leukobench.cohort.splitting import SplitOptions, split_by_subject
from leukobench.results.run import RunFolder
from tests.conftest import REPOSITORY


def two_convolutions(side: int, weights: str | None) -> keras.Model:
    """A network that trains in seconds and whose scores differ: nothing in it is normalised."""
    pixels = keras.Input((side, side, 3))
    x = keras.layers.Conv2D(8, 5, strides=4, activation="relu", kernel_initializer="he_normal")(pixels)
    return keras.Model(pixels, keras.layers.Conv2D(16, 3, activation="relu", kernel_initializer="he_normal")(x))


TINY = Recipe(
    name="tiny",
    source="tests",
    description="two convolutions",
    architecture="two-convolutions",
    input_side=48,
    frame=320,
    head=("average", "sigmoid"),
    optimizer={"name": "Adam", "learning_rate": 0.02},
    batch_size=16,
    epochs=4,
)


def leukobench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    """Check that a command ended in one line, and return it."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)  # click's own way out; anything else would be a traceback
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    return line


def trained(images: Path, manifest: Path, partition: Path, out: Path, **changes: Any) -> RunFolder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, TINY.architecture, two_convolutions)
        patch.setitem(RECIPES, TINY.name, TINY)
        run = train_network(images, manifest, partition, out, recipe=TINY.name, changes=changes, seed=1)
    assert run.predictions["score"].std() > 0.005  # scores that differ, so that equal ones mean something
    assert (run.predictions["score"] - run.predictions["raw_score"]).abs().max() > 0.001  # and are calibrated
    return run


@pytest.fixture(scope="module")
def run(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    files = (cohort / name for name in ("images", "manifest.csv", "split.csv"))
    return trained(*files, tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def run_of_folds(cohort: Path, folds: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return trained(cohort / "images", cohort / "manifest.csv", folds, tmp_path_factory.mktemp("run") / "folds")


@pytest.fixture
def unlabelled(cohort: Path, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The cohort's images under numbers, in two folders, and the path that each had."""
    known = {}
    for number, path in enumerate(sorted((cohort / "images").rglob("*.bmp"))):
        name = f"{'early' if number < 9 else 'late/more'}/{number:03}.bmp"
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "new" / name)
        known[name] = path.relative_to(cohort / "images").as_posix()
    return tmp_path / "new", known


def test_images_without_labels_get_the_scores_that_training_wrote_for_them(
    run: RunFolder, unlabelled: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, known = unlabelled
    result = leukobench("predict", run.folder, folder, "-o", tmp_path / "scores.csv", "--jobs", 2)
    assert result.exit_code == 0, result.output
    assert "40 cells predicted" in result.output
    scored = pd.read_csv(tmp_path / "scores.csv")
    assert list(scored.columns) == ["path", "score", "predicted", "novelty", "out_of_distribution"]
    assert scored["path"].tolist() == sorted(known)
    written = run.predictions.set_index("path").loc[scored["path"].map(known)]
    assert scored["score"].to_numpy() == pytest.approx(written["score"].to_numpy(), abs=1e-6)
    assert scored["predicted"].tolist() == written["predicted"].tolist()
    assert not (tmp_path / "scores.csv.failures.csv").exists()


def test_a_few_images_do_not_cost_a_whole_batch(run: RunFolder, cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def recorded(model: keras.Model, inputs: np.ndarray, rows: np.ndarray, batch_size: int, **options: Any) -> Any:
        sizes.append(batch_size)
        return outputs_of(model, inputs, rows, batch_size, **options)

    monkeypatch.setattr(prediction, "outputs_of", recorded)
    images = sorted((cohort / "images").rglob("*.bmp"))[:3]
    few, _ = prediction.predict_images(run, images, batch_size=1000)
    assert set(sizes) == {3}
    one_by_one, _ = prediction.predict_images(run, images, batch_size=1)
    assert few["score"].to_numpy() == pytest.approx(one_by_one["score"].to_numpy(), abs=1e-6)


def test_of_a_manifest_its_rows_are_scored_in_its_order(run: RunFolder, cohort: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(cohort / "manifest.csv", dtype=str, keep_default_na=False)[::-3]
    rows.assign(label="", subject="", subject_group="").to_csv(tmp_path / "some.csv", index=False)
    out = tmp_path / "scores.csv"
    result = leukobench("predict", run.folder, cohort / "images", "--manifest", tmp_path / "some.csv", "-o", out)
    assert result.exit_code == 0, result.output
    scored = pd.read_csv(out)
    assert scored["path"].tolist() == rows["path"].tolist()
    written = run.predictions.set_index("path")["score"][scored["path"]]
    assert scored["score"].to_numpy() == pytest.approx(written.to_numpy(), abs=1e-6)


def test_of_a_cross_validation_the_mean_of_the_folds_or_one_of_them_scores(
    run_of_folds: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    def scores(name: str, *options: object) -> pd.Series:
        out = tmp_path / f"{name}.csv"
        result = leukobench("predict", run_of_folds.folder, cohort / "images", *options, "-o", out)
        assert result.exit_code == 0, result.output
        return pd.read_csv(out).set_index("path")["score"]

    by_fold = {fold: scores(fold, "--fold", fold) for fold in "012"}
    for fold, of_fold in by_fold.items():
        written = run_of_folds.predictions[run_of_folds.predictions["fold"] == int(fold)].set_index("path")["score"]
        assert len(written) >= 8
        assert of_fold[written.index].to_numpy() == pytest.approx(written.to_numpy(), abs=1e-6)
    mean = sum(by_fold.values()) / 3
    assert (by_fold["0"] - mean).abs().max() > 0.01
    assert scores("mean").to_numpy() == pytest.approx(mean.to_numpy(), abs=1e-8)
    result = leukobench("predict", run_of_folds.folder, cohort / "images", "--fold", 3, "-o", tmp_path / "out.csv")
    assert refused(result).endswith("contains no model_fold_3.keras; choose one of the folds 0, 1, 2")


def test_images_that_cannot_be_read_are_listed_and_the_others_scored(
    run: RunFolder, unlabelled: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    folder, known = unlabelled
    truncated, text, lost = (folder / name for name in sorted(known)[:20:7])
    truncated.write_bytes(truncated.read_bytes()[:999])
    text.write_text("no image")
    corner = np.zeros((500, 500, 3), np.uint8)
    corner[:40, :40] = 200  # a cell outside the 320 px in the middle, where the network sees nothing
    Image.fromarray(corner).save(lost)
    out = tmp_path / "scores.csv"
    line = refused(leukobench("predict", run.folder, folder, "-o", out))
    first = truncated.relative_to(folder).as_posix()
    assert (
        f"3 of 40 images could not be read, listed in {tmp_path / 'scores.csv.failures.csv'}; the first: {first}"
        in line
    )
    failed = pd.read_csv(tmp_path / "scores.csv.failures.csv")
    assert failed["path"].tolist() == [path.relative_to(folder).as_posix() for path in (truncated, text, lost)]
    for reason, says in zip(failed["reason"], ("truncated", "not an image", "no cell within the 320 px"), strict=True):
        assert says in reason
        assert str(tmp_path) not in reason
    scored = pd.read_csv(out)
    assert scored["path"].tolist() == sorted(set(known) - set(failed["path"]))
    written = run.predictions.set_index("path")["score"][scored["path"].map(known)]
    assert scored["score"].to_numpy() == pytest.approx(written.to_numpy(), abs=1e-6)


def test_an_image_of_the_manifest_that_is_not_there_is_one_that_failed(
    run: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    shutil.copytree(cohort / "images", tmp_path / "images")
    gone = pd.read_csv(cohort / "manifest.csv")["path"][5]
    (tmp_path / "images" / gone).unlink()
    out = tmp_path / "scores.csv"
    command = ("predict", run.folder, tmp_path / "images", "--manifest", cohort / "manifest.csv", "-o", out)
    assert "1 of 40 images could not be read" in refused(leukobench(*command))
    assert pd.read_csv(tmp_path / "scores.csv.failures.csv")["path"].tolist() == [gone]
    assert len(pd.read_csv(out)) == 39


def test_a_source_or_an_option_for_the_other_kind_of_run_is_refused(
    run: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    shutil.copytree(run.folder, tmp_path / "svm")
    text = (tmp_path / "svm" / "run.json").read_text()
    (tmp_path / "svm" / "run.json").write_text(text.replace('"family": "cnn"', '"family": "svm"'))
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cell.bmp").write_bytes(b"BM")
    before = sorted(tmp_path.rglob("*"))
    images, table, svm = cohort / "images", cohort / "features.csv", tmp_path / "svm"
    for arguments, says in (
        ((run.folder, table), f"{table}: is a table; {run.folder} is a run of a network, which predicts images"),
        ((svm, table, "--device", "cpu"), "batch_size and device apply to networks only"),
        ((svm, images, "--batch-size", 8), "batch_size and device apply to networks only"),
        ((run.folder, images, "--fold", 1), "contains no model_fold_1.keras; it is not a cross-validation"),
        ((run.folder, tmp_path / "empty"), "contains no image"),
        (
            (run.folder, tmp_path / "broken"),
            f"none of 1 image could be read; the first: {tmp_path / 'broken' / 'cell.bmp'}: ",
        ),
        ((tmp_path / "empty", images), "is no run folder"),
    ):
        line = refused(leukobench("predict", *arguments, "-o", tmp_path / "scores.csv"))
        assert says in line
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "scores.csv.failures.csv").touch()
    assert "already exists" in refused(leukobench("predict", run.folder, images, "-o", tmp_path / "scores.csv"))


@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed: pip install 'leukobench[jax]'"
)
def test_jax_gives_the_scores_of_the_network_that_tensorflow_trained(
    run: RunFolder, cohort: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "cli.py", "predict", run.folder, cohort / "images", "-o", tmp_path / "scores.csv"],
        cwd=REPOSITORY,
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    scored = pd.read_csv(tmp_path / "scores.csv")
    written = run.predictions.set_index("path")["score"][scored["path"]]
    assert scored["score"].to_numpy() == pytest.approx(written.to_numpy(), abs=1e-5)


def test_real_cells_that_lie_elsewhere_and_without_labels_get_the_scores_of_training(
    cnmc: Path, tmp_path: Path
) -> None:
    for path in sorted((cnmc / "training_data").rglob("*.bmp"))[::80]:
        target = tmp_path / "images" / path.relative_to(cnmc)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    manifest = index_folder(tmp_path / "images")
    write_manifest(manifest, tmp_path / "manifest.csv")
    partition = split_by_subject(manifest, 0.3, SplitOptions(validation_size=0.2))
    write_split(partition, tmp_path / "split.csv")
    files = (tmp_path / name for name in ("images", "manifest.csv", "split.csv"))
    run = trained(*files, tmp_path / "run", frame=450)
    (tmp_path / "new").mkdir()
    for number, path in enumerate(run.predictions["path"]):
        # the final test's images have 600 px a side, with the cell in the middle as in those of 450
        Image.fromarray(np.pad(read_image(cnmc / path).rgb, ((75, 75), (75, 75), (0, 0)))).save(
            tmp_path / "new" / f"{number:04}.bmp"
        )
    result = leukobench("predict", run.folder, tmp_path / "new", "-o", tmp_path / "scores.csv")
    assert result.exit_code == 0, result.output
    scored = pd.read_csv(tmp_path / "scores.csv")
    assert scored["score"].to_numpy() == pytest.approx(run.predictions["score"].to_numpy(), abs=1e-6)
