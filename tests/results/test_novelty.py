"""The distance of cells from the training cells, its threshold, and its place in the run folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.covariance import EmpiricalCovariance

from leukobench.cohort.manifest import read_manifest
from leukobench.cohort.synthetic import generate_cohort
from leukobench.core.errors import InputError
from leukobench.features.dataframe import extract_features
from leukobench.results.novelty import FALSE_ALARMS, fit_novelty, load_novelty, novelty_of, save_novelty


def correlated(cells: int, columns: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(cells, columns)) @ rng.normal(size=(columns, columns)) + 3


GROUP = np.repeat(np.arange(20), 200)


def test_with_many_cells_the_distance_is_the_mahalanobis_distance() -> None:
    features, new = correlated(4000), correlated(50, seed=1)
    model, _ = fit_novelty(features, GROUP)
    expected = np.sqrt(EmpiricalCovariance().fit(features).mahalanobis(new) / 6)
    assert model.novelty(new) * model.threshold == pytest.approx(expected, rel=0.02)


def test_the_unit_of_a_feature_does_not_matter_and_a_constant_one_is_left_out() -> None:
    features, new = correlated(400), correlated(20, seed=1)
    group = np.repeat(np.arange(8), 50)
    model, _ = fit_novelty(features, group)
    other, _ = fit_novelty(np.column_stack([features * 1000 - 7, np.full(400, 5.0)]), group)
    distances = [
        model.novelty(new) * model.threshold * np.sqrt(6),
        other.novelty(np.column_stack([new * 1000 - 7, np.full(20, 9.0)])) * other.threshold * np.sqrt(7),
    ]
    assert distances[1] == pytest.approx(distances[0], rel=0.1)


def test_one_cell_in_twenty_of_left_out_subjects_is_flagged_whatever_their_number_of_cells() -> None:
    group = np.concatenate([np.zeros(1000, int), np.repeat(np.arange(1, 20), 40)])
    features = correlated(len(group)) + (group == 0)[:, None] * 4
    _, novelty = fit_novelty(features, group)
    of_groups = pd.Series(novelty > 1).groupby(group).mean()
    assert of_groups.mean() == pytest.approx(FALSE_ALARMS, abs=0.005)
    assert of_groups[0] > 0.5  # the cells of one strange subject are flagged when it is left out


def test_fewer_cells_than_features_still_tell_what_is_far_away() -> None:
    features = correlated(40, 200)
    model, _ = fit_novelty(features, np.repeat(np.arange(8), 5))
    assert np.isfinite(model.novelty(features)).all()
    assert (model.novelty(features + 100 * features.std(axis=0)) > 5).all()


def rows(groups: int = 12, cells: int = 10) -> pd.DataFrame:
    group = np.repeat([f"{number}" for number in range(groups)], cells)
    part = np.where(np.char.str_len(group) > 1, "test", "train")
    return pd.DataFrame({"path": [f"{n}.bmp" for n in range(len(group))], "subject_group": group, "part": part})


def test_only_training_rows_are_fitted_on_and_every_subject_group_is_reported() -> None:
    table, features = rows(), correlated(120)
    training = (table["part"] == "train").to_numpy()
    found = novelty_of(features, table, training)
    moved = novelty_of(features + 50 * ~training[:, None], table, training)
    assert found is not None and moved is not None
    assert moved.facts["threshold"] == found.facts["threshold"]
    assert sorted(found.facts["left_out"]) == [str(number) for number in range(10)]
    assert set(found.facts["test"]) == {"10", "11"} and moved.facts["test"] == {"10": 1.0, "11": 1.0}
    assert novelty_of(features, table, (table["subject_group"] == "1").to_numpy()) is None


class Folder:
    """As much of a run folder as the novelty needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


def test_a_stored_model_gives_the_same_novelty_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    table, features = rows(), correlated(120)
    found = novelty_of(features, table, (table["part"] == "train").to_numpy())
    save_novelty(tmp_path, {None: found})
    model = load_novelty(Folder(tmp_path))  # type: ignore[arg-type]
    assert model is not None and found is not None
    assert np.round(model.novelty(features), 6).tolist() == found.cells["novelty"].tolist()
    assert load_novelty(Folder(tmp_path), 3) is None  # type: ignore[arg-type]
    (tmp_path / "novelty.npz").write_bytes(b"PK no archive")
    with pytest.raises(InputError, match=r"novelty\.npz: cannot be read .*train again"):
        load_novelty(Folder(tmp_path))  # type: ignore[arg-type]


def test_white_cells_of_a_smear_and_generated_cells_are_flagged_and_most_real_cells_of_others_are_not(
    cnmc: Path, tmp_path: Path
) -> None:
    smear = os.environ.get("LEUKOBENCH_SMEAR")
    if not smear:
        pytest.skip("LEUKOBENCH_SMEAR is unset: name a folder of smear crops with masks")
    known = read_manifest().set_index("path")
    paths = [path.relative_to(cnmc).as_posix() for path in sorted(cnmc.rglob("*.bmp"))[::8]]
    group = known.loc[paths, "subject_group"].to_numpy()
    features = extract_features([cnmc / path for path in paths], "leukobench").to_numpy()
    unseen = np.isin(group, np.unique(group)[::4])
    model, _ = fit_novelty(features[~unseen], group[~unseen])
    (tmp_path / "cells").mkdir()
    for mask in sorted(Path(smear).glob("*_mask.png"))[::10]:
        image = np.array(Image.open(mask.with_name(mask.name.replace("_mask", ""))).convert("RGB"))
        image[np.array(Image.open(mask).convert("L")) == 0] = 0
        Image.fromarray(image).resize((450, 450)).save(tmp_path / "cells" / mask.name)
    generate_cohort(tmp_path / "generated", subjects=4, cells_per_subject=5, seed=1)
    for folder in ("cells", "generated"):
        found = model.novelty(extract_features(tmp_path / folder, "leukobench").to_numpy()) > 1
        assert len(found) >= 10 and found.mean() > 0.9, folder
    by_subject = pd.Series(model.novelty(features[unseen]) > 1).groupby(group[unseen]).mean()
    assert by_subject.mean() < 0.2
