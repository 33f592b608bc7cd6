"""The paragraph for the Methods section says what the run folders record, and no more."""

from __future__ import annotations

from pathlib import Path

from leukobench.comparison.methods import methods_paragraph
from leukobench.comparison.runs import compare
from tests.comparison.cohorts import make_run


def test_it_names_data_models_partition_statistics_and_software(tmp_path: Path) -> None:
    svm = make_run(tmp_path / "svm", folds=3, validation=True)
    other = make_run(tmp_path / "other", folds=3, validation=True, seed=1, changed=("epochs=3",))
    text = methods_paragraph(compare([svm.folder, other.folder]))
    assert (
        "same 120 cells: 60 cells of the class all from 6 subject groups and 60 cells of the class hem from 6" in text
    )
    assert f"recipe {svm.info.recipe}; seed {svm.info.seed}" in text
    assert "changed: epochs=3" in text
    assert f"Partition: {svm.info.split};" in text
    assert "No subject group (subject IDs joined where they share an image) is in both training and test." in text
    assert "comparing cells of the same fold only" in text
    assert "Holm's correction over 1 pair, and called equivalent" in text
    assert f"compared with leukobench {svm.info.leukobench}." in text
    assert all(f"{name} {version}" in text for name, version in svm.info.versions.items())


def test_it_says_that_training_and_test_share_subjects(tmp_path: Path) -> None:
    text = methods_paragraph(compare([make_run(tmp_path / "leaky", leaky=True).folder]))
    assert "Training and test share subjects for leaky, so these results are optimistic." in text
    assert "Holm" not in text
    assert "Probabilities were not calibrated on a validation part." in text
