"""How to combine runs: the mean of their log odds, or weights learned over subject groups.

    python -m benchmarks.combining runs/svm runs/network [runs/knn ...]

The runs are cross-validations on the same folds. `leukobench combine` takes the mean of the log odds of their
calibrated scores. The other rows fit the weights by logistic regression, all subject groups of a class weighted
equally, with a penalty of the squared weights:

    validation      on the validation part of each fold, which no model of that fold was trained on
    other folds     on the test parts of the other folds. Their cells are out of fold, but the models that scored them
                    were trained with the subjects of this fold, so this row is slightly optimistic

AUROC of cells within folds; "subjects" weights all subject groups of a class equally.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from leukobench.cohort.manifest import POSITIVE
from leukobench.comparison.auroc import auroc
from leukobench.comparison.weighted_metrics import Scored
from leukobench.results.calibration import log_odds
from leukobench.results.run import RunFolder, read_run_folder
from leukobench.results.weights import cell_weights

PENALTIES = (0.001, 0.01, 0.1, 1.0)  # C of the logistic regression, per cell


def read_rows(runs: list[RunFolder]) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the validation and test rows of the runs, and the log odds of each run. [shape=(n, runs)]"""
    keys = ["path", "fold"]
    rows = runs[0].predictions.set_index(keys)
    odds = [log_odds(run.predictions.set_index(keys)["score"].reindex(rows.index).to_numpy()) for run in runs]
    return rows.reset_index(), np.stack(odds, axis=1)


def aurocs(rows: pd.DataFrame, score: np.ndarray) -> tuple[float, float]:
    """Return the AUROC of the test cells within folds, and that with subject groups weighted equally."""
    tested = (rows["part"] == "test").to_numpy()
    group = pd.factorize(rows["subject_group"][tested])[0]
    scored = Scored(
        (rows["label"][tested] == POSITIVE).to_numpy(),
        score[tested],
        group,
        int(group.max()) + 1,
        rows["fold"][tested].to_numpy(int),
    )
    return auroc(scored).value, auroc(scored, equal=True).value


def learned(rows: pd.DataFrame, odds: np.ndarray, on: str, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores by weights that are learned for each fold, and these weights. [shape=(n,), (folds, runs)]"""
    part, fold = rows["part"].to_numpy(), rows["fold"].to_numpy(int)
    positive, group = (rows["label"] == POSITIVE).to_numpy(), rows["subject_group"].to_numpy()
    score, weights = np.full(len(rows), np.nan), []
    for number in np.unique(fold):
        fitted_on = (
            (part == "validation") & (fold == number) if on == "validation" else (part == "test") & (fold != number)
        )
        weight = cell_weights("class-subject", positive[fitted_on], group[fitted_on])
        model = LogisticRegression(C=penalty)
        model.fit(odds[fitted_on], positive[fitted_on], weight)
        score[fold == number] = model.decision_function(odds[fold == number])
        weights.append(model.coef_[0])
    return score, np.array(weights)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    runs = [read_run_folder(folder) for folder in parser.parse_args().runs]
    rows, odds = read_rows(runs)
    tested = rows[rows["part"] == "test"]
    print(
        f"{len(tested)} cells, {tested['subject_group'].nunique()} subject groups, {tested['fold'].nunique()} folds\n"
    )
    print("| runs | weights | AUROC | subjects | weights by fold |\n|---|---|---|---|---|")

    def line(names: str, how: str, score: np.ndarray, weights: str = "") -> None:
        print(f"| {names} | {how} | " + " | ".join(f"{value:.3f}" for value in aurocs(rows, score)) + f" | {weights} |")

    for number, run in enumerate(runs):
        line(run.name, "", odds[:, number])
    for count in range(2, len(runs) + 1):
        for chosen in itertools.combinations(range(len(runs)), count):
            names, some = " + ".join(runs[number].name for number in chosen), odds[:, list(chosen)]
            line(names, "equal", some.mean(axis=1))
            for on, penalty in itertools.product(("validation", "other folds"), PENALTIES):
                score, weights = learned(rows, some, on, penalty)
                shown = "; ".join(", ".join(f"{each:.2f}" for each in fold) for fold in weights)
                line(names, f"{on}, C {penalty:g}", score, shown)


if __name__ == "__main__":
    main()
