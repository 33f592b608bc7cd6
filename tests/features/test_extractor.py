from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from features.extractor import extract
from study.errors import StudyError
from study.feature_table import read_feature_table
from study.image import read_image
from study.manifest import read_manifest


def test_the_table_is_the_same_for_any_number_of_processes(cohort: Path, tmp_path: Path) -> None:
    extract(cohort / "images", cohort / "manifest.csv", tmp_path / "two.csv", jobs=2)
    assert (tmp_path / "two.csv").read_bytes() == (cohort / "features.csv").read_bytes()
    table = pd.read_csv(tmp_path / "two.csv")
    assert table["path"].tolist() == read_manifest(cohort / "manifest.csv")["path"].tolist()
    assert len(table.columns) == 1 + 27


def test_parquet_holds_what_csv_holds(cohort: Path, tmp_path: Path) -> None:
    extract(cohort / "images", cohort / "manifest.csv", tmp_path / "a.parquet")
    one, other = (read_feature_table(path).values for path in (tmp_path / "a.parquet", cohort / "features.csv"))
    pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=1e-12)


def test_a_broken_image_costs_its_row_only(cohort: Path, tmp_path: Path) -> None:
    shutil.copytree(cohort / "images", tmp_path / "images")
    paths = read_manifest(cohort / "manifest.csv")["path"]
    broken = tmp_path / "images" / paths[5]
    broken.write_bytes(broken.read_bytes()[:100_000])
    (tmp_path / "images" / paths[9]).unlink()
    done = extract(tmp_path / "images", cohort / "manifest.csv", tmp_path / "a.csv")
    assert done.images == 38
    assert list(done.failed) == [paths[5], paths[9]]
    table = read_feature_table(tmp_path / "a.csv")
    assert table.values.index.tolist() == [path for path in paths if path not in done.failed]
    assert table.failed == done.failed
    whole = pd.read_csv(cohort / "features.csv").set_index("path")
    pd.testing.assert_frame_equal(table.values, whole.loc[table.values.index].astype(float))


def test_cells_on_white_have_the_features_of_those_on_black(cohort: Path, tmp_path: Path) -> None:
    for path in read_manifest(cohort / "manifest.csv")["path"]:
        image = read_image(cohort / "images" / path)
        image = np.where(image.any(axis=2, keepdims=True), image, np.uint8(255))
        (tmp_path / "white" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "white" / path)
    extract(tmp_path / "white", cohort / "manifest.csv", tmp_path / "a.csv", background="white")
    table, black = read_feature_table(tmp_path / "a.csv"), read_feature_table(cohort / "features.csv")
    pd.testing.assert_frame_equal(table.values, black.values)
    assert (table.facts["background"], black.facts["background"]) == ("white", "black")
    with pytest.raises(StudyError, match=r"none of 40 images could be measured; the first: .* is not cut out on black"):
        extract(tmp_path / "white", cohort / "manifest.csv", tmp_path / "b.csv")


def test_nothing_is_written_where_every_image_fails(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(StudyError, match="none of 40 images could be measured"):
        extract(tmp_path / "images", cohort / "manifest.csv", tmp_path / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,geometry_area\na.bmp,1\na.bmp,2\n", "stands twice"),
        ("path,geometry_area\na.bmp,\nb.bmp,2\n", "no finite numbers"),
        ("path,geometry_area\na.bmp,large\n", "no finite numbers"),
        ("file,geometry_area\na.bmp,1\n", "is no feature table"),
        ("", "cannot be read"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(StudyError, match=reason):
        read_feature_table(tmp_path / "bad.csv")
