from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import (
    check_estimator_cloneable,
    check_estimator_repr,
    check_estimator_tags_renamed,
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    check_valid_tag_types,
)
from sklearn.utils.validation import check_is_fitted

from leukobench.cohort.manifest import read_manifest
from leukobench.core.errors import InputError
from leukobench.features.catalog import features_of
from leukobench.features.extractor import extract
from leukobench.features.settings import MeasurementSettings
from leukobench.features.transformer import CellFeatures
from leukobench.results.feature_table import read_feature_table


@pytest.fixture(scope="module")
def files(cohort: Path) -> list[Path]:
    return [cohort / "images" / path for path in read_manifest(cohort / "manifest.csv")["path"]]


@pytest.mark.parametrize("name", ["features.csv", "features.parquet"])
def test_it_gives_the_numbers_of_the_table(cohort: Path, files: list[Path], tmp_path: Path, name: str) -> None:
    extract(cohort / "images", cohort / "manifest.csv", tmp_path / name)
    table = read_feature_table(tmp_path / name).values
    measured = CellFeatures().fit_transform(files)
    assert measured.dtype == float
    assert np.array_equal(measured, table.to_numpy())
    assert CellFeatures().get_feature_names_out().tolist() == table.columns.tolist()


def test_it_gives_the_numbers_of_the_table_with_other_settings(cohort: Path, files: list[Path], tmp_path: Path) -> None:
    settings = MeasurementSettings(channel="red", levels=16, quantisation="cell", distances=(1, 2), size=None)
    extract(cohort / "images", cohort / "manifest.csv", tmp_path / "a.csv", feature_set="patel", settings=settings)
    changes = {"channel": "red", "levels": 16, "quantisation": "cell", "distances": [1, 2], "size": "native"}
    transformer = CellFeatures("patel", **changes, jobs=2)
    assert np.array_equal(transformer.transform(files), read_feature_table(tmp_path / "a.csv").values.to_numpy())
    names = [feature.name for feature in features_of("patel", settings)]
    assert transformer.get_feature_names_out().tolist() == names


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series, lambda files: [str(file) for file in files]])
def test_any_sequence_of_paths_will_do(files: list[Path], kind: type) -> None:
    assert np.array_equal(CellFeatures().transform(kind(files[:3])), CellFeatures().transform(files[:3]))


def test_no_path_gives_no_row(files: list[Path]) -> None:
    assert CellFeatures().transform([]).shape == (0, len(features_of("leukobench")))


def test_a_pipeline_learns_from_image_files_as_from_the_table(cohort: Path, files: list[Path]) -> None:
    manifest = read_manifest(cohort / "manifest.csv")
    folds = {"groups": manifest["subject_group"], "cv": GroupKFold(3), "scoring": "roc_auc"}
    pipeline = Pipeline([("features", CellFeatures()), ("scale", StandardScaler()), ("svm", SVC())])
    by_files = cross_val_score(pipeline, files, manifest["label"], **folds)
    table = read_feature_table(cohort / "features.csv").values
    by_table = cross_val_score(pipeline[1:], table.to_numpy(), manifest["label"], **folds)
    assert np.array_equal(by_files, by_table)
    assert by_files.mean() > 0.7
    pipeline.fit(files, manifest["label"])
    assert (pipeline.predict(files) == manifest["label"]).mean() > 0.8
    assert pipeline[:-1].get_feature_names_out().tolist() == table.columns.tolist()


def test_settings_can_be_searched(cohort: Path, files: list[Path]) -> None:
    label = read_manifest(cohort / "manifest.csv")["label"]
    pipeline = Pipeline([("features", CellFeatures()), ("scale", StandardScaler()), ("svm", SVC())])
    search = GridSearchCV(pipeline, {"features__levels": [16, 64]}, cv=2).fit(files, label)
    assert search.best_params_["features__levels"] in (16, 64)


def test_pandas_output_carries_the_names(files: list[Path]) -> None:
    frame = CellFeatures().set_output(transform="pandas").fit_transform(pd.Series(files[:3], index=["a", "b", "c"]))
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns.tolist() == [feature.name for feature in features_of("leukobench")]


def test_parameters_are_kept_as_they_were_given_and_cloned() -> None:
    given = {
        "feature_set": "patel",
        "channel": "red",
        "levels": 16,
        "quantisation": "cell",
        "distances": [1, 2],
        "stain": "macenko",
        "size": 128,
        "background": "white",
        "jobs": 2,
    }
    transformer = CellFeatures(**given)
    assert transformer.get_params() == clone(transformer).get_params() == given
    assert pickle.loads(pickle.dumps(transformer)).get_params() == given
    assert transformer.fit([]) is transformer
    check_is_fitted(CellFeatures())  # there is nothing to fit


@pytest.mark.parametrize(
    "check",
    [
        check_estimator_cloneable,
        check_estimator_repr,
        check_estimator_tags_renamed,
        check_get_params_invariance,
        check_no_attributes_set_in_init,
        check_parameters_default_constructible,
        check_set_params,
        check_valid_tag_types,
    ],
)
def test_it_keeps_the_conventions_of_scikit_learn(check) -> None:
    """Those of its own checks that do not fit numbers: what goes in here are image files."""
    check("CellFeatures", CellFeatures())


def test_a_broken_image_is_named(files: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.bmp"
    broken.write_bytes(b"no image")
    with pytest.raises(InputError, match=f"^{broken}: is not an image"):
        CellFeatures().transform([*files[:35], broken])
    with pytest.raises(InputError, match=r"^missing.bmp: "):
        CellFeatures().transform(["missing.bmp"])


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"feature_set": "all"}, "no feature set 'all'"),
        ({"channel": "infrared"}, "no channel 'infrared'"),
        ({"levels": 1}, "1 grey levels"),
        ({"distances": []}, "one or more"),
        ({"size": 3}, "expected 16 to 10000"),
    ],
)
def test_bad_parameters_are_refused_when_fitted(parameters: dict, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        CellFeatures(**parameters).fit([])


@pytest.mark.parametrize("given", [[[1.0, 2.0]], [1, 2], "one.bmp", [["a.bmp"]]])
def test_what_is_no_sequence_of_paths_is_refused(given: object) -> None:
    with pytest.raises(InputError, match="expected a sequence of paths of image files"):
        CellFeatures().transform(given)
