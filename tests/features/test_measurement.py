from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from leukobench.cells.cell import Cell, read_cell
from leukobench.cohort.manifest import read_manifest
from leukobench.core.errors import InputError
from leukobench.features.catalog import SETS, compute, settings_of
from leukobench.features.measurement import measure
from leukobench.features.settings import MeasurementSettings
from tests.features.shapes import ellipse, shape_cell


@pytest.fixture(scope="module")
def cell(cohort: Path) -> Cell:
    return read_cell(cohort / "images" / read_manifest(cohort / "manifest.csv")["path"][0])


@pytest.mark.parametrize("feature_set", SETS)
def test_the_values_are_those_of_the_catalogue(cell: Cell, feature_set: str) -> None:
    values = measure(cell, feature_set)
    assert values == compute(cell, feature_set)
    assert all(type(value) is float for value in values.values())


def test_settings_are_native_values(cell: Cell) -> None:
    changes = {"levels": 16, "distances": [1, 2], "channel": "blue", "stain": "macenko", "size": 128}
    expected = MeasurementSettings(channel="blue", levels=16, distances=(1, 2), stain="macenko", size=128)
    assert measure(cell, "patel", **changes) == compute(cell, "patel", expected)
    as_numpy = {"levels": np.int64(16), "distances": np.array([1, 2]), "size": np.int32(128)}
    assert measure(cell, **changes | as_numpy) == measure(cell, **changes)
    assert settings_of("patel", **changes | as_numpy) == expected
    assert all(type(distance) is int for distance in settings_of("patel", distances=np.array([1, 2])).distances)


def test_the_native_size_replaces_that_of_the_set(cell: Cell) -> None:
    assert measure(cell, "clinton19", size="native")["geometry_area"] == cell.mask.sum()
    assert measure(cell, "clinton19")["geometry_area"] < cell.mask.sum() / 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"feature_set": "all"}, "no feature set 'all'; there is clinton19, patel, full, leukobench"),
        ({"level": 16}, "no setting 'level'; there is channel, levels, quantisation, distances, stain, size"),
        ({"level": None}, "no setting 'level'"),
        ({"levels": 16.5}, "levels is 16.5; expected an integer"),
        ({"levels": "16"}, "levels is '16'; expected an integer"),
        ({"distances": 1}, r"distances is 1; expected integers, such as \(1, 2\)"),
        ({"distances": "1,2"}, "distances is '1,2'; expected integers"),
        ({"size": "128"}, "size is '128'; expected an integer"),
        ({"channel": "infrared"}, "no channel 'infrared'"),
    ],
)
def test_settings_of_another_name_or_type_are_refused(cell: Cell, changes: dict, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        measure(cell, **changes)


def test_a_cell_for_which_a_formula_is_not_defined_is_refused(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leukobench.features.measurement.compute", lambda *_: {"geometry_area": float("inf")})
    with pytest.raises(InputError, match=r"^geometry_area is not a finite number \(inf\)$"):
        measure(cell)
    monkeypatch.setattr("leukobench.features.measurement.compute", lambda *_: {"geometry_area": 1 / 0})
    with pytest.raises(InputError, match=r"^cannot be measured \(ZeroDivisionError: "):
        measure(cell)


@pytest.mark.parametrize("threads", [1, 3])
def test_measuring_leaves_the_process_as_it_was(threads: int) -> None:
    before, filters = cv2.getNumThreads(), list(warnings.filters)
    try:
        cv2.setNumThreads(threads)
        measure(shape_cell(ellipse(30, 20, side=81)), "full", stain="macenko", size=64)
        assert cv2.getNumThreads() == threads
        assert warnings.filters == filters
    finally:
        cv2.setNumThreads(before)


def test_the_values_do_not_depend_on_the_number_of_threads(cell: Cell) -> None:
    before = cv2.getNumThreads()
    try:
        measured = []
        for threads in (1, 4):
            cv2.setNumThreads(threads)
            measured.append(measure(cell, "full", stain="reinhard", size=200))
        assert measured[0] == measured[1]
    finally:
        cv2.setNumThreads(before)


def test_importing_the_features_changes_no_warning_filter_and_loads_neither_scikit_image_nor_pyarrow() -> None:
    program = """
import sys, warnings
import cv2, joblib, numba, numpy, PIL.Image, tqdm
filters, threads = list(warnings.filters), cv2.getNumThreads()
import leukobench.features.measurement, leukobench.core.workers
assert warnings.filters == filters and cv2.getNumThreads() == threads
assert not {"skimage", "pyarrow", "sklearn"} & set(sys.modules), "heavy"
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_worker_process_loads_no_tables() -> None:
    """They took half of its start."""
    program = (
        "import sys, leukobench.features.batch; print(sorted({'pandas', 'pyarrow', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout == "[]\n"
