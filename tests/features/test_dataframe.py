from __future__ import annotations

import doctest
import importlib
import shutil
import threading
import warnings
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from leukobench.cli import main
from leukobench.cohort.manifest import read_manifest
from leukobench.core.errors import InputError
from leukobench.core.workers import in_order
from leukobench.features.catalog import features_of
from leukobench.features.dataframe import extract_features
from leukobench.results.feature_table import read_feature_table


@pytest.fixture(scope="module")
def files(cohort: Path) -> list[Path]:
    return [cohort / "images" / path for path in read_manifest(cohort / "manifest.csv")["path"]]


@pytest.fixture
def broken(cohort: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder of the cohort's images, numbers 5 and 35 of which are damaged, and their paths."""
    folder, paths = tmp_path / "images", read_manifest(cohort / "manifest.csv")["path"]
    shutil.copytree(cohort / "images", folder)
    for number in (5, 35):
        (folder / paths[number]).write_bytes(b"no image")
    return folder, [paths[5], paths[35]]


def command_table(cohort: Path, out: Path, *options: str) -> pd.DataFrame:
    arguments = [
        "extract",
        str(cohort / "images"),
        "--manifest",
        str(cohort / "manifest.csv"),
        "-o",
        str(out),
        *options,
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return read_feature_table(out).values


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_table_is_that_of_the_command_extract(cohort: Path, tmp_path: Path, jobs: int) -> None:
    table = extract_features(cohort / "images", jobs=jobs)
    expected = command_table(cohort, tmp_path / "a.csv")
    pd.testing.assert_frame_equal(table, expected, check_exact=True, check_index_type=False)
    assert table.index.name == "path"
    assert table.attrs == {"failures": {}}


def test_the_table_is_that_of_the_command_with_other_settings(cohort: Path, tmp_path: Path) -> None:
    options = "--set full --levels 16 --distances 1,2 --channel blue --stain macenko --size 128"
    expected = command_table(cohort, tmp_path / "a.parquet", *options.split())
    settings = {"levels": 16, "distances": (1, 2), "channel": "blue", "stain": "macenko", "size": 128}
    table = extract_features(str(cohort / "images"), "full", **settings)
    pd.testing.assert_frame_equal(table, expected, check_exact=True, check_index_type=False)


@pytest.mark.parametrize("kind", [list, tuple, pd.Series, np.array, lambda files: [str(file) for file in files]])
def test_a_sequence_of_paths_keeps_its_order(files: list[Path], kind: type) -> None:
    chosen = files[7:2:-2]
    table = extract_features(kind(chosen))
    assert table.index.tolist() == [str(path) for path in chosen]
    whole = extract_features(files)
    pd.testing.assert_frame_equal(table, whole.loc[table.index], check_exact=True)


def test_no_path_gives_an_empty_table() -> None:
    table = extract_features([])
    assert table.shape == (0, len(features_of("leukobench")))
    assert table.columns.tolist() == [feature.name for feature in features_of("leukobench")]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_image_that_cannot_be_measured_is_named_in_one_line(broken: tuple[Path, list[str]], jobs: int) -> None:
    folder, paths = broken
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as joblib's, about results that nobody took
        with pytest.raises(InputError, match=f"^{folder / paths[0]}: is not an image that can be read; [^\n]*$"):
            extract_features(folder, jobs=jobs)
        with pytest.raises(InputError, match=r"^missing\.bmp: cannot be read \(No such file or directory\)"):
            extract_features(["missing.bmp"])


@pytest.mark.parametrize("jobs", [1, 2])
def test_images_that_cannot_be_measured_are_skipped_with_a_warning(
    cohort: Path, broken: tuple[Path, list[str]], jobs: int
) -> None:
    folder, paths = broken
    message = f"^2 of 40 images could not be measured and are left out; the first: {paths[0]}: is not an image"
    with pytest.warns(UserWarning, match=message) as caught:
        table = extract_features(folder, on_error="skip", jobs=jobs)
    assert [Path(warning.filename).name for warning in caught] == ["test_dataframe.py"]  # the caller's line
    assert list(table.attrs["failures"]) == paths
    whole = extract_features(cohort / "images")
    pd.testing.assert_frame_equal(table, whole.drop(index=paths), check_exact=True)


def test_images_of_which_none_can_be_measured_give_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"^1 of 1 images .* the first: a\.png: is empty"):
        assert extract_features(tmp_path, on_error="skip").empty


@pytest.mark.parametrize(
    ("images", "arguments", "reason"),
    [
        ("missing", {}, "missing: does not exist; expected a folder of images or a sequence of image files"),
        ("file", {}, "file: is a file; expected a folder"),
        ("empty", {}, "empty: contains no image"),
        ([1], {}, "images contains 1; expected a folder of images or a sequence of image files"),
        ([], {"on_error": "ignore"}, "on_error is 'ignore'; expected raise or skip"),
        ([], {"background": "grey"}, "no background 'grey'; there is black, white, smear-cell, smear-nucleus, smear"),
        ([], {"feature_set": "all"}, "no feature set 'all'"),
        ([], {"channels": "blue"}, "no setting 'channels'"),
        (["a.png"], {"jobs": 0}, "jobs is 0; expected 1 or more"),
    ],
)
def test_bad_arguments_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: object, arguments: dict, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=reason):
        extract_features(images, **arguments)


@pytest.mark.parametrize("threads", [1, 3])
def test_extracting_leaves_the_process_as_it_was(files: list[Path], threads: int) -> None:
    before, filters, hook = cv2.getNumThreads(), list(warnings.filters), threading.excepthook
    try:
        cv2.setNumThreads(threads)
        extract_features(files[:3], jobs=1)
        with pytest.raises(InputError):
            extract_features([files[0], "missing.bmp"], jobs=1)
        assert cv2.getNumThreads() == threads
        assert warnings.filters == filters
        assert threading.excepthook is hook
    finally:
        cv2.setNumThreads(before)


def test_stopping_early_does_not_stack_up_hooks() -> None:
    hook = threading.excepthook
    try:
        for _ in range(2):
            results = in_order(abs, iter(range(1000)), jobs=2)
            next(results)
            results.close()
        assert threading.excepthook is hook or threading.excepthook.other is hook
    finally:
        threading.excepthook = hook


def test_a_cluster_needs_an_address() -> None:
    with pytest.raises(InputError, match="the backend dask needs the address of a scheduler"):
        in_order(abs, [1], backend="dask")


@pytest.mark.parametrize(
    "module",
    ["cells.cell", "features.measurement", "features.dataframe", "features.transformer", "features.extractor"],
)
def test_the_examples_of_public_functions_work(module: str) -> None:
    results = doctest.testmod(importlib.import_module(f"leukobench.{module}"))
    assert results.attempted > 3
    assert results.failed == 0
