from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import leukobench
from leukobench.cells.cell import Cell, read_cell
from leukobench.cells.decoding import read_image
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest, write_manifest
from leukobench.core.errors import InputError
from leukobench.core.files import sha256_of
from leukobench.features.batch import Measurement, measure_batch
from leukobench.features.catalog import VERSION, compute, features_of
from leukobench.features.extractor import extract
from leukobench.features.settings import MeasurementSettings
from leukobench.results.feature_table import read_feature_table


def test_the_table_is_the_same_for_any_number_of_processes(cohort: Path, tmp_path: Path) -> None:
    extract(cohort / "images", cohort / "manifest.csv", tmp_path / "two.csv", jobs=2)
    assert (tmp_path / "two.csv").read_bytes() == (cohort / "features.csv").read_bytes()
    table = pd.read_csv(tmp_path / "two.csv")
    assert table["path"].tolist() == read_manifest(cohort / "manifest.csv")["path"].tolist()
    assert table.columns.tolist() == ["path", *(feature.name for feature in features_of("leukobench"))]


def test_parquet_holds_what_csv_holds(cohort: Path, tmp_path: Path) -> None:
    extract(cohort / "images", cohort / "manifest.csv", tmp_path / "a.parquet")
    one, other = (read_feature_table(path).values for path in (tmp_path / "a.parquet", cohort / "features.csv"))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


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
        image = read_image(cohort / "images" / path).rgb
        image = np.where(image.any(axis=2, keepdims=True), image, np.uint8(255))
        (tmp_path / "white" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "white" / path)
    manifest = tmp_path / "manifest.csv"
    write_manifest(index_folder(tmp_path / "white", near=False), manifest)
    extract(tmp_path / "white", manifest, tmp_path / "a.csv", background="white")
    table, black = read_feature_table(tmp_path / "a.csv"), read_feature_table(cohort / "features.csv")
    pd.testing.assert_frame_equal(table.values, black.values)
    assert (table.facts.background, black.facts.background) == ("white", "black")
    with pytest.raises(InputError, match=r"none of 40 images could be measured; the first: .* is not cut out on black"):
        extract(tmp_path / "white", manifest, tmp_path / "b.csv")


def test_nothing_is_written_where_every_image_fails(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="does not match the manifest: none of its 40 images is there"):
        extract(tmp_path / "images", cohort / "manifest.csv", tmp_path / "a.csv")
    for path in read_manifest(cohort / "manifest.csv")["path"]:
        (tmp_path / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / path).touch()
    with pytest.raises(InputError, match="none of 40 images could be measured"):
        extract(tmp_path / "images", cohort / "manifest.csv", tmp_path / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_the_numbers_are_those_of_the_catalogue_to_the_last_bit(cohort: Path, tmp_path: Path) -> None:
    settings = MeasurementSettings(channel="red", levels=16, quantisation="cell", distances=(1, 3), size=128)
    manifest = cohort / "manifest.csv"
    extract(cohort / "images", manifest, tmp_path / "a.csv", feature_set="patel", settings=settings)
    extract(cohort / "images", manifest, tmp_path / "b.parquet", feature_set="patel", settings=settings, jobs=2)
    expected = [
        list(compute(read_cell(cohort / "images" / path), "patel", settings).values())
        for path in read_manifest(manifest)["path"]
    ]
    for name in ("a.csv", "b.parquet"):
        table = read_feature_table(tmp_path / name).values
        assert table.columns.tolist() == [feature.name for feature in features_of("patel", settings)]
        assert np.array_equal(table.to_numpy(), expected)


def test_what_was_measured_and_how_is_recorded_beside_the_table(cohort: Path, tmp_path: Path) -> None:
    settings = MeasurementSettings(
        channel="b", levels=8, quantisation="cell", distances=(1, 2, 4), stain="reinhard", size=128
    )
    extract(cohort / "images", cohort / "manifest.csv", tmp_path / "a.csv", feature_set="patel", settings=settings)
    assert json.loads((tmp_path / "a.csv.json").read_text()) == {
        "feature_set": "patel",
        "feature_set_version": VERSION,
        "settings": {
            "channel": "b",
            "levels": 8,
            "quantisation": "cell",
            "distances": [1, 2, 4],
            "stain": "reinhard",
            "size": 128,
        },
        "background": "black",
        "columns": len(features_of("patel", settings)),
        "leukobench": leukobench.__version__,
        "manifest": hashlib.sha256((cohort / "manifest.csv").read_bytes()).hexdigest()[:16],
        "format": 2,
        "table_sha256": sha256_of(tmp_path / "a.csv"),
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.csv.json"]


def test_an_image_that_is_not_the_one_of_the_manifest_is_not_measured(cohort: Path, tmp_path: Path) -> None:
    images, paths = tmp_path / "images", read_manifest(cohort / "manifest.csv")["path"]
    shutil.copytree(cohort / "images", images)
    shutil.copy(images / paths[3], images / paths[8])
    done = extract(images, cohort / "manifest.csv", tmp_path / "a.csv")
    assert done.images == 39
    assert done.failed == {
        paths[8]: "is not the image of the manifest (another SHA-256); restore it, or index it again"
    }


@pytest.mark.parametrize("jobs", [1, 2])
def test_strict_stops_at_the_first_broken_image_and_keeps_what_was_measured(
    cohort: Path, tmp_path: Path, jobs: int
) -> None:
    images, paths = tmp_path / "images", read_manifest(cohort / "manifest.csv")["path"]
    shutil.copytree(cohort / "images", images)
    for number in (35, 38):
        (images / paths[number]).write_bytes(b"no image")
    with pytest.raises(InputError, match=f"{paths[35]}: .*; 35 of 40 images are kept in .*a.csv.partial$"):
        extract(images, cohort / "manifest.csv", tmp_path / "a.csv", strict=True, jobs=jobs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv.partial", "images"]
    shutil.copy(cohort / "images" / paths[35], images / paths[35])  # mended
    done = extract(images, cohort / "manifest.csv", tmp_path / "a.csv", resume=True, jobs=jobs)
    assert list(done.failed) == [paths[38]]
    whole = (cohort / "features.csv").read_text().splitlines()
    assert (tmp_path / "a.csv").read_text().splitlines() == whole[:39] + whole[40:]


def test_a_cell_that_a_formula_cannot_take_costs_its_row_only(cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def undefined(cell: Cell, *_: object) -> dict[str, float]:
        if cell.mask.sum() == areas[0]:
            return {"geometry_area": float("nan")}
        if cell.mask.sum() == areas[1]:
            raise ZeroDivisionError("float division by zero")
        return {"geometry_area": float(cell.mask.sum())}

    paths = read_manifest(cohort / "manifest.csv")["path"][:3].tolist()
    areas = [read_cell(cohort / "images" / path).mask.sum() for path in paths]
    how = SimpleNamespace(
        images=cohort / "images", background="black", feature_set="", settings=None, columns=("geometry_area",)
    )
    monkeypatch.setattr("leukobench.features.measurement.compute", undefined)
    batch = measure_batch(SimpleNamespace(version=leukobench.__version__, **vars(how)), [(path, "") for path in paths])
    assert batch.failed == {
        0: "geometry_area is not a finite number (nan)",
        1: "cannot be measured (ZeroDivisionError: float division by zero)",
    }
    assert batch.values[2, 0] == areas[2]


def test_a_worker_of_another_version_refuses(cohort: Path) -> None:
    how = Measurement(cohort / "images", "patel", MeasurementSettings(), "black", version="0.0.7")
    with pytest.raises(InputError, match=f"leukobench {leukobench.__version__}, not 0.0.7"):
        measure_batch(how, [])


def test_the_table_of_real_cells_is_the_same_for_any_number_of_processes(cnmc: Path, tmp_path: Path) -> None:
    manifest = read_manifest()
    manifest = manifest[[(cnmc / path).is_file() for path in manifest["path"]]].iloc[::40]
    write_manifest(manifest, tmp_path / "manifest.csv")
    for jobs in (1, 2):
        done = extract(cnmc, tmp_path / "manifest.csv", tmp_path / f"{jobs}.csv", jobs=jobs)
        assert done.images == len(manifest)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()
