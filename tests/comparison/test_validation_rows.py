"""Validation rows of a cross-validation, in which an image may be a validation image of several folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leukobench.comparison.assessing import assess
from leukobench.comparison.checklist import answers
from leukobench.comparison.results import CHOSEN, fold_aurocs
from leukobench.comparison.runs import compare
from leukobench.results.metrics import classification_metrics
from leukobench.results.run import RunFolder, predictions_table, write_run
from tests.comparison.cohorts import make_rows, make_run, scores


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Three folds of 12 subjects with 10 cells; each fold validates on the subjects that the next one tests."""
    rows = make_rows()
    fold = rows.groupby("subject_group").ngroup().to_numpy() // 2 % 3
    tables = []
    for number in range(3):
        part = np.select([fold == number, fold == (number + 1) % 3], ["test", "validation"], "train")
        tables.append(predictions_table(rows.assign(part=part), scores(rows["label"], 1.0, number), number))
    other = make_run(tmp_path / "other")
    return write_run(tmp_path / "run", other.info, pd.concat(tables, ignore_index=True), lambda folder: None)


def test_images_that_several_folds_validate_on_are_counted_once(run: RunFolder) -> None:
    twice = pd.concat([run.predictions, run.predictions[run.predictions["part"] == "validation"].assign(fold=9)])
    many = RunFolder(run.folder, run.info, twice, run.metrics, None)
    for each in (run, many):
        (sizes,) = [found.answer for found in answers(assess([[each]]), []) if "images of each part" in found.item]
        assert sizes.startswith("validation 120 images of 12 subjects, test 120 images of 12 subjects")


def test_validation_rows_change_no_metric_of_the_test_part(run: RunFolder) -> None:
    compared = assess([[run]])
    cells = compared.assessment("run")
    tested = run.part("test")
    assert len(compared.rows) == 120
    expected = classification_metrics(tested["label"].to_numpy(), tested["score"].to_numpy())
    assert cells.metrics["pooled_auroc"].value == pytest.approx(expected["auroc"])
    assert CHOSEN in cells.thresholded  # there are validation rows now
    assert fold_aurocs(compared)["run"]["cells"].tolist() == [40, 40, 40]


def test_the_share_of_correct_cells_has_the_threshold_of_the_metrics_where_folds_are_pooled(
    run: RunFolder, tmp_path: Path
) -> None:
    pooled = compare([run, make_run(tmp_path / "without-folds")], common=True)
    assert not pooled.within_folds
    for comparison in (pooled, compare([run])):
        table = comparison.by_subject.query("run == 'run'")
        accuracy = comparison.assessment("run").thresholded[CHOSEN].metrics["accuracy"].value
        assert np.average(table["correct_at_chosen"], weights=table["cells"]) == pytest.approx(accuracy)
