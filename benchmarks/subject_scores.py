"""Which score of a subject is best on validation subjects, and how often its interval contains the true mean.

    python -m benchmarks.subject_scores RUN

RUN is a run folder of a cross-validation with validation parts. Three tables:

- on the validation subject groups of all folds, never on test subjects: log loss and Brier score of the mean
  probability of a subject group's cells, of expit(mean log odds), and of the median; with the mean difference of the
  log loss to that of the mean probability and its standard error (a group that validates several folds counts once),
- coverage of intervals: the test cells of each subject with at least 60 are taken as its population, from which n cells
  are drawn with replacement, 1,000 times; mean and lowest share, over subjects, of intervals that contain the mean of
  the population,
- at how many cells the score settles: n cells of each test subject are drawn without replacement (all where it has
  fewer), 100 times; AUROC of subjects within folds, and balanced accuracy at 0.5, mean over the draws.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import t as student

from leukobench.cohort.manifest import POSITIVE
from leukobench.comparison.runs import compare
from leukobench.comparison.settling import settling_table
from leukobench.results.calibration import log_odds
from leukobench.results.run import RunFolder, read_run_folder
from leukobench.results.subject_scores import mean_intervals

SIZES = (2, 5, 10, 20, 50)
FEWEST_CELLS = 60  # of a subject that is taken as a population
DRAWS, SETTLING_DRAWS = 1_000, 100
SCORES: dict[str, Callable[[pd.Series], float]] = {
    "mean probability": lambda score: float(score.mean()),
    "mean log odds": lambda score: float(expit(log_odds(score.to_numpy()).mean())),
    "median": lambda score: float(score.median()),
}


def print_scores(validation: pd.DataFrame) -> None:
    """Print log loss and Brier score of each score of a subject group."""
    of_group = validation.groupby(["fold", "subject_group", "label"])["score"]
    positive = of_group.size().index.get_level_values("label") == POSITIVE
    names = of_group.size().index.get_level_values("subject_group")
    print(f"{len(positive)} validation subject groups of all folds, {names.nunique()} different ones\n")
    print("| score | log loss | Brier score | difference of log loss (standard error) |\n|---|---|---|---|")
    reference = None
    for name, score_of in SCORES.items():
        score = of_group.agg(score_of).to_numpy(float)
        loss = -np.log(np.where(positive, score, 1 - score))
        reference = loss if reference is None else reference
        apart = pd.Series(loss - reference).groupby(np.asarray(names)).mean()
        error = apart.std() / np.sqrt(len(apart))
        brier = np.mean((score - positive) ** 2)
        print(f"| {name} | {loss.mean():.3f} | {brier:.3f} | {apart.mean():+.3f} ({error:.3f}) |")


def print_coverage(test: pd.DataFrame) -> None:
    """Print the coverage of intervals from samples of a subject's cells."""
    populations = [each.to_numpy() for _, each in test.groupby("subject")["score"] if len(each) >= FEWEST_CELLS]
    print(f"\n{len(populations)} subjects with at least {FEWEST_CELLS} test cells\n")
    print("| cells | interval of leukobench: mean, lowest | t: mean, lowest | bootstrap percentiles: mean, lowest |")
    print("|---|---|---|---|")
    rng = np.random.default_rng(0)
    for n in SIZES:
        covered: dict[str, list[float]] = {"ours": [], "t": [], "bootstrap": []}
        for population in populations:
            drawn, true = rng.choice(population, (DRAWS, n)), population.mean()
            reach = student.ppf(0.975, n - 1) * drawn.std(axis=1, ddof=1) / np.sqrt(n)
            again = drawn[np.arange(DRAWS)[:, None, None], rng.integers(0, n, (DRAWS, 200, n))].mean(axis=2)
            ends = {
                "ours": mean_intervals(drawn.ravel(), np.repeat(np.arange(DRAWS), n)),
                "t": (drawn.mean(axis=1) - reach, drawn.mean(axis=1) + reach),
                "bootstrap": np.quantile(again, [0.025, 0.975], axis=1),
            }
            for name, (low, high) in ends.items():
                covered[name].append(float(((low <= true) & (true <= high)).mean()))
        print(f"| {n} | " + " | ".join(f"{np.mean(each):.1%}, {min(each):.1%}" for each in covered.values()) + " |")


def print_settling(run: RunFolder) -> None:
    """Print AUROC and balanced accuracy of subject groups against the number of their cells."""
    print("\n| cells of each | AUROC of subjects | balanced accuracy at 0.5 |\n|---|---|---|")
    for row in settling_table(compare([run]), SETTLING_DRAWS).itertuples():
        print(f"| {row.cells} | {row.subject_auroc:.3f} | {row.balanced_accuracy:.3f} |")


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    run = read_run_folder(parser.parse_args().run)
    print_scores(run.part("validation"))
    print_coverage(run.part("test"))
    print_settling(run)


if __name__ == "__main__":
    main()
