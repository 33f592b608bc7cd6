from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV, cross_val_predict

from leukobench.cohort.manifest import labelled, read_manifest
from leukobench.cohort.splitters import SubjectKFold, SubjectSplit
from leukobench.cohort.splitting import SplitOptions, split_by_subject, split_in_folds
from leukobench.core.errors import InputError
from tests.conftest import REPOSITORY


@pytest.fixture(scope="module")
def shipped() -> pd.DataFrame:
    return labelled(read_manifest(REPOSITORY / "data_manifest.csv"))


@pytest.mark.parametrize("seed", [0, 7])
def test_the_folds_are_those_of_the_command_split(shipped: pd.DataFrame, seed: int) -> None:
    folds = split_in_folds(shipped, 5, SplitOptions(seed=seed))
    splitter = SubjectKFold(5, seed=seed)
    parts = list(splitter.split(shipped, shipped["label"], shipped["subject_group"]))
    assert len(parts) == splitter.get_n_splits() == 5
    for (train, test), (_, partition) in zip(parts, folds.by_fold(), strict=True):
        assert set(shipped["path"].iloc[test]) == set(partition.part("test")["path"])
        assert len(train) + len(test) == len(shipped)


def test_the_splits_are_those_of_the_command_split_with_the_seeds_that_follow(shipped: pd.DataFrame) -> None:
    parts = list(SubjectSplit(3, test_size=0.3, seed=4).split(shipped, shipped["label"], shipped["subject_group"]))
    for seed, (train, test) in zip((4, 5, 6), parts, strict=True):
        partition = split_by_subject(shipped, 0.3, SplitOptions(seed=seed))
        assert set(shipped["path"].iloc[test]) == set(partition.part("test")["path"])
        groups = shipped["subject_group"]
        assert not set(groups.iloc[train]) & set(groups.iloc[test])


def test_labels_may_be_text_numbers_or_booleans(shipped: pd.DataFrame) -> None:
    label, group = shipped["label"], shipped["subject_group"]
    positive = label == "all"
    tests = [
        [test.tolist() for _, test in SubjectKFold(3).split(shipped, y, group)]
        for y in (label, label.tolist(), positive, positive.astype(int).to_numpy(), positive.astype(float))
    ]
    assert all(each == tests[0] for each in tests)


def test_scikit_learn_accepts_the_splitters() -> None:
    X = np.arange(24.0)[:, None]
    y = np.repeat(["all", "hem"], 12)
    subjects = np.repeat([f"S{number}" for number in range(8)], 3)
    assert len(cross_val_predict(DummyClassifier(), X, y, cv=SubjectKFold(4), groups=subjects)) == 24
    search = GridSearchCV(DummyClassifier(), {"strategy": ["prior", "uniform"]}, cv=SubjectSplit(2, test_size=0.4))
    assert search.fit(X, y, groups=subjects).best_params_


@pytest.mark.parametrize(
    ("y", "groups", "reason"),
    [
        (None, ["1", "2"], r"needs y \(the class of each cell\) and groups"),
        (["all", "hem"], None, r"needs y \(the class of each cell\) and groups"),
        (["all", "hem", "all"], ["1", "2"], "X has 2 cells, y 3 and groups 2"),
        (["all", "blast"], ["1", "2"], "y has the label 'blast'"),
        ([0, 2], ["1", "2"], "y has the label '2'"),
        (["all", "hem"], ["1", "2"], "2 folds need 2 subject groups of each class; the cohort has 1 of all"),
    ],
)
def test_unusable_labels_and_groups_are_refused_in_one_line(y: list | None, groups: list | None, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        list(SubjectKFold(2).split([0, 1], y, groups))


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="n_splits=1"):
        list(SubjectKFold(1).split([0], ["all"], ["1"]))
    with pytest.raises(InputError, match=r"test_size=1\.5"):
        list(SubjectSplit(test_size=1.5).split([0], ["all"], ["1"]))
