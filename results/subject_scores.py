"""The score of a person: the mean probability over the person's cells, with an interval over these cells.

With n cells of the scores p_i, one undecided cell of the score 1/2 is added for the interval, so that it neither
vanishes where all cells agree nor leaves [0, 1]:

    middle   = (sum of p_i + 1/2) / (n + 1)
    variance = (sum of (p_i - middle)^2 + (1/2 - middle)^2) / (n (n + 1))
    interval = expit(logit(middle) -+ t * sqrt(variance) / (middle (1 - middle))),  t with n degrees of freedom

The score itself stays the mean. The interval tells how much the mean would vary with other cells of the same person;
it says nothing of other persons, nor of the model. It takes the cells as a random sample of the person's cells, which
those of one slide are not. benchmarks/subject_scores.py compares the mean with other scores of a person on validation
subjects, and measures the coverage of the interval.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import t as student

from leukobench.results.metrics import THRESHOLD, predicted_class

LEVEL = 0.95
COLUMNS = ("subject", "cells", "score", "low", "high", "predicted")
_CLOSEST = 1e-9  # to 0 and 1 that the middle is taken for: the logit is finite


def mean_intervals(score: np.ndarray, number: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the interval of each person's mean score; NaN with one cell. [each of shape=(persons,)]

    Args:
        score: Score of each cell, from 0 to 1. [shape=(n,)]
        number: Number of each cell's person, counted from 0. [shape=(n,)]
        level: Confidence level.

    >>> low, high = mean_intervals(np.array([0.9, 0.7, 0.8, 0.6]), np.zeros(4, int))
    >>> low.round(3), high.round(3)
    (array([0.478]), array([0.856]))
    """
    score = np.asarray(score, float)
    cells = np.bincount(number)
    middle = np.clip((np.bincount(number, score) + 0.5) / (cells + 1), _CLOSEST, 1 - _CLOSEST)
    squares = np.bincount(number, (score - middle[number]) ** 2) + (0.5 - middle) ** 2
    error = np.sqrt(squares / (cells * (cells + 1))) / (middle * (1 - middle))
    reach = np.where(cells > 1, student.ppf((1 + level) / 2, cells) * error, np.nan)
    mean = np.bincount(number, score) / cells
    low, high = expit(logit(middle) - reach), expit(logit(middle) + reach)
    return np.minimum(low, mean), np.maximum(high, mean)


def subject_scores(subject: pd.Series, score: np.ndarray, threshold: float = THRESHOLD) -> pd.DataFrame:
    """Return one row a subject: the number of its cells, their mean score with its interval, and the predicted class.

    Args:
        subject: Subject of each cell. [shape=(n,)]
        score: Probability of `all` of each cell. [shape=(n,)]
        threshold: A mean score of at least this predicts `all`.

    Returns:
        `subject`, `cells`, `score`, `low`, `high` and `predicted`, sorted by subject. `low` and `high` are missing for
        a subject with one cell.

    >>> subject_scores(pd.Series(["1", "1", "H1"]), np.array([0.9, 0.7, 0.2]))[["subject", "cells", "score"]]
      subject  cells  score
    0       1      2    0.8
    1      H1      1    0.2
    """
    number, names = pd.factorize(subject, sort=True)
    cells = np.bincount(number)
    mean = np.bincount(number, np.asarray(score, float)) / cells
    low, high = mean_intervals(score, number)
    # all three are rounded, so that the score stays within its interval
    rounded = {name: values.round(9) for name, values in (("score", mean), ("low", low), ("high", high))}
    found = {"subject": names, "cells": cells, **rounded}
    return pd.DataFrame(found | {"predicted": predicted_class(mean, threshold)})
