"""Which calibration, fitted on a few validation subjects, predicts unseen subjects best.

    leukobench split manifest.csv --method kfold --repeats 3 --seed 1 -o repeats
    for r in 0 1 2; do
        leukobench train-svm features.csv --split repeats/repeat_$r --no-importance -o repeated/svm/repeat_$r
    done
    python benchmarks/calibration.py repeated/*/*

Every candidate is fitted on the raw scores of the validation part of each fold, and evaluated on those of its test
part. The table has, for each recipe, the log loss, the Brier score and the expected calibration error of the test cells
of all folds and runs, the log loss with the subject groups of a class weighted equally, and sensitivity and specificity
at the threshold 0.5. "Leukobench" is the calibration of leukobench: a penalised fit with the standard deviations 2 and
0.5 of the prior of intercept and slope, and the intercept shifted to the share of blasts among the groups outside the
test part, because a validation part may have equally many groups of each class. "Penalised, 2 and 0.5" is the same fit
without the shift, and "intercept and slope, groups" one without shift and penalty. `--factor 2` doubles the logits of
the raw scores first, as an overconfident model would give them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.metrics import log_loss

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from leukobench.classifiers.calibration import fit as fit_platt
from leukobench.cohort.manifest import POSITIVE
from leukobench.results.calibration import Calibration, calibrate_on_validation, calibrated, fit_calibration
from leukobench.results.metrics import THRESHOLD, expected_calibration_error
from leukobench.results.run import read_run_folder
from leukobench.results.weights import cell_weights

LEUKOBENCH = "leukobench"
FREE, FIXED = 1e3, 1e-6  # standard deviations of a prior that does not penalise, and of one that fixes the parameter

Scores = Callable[[np.ndarray], np.ndarray]


def none(raw: np.ndarray, positive: np.ndarray, group: np.ndarray) -> Scores:
    """Return the raw probabilities."""
    return lambda tested: tested


def penalised(sd_intercept: float, sd_slope: float, raw: np.ndarray, positive: np.ndarray, group: np.ndarray) -> Scores:
    """Fit as leukobench does, with these standard deviations of the prior and without shifting the intercept."""
    found = fit_calibration(raw, positive, group, prior_sd=(sd_intercept, sd_slope))
    return lambda tested: calibrated(tested, found)


def platt(raw: np.ndarray, positive: np.ndarray, group: np.ndarray) -> Scores:
    """Fit Platt's sigmoid to the logits, each cell one observation."""
    found = fit_platt("sigmoid", logit(np.clip(raw, 1e-9, 1 - 1e-9)), positive)
    if found.coef_[0, 0] <= 0:
        return none(raw, positive, group)
    return lambda tested: found.predict_proba(logit(np.clip(tested, 1e-9, 1 - 1e-9))[:, None])[:, 1]


CANDIDATES = {
    "none": none,
    "Platt, cells": platt,
    "intercept and slope, groups": partial(penalised, FREE, FREE),
    "intercept, groups": partial(penalised, FREE, FIXED),
    **{
        f"penalised, {sd_intercept:g} and {sd_slope:g}": partial(penalised, sd_intercept, sd_slope)
        for sd_intercept in (0.5, 1.0, 2.0)
        for sd_slope in (0.25, 0.5, 1.0)
    },
}


def evaluate(runs: list[Path], factor: float) -> pd.DataFrame:
    """Return the scores of every test cell, one column a candidate; the logits are multiplied by a factor first."""
    tables = []
    for folder in runs:
        run = read_run_folder(folder)
        everyone = run.part("test")
        for fold in run.folds:
            held, tested = run.part("validation", fold), run.part("test", fold)
            multiplied = Calibration(0.0, factor, 0, 0, 0.5)
            raw = [calibrated(rows["raw_score"].to_numpy(), multiplied) for rows in (held, tested)]
            fitting = (raw[0], (held["label"] == POSITIVE).to_numpy(), held["subject_group"].to_numpy())
            scores = {name: fit(*fitting)(raw[1]) for name, fit in CANDIDATES.items()}
            everything, development = pd.Series(True, index=held.index), everyone[everyone["fold"] != fold]
            found, _ = calibrate_on_validation(held, raw[0], everything, development)
            scores[LEUKOBENCH] = calibrated(raw[1], found)
            tables.append(tested[["label", "subject_group"]].assign(recipe=run.recipe, run=str(folder), **scores))
    return pd.concat(tables)


def metrics(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the metrics of the candidates on the test cells of one recipe."""
    positive = (cells["label"] == POSITIVE).to_numpy()
    weight = cell_weights("class-subject", positive, cells["subject_group"].to_numpy())
    weight *= np.where(positive, positive.mean(), 1 - positive.mean())
    return pd.DataFrame(
        {
            "log loss": log_loss(positive, score := cells[name].to_numpy()),
            "Brier": np.mean((score - positive) ** 2),
            "ECE": expected_calibration_error(positive, score),
            "log loss, groups": log_loss(positive, score, sample_weight=weight),
            "sensitivity": np.mean(score[positive] >= THRESHOLD),
            "specificity": np.mean(score[~positive] < THRESHOLD),
        }
        for name in (*CANDIDATES, LEUKOBENCH)
    ).set_axis([*CANDIDATES, LEUKOBENCH])


def main() -> None:
    """Evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of cross-validations with validation parts")
    parser.add_argument("--factor", type=float, default=1.0, help="of the logits of the raw scores")
    arguments = parser.parse_args()
    cells = evaluate(arguments.runs, arguments.factor)
    for recipe, rows in cells.groupby("recipe"):
        print(f"\n{recipe}: {rows['run'].nunique()} cross-validations, {len(rows)} test cells\n")
        print(metrics(rows).round(4).to_markdown())


if __name__ == "__main__":
    main()
