"""Explaining cells: time, number of steps, and a comparison with Shapley values.

    python benchmarks/explanation.py runs/svm runs/knn features.csv [--cells 4]

The cells are evenly spaced in the order of their scores. `steps` is the number of steps from a reference cell to the
cell; 1 gives Shapley values by sampled orders, each with its reverse. Contributions are compared with those of 20
steps: `slope` is the least-squares slope, `off` the root mean square difference over the root mean square standard
error. Times are of one core. `far` is a squared distance after the model's own preprocessing: from the midpoint between
the cell and a reference cell to a cell with a random half of the features of each, divided by the squared distance
between the two cells. The two cells themselves have 1/4.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from leukobench.classifiers.attribution import PAIRS, contributions
from leukobench.classifiers.model import Model
from leukobench.classifiers.prediction import load_trained
from leukobench.classifiers.reference import read_reference
from leukobench.results.feature_table import read_feature_table

Score = Callable[[np.ndarray], np.ndarray]
FINE = 10  # pairs of steps that approximate the integral


def one_step(score: Score, cell: np.ndarray, reference: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return Shapley values by one order and its reverse from each reference cell. [shape=(references, features)]"""
    rng = np.random.default_rng(seed)
    moved = np.zeros(reference.shape)
    for row, start in zip(moved, reference, strict=True):
        order = rng.permutation(len(cell))
        for way in (order, order[::-1]):
            place = np.argsort(way)
            states = np.where(place < np.arange(len(cell) + 1)[:, None], cell, start)
            row[way] += np.diff(score(states)) / 2
    return moved


def distance_of_halves(prepare: Score, cell: np.ndarray, reference: np.ndarray) -> float:
    """Return `far` of the module docstring, the mean over the reference cells."""
    half = np.random.default_rng(0).random(reference.shape) < 0.5
    own, others, mixed, middle = (
        prepare(rows) for rows in (cell[None], reference, np.where(half, cell, reference), (cell + reference) / 2)
    )
    return float(((mixed - middle) ** 2).sum(axis=1).mean() / ((own - others) ** 2).sum(axis=1).mean())


def compare_steps(score: Score, cell: np.ndarray, reference: np.ndarray, families: np.ndarray) -> None:
    """Print one row for each number of steps."""
    names = np.unique(families)
    fine = contributions(score, cell, reference, pairs=FINE)
    exact, error = fine.mean(axis=0), fine.std(axis=0, ddof=1) / np.sqrt(len(fine))
    print(f"  {2 * FINE} steps: " + ", ".join(f"{name} {exact[families == name].sum():+.3f}" for name in names))
    for steps in (1, 2, 2 * PAIRS, 10):
        start = time.process_time()
        if steps == 1:
            found = one_step(score, cell, reference)
        else:
            found = contributions(score, cell, reference, pairs=steps // 2, seed=1)
        seconds, found = time.process_time() - start, found.mean(axis=0)
        slope = found @ exact / (exact @ exact)
        off = np.sqrt(((found - exact) ** 2).mean() / (error**2).mean())
        sums = ", ".join(f"{name} {found[families == name].sum():+.3f}" for name in names)
        print(f"  {steps:2} steps: {seconds:5.1f} s, slope {slope:.2f}, off {off:.2f}; {sums}", flush=True)


def main() -> None:
    """Print one row for each cell and number of steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("table", type=Path)
    parser.add_argument("--cells", type=int, default=4)
    arguments = parser.parse_args()
    values = read_feature_table(arguments.table).values
    for folder in arguments.runs:
        trained = load_trained(folder)
        reference = read_reference(folder).features
        families = np.array([column.partition("_")[0] for column in trained.columns])

        def score(rows: np.ndarray, model: Model = trained.model) -> np.ndarray:
            return model.predict_proba(rows)[:, 1]

        cells = values[trained.columns].to_numpy()
        ranked = np.argsort(score(cells), kind="stable")
        for number in ranked[np.linspace(0, len(ranked) - 1, arguments.cells + 2).astype(int)[1:-1]]:
            cell = cells[number]
            far = distance_of_halves(trained.model.pipeline[:-1].transform, cell, reference)
            print(f"\n{folder.name} {values.index[number]}: score {score(cell[None])[0]:.3f}, far {far:.1f}")
            with threadpool_limits(1):
                compare_steps(score, cell, reference, families)


if __name__ == "__main__":
    main()
