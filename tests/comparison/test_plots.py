from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from leukobench.classifiers.cells import LabelledCells
from leukobench.classifiers.importance import permutation_importance
from leukobench.comparison.importance import read_importance
from leukobench.comparison.plots import importance_bars_figure
from leukobench.core.files import write_csv
from tests.comparison.cohorts import make_run


class Size:
    """A model that scores a cell by its first feature."""

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        return np.column_stack([-features[:, 0], features[:, 0]])


@pytest.mark.parametrize("file", ["importance.csv", "importance_by_family.csv"])
def test_importances_are_drawn_with_the_intervals_that_training_has_written(tmp_path: Path, file: str) -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(12), 10)
    size = rng.normal(size=120) + group % 2
    cells = LabelledCells(np.column_stack([size, rng.normal(size=120)]), group % 2 == 1, group.astype(str))
    found = permutation_importance([(Size(), cells)], ["size_a", "noise_a"])
    run = make_run(tmp_path / "a")
    write_csv(found.by_feature, run.folder / "importance.csv")
    write_csv(found.by_family, run.folder / "importance_by_family.csv")
    axes = importance_bars_figure(read_importance(run, file)).axes[0]
    drawn = {float(line[0, 1]): line[:, 0].tolist() for line in axes.collections[0].get_segments()}
    table = found.by_feature if file == "importance.csv" else found.by_family
    assert table["low"].iloc[0] < table["high"].iloc[0]
    assert drawn == {row: pytest.approx(ends) for row, ends in enumerate(table[["low", "high"]].to_numpy().tolist())}
