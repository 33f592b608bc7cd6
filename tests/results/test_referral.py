"""Which cells are referred, by the scores of validation cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leukobench.core.errors import InputError
from leukobench.results.referral import Referral, refer_for_sensitivity, refer_share


class Validated:
    """As much of a run as a referral needs: its validation part."""

    folder = Path("run")

    def __init__(self, score: list[float], label: list[str], group: list[str]) -> None:
        self.rows = pd.DataFrame({"score": score, "label": label, "subject_group": group})

    def part(self, name: str, fold: int | None = None) -> pd.DataFrame:
        assert name == "validation"
        return self.rows


SCORES = [0.05, 0.2, 0.45, 0.4, 0.6, 0.7, 0.9, 0.95]
RUN = Validated(SCORES, ["hem"] * 3 + ["all"] * 5, list("aaabbccc"))


def test_a_share_of_the_validation_cells_is_referred_the_least_certain_ones() -> None:
    equal = Validated(SCORES, ["hem"] * 4 + ["all"] * 4, list("aabbccdd"))
    for share, referred in ((0.125, [0.45]), (0.375, [0.45, 0.4, 0.6]), (0.5, [0.45, 0.4, 0.6, 0.7])):
        found = refer_share(equal, share).apply(equal.rows)  # type: ignore[arg-type]
        assert found["score"][found["refer"]].tolist() == referred


def test_subjects_count_equally_whatever_their_number_of_cells() -> None:
    run = Validated([0.45] * 90 + [0.9] * 10, ["hem"] * 90 + ["all"] * 10, ["a"] * 90 + ["b"] * 10)
    assert refer_share(run, 0.5).apply(run.rows)["refer"].sum() == 90  # type: ignore[arg-type]
    assert refer_share(run, 0.51).apply(run.rows)["refer"].all()  # type: ignore[arg-type]


def test_with_the_referred_cells_the_sensitivity_is_reached() -> None:
    found = refer_for_sensitivity(RUN, 1.0).apply(RUN.rows)  # type: ignore[arg-type]
    blasts = found[found["label"] == "all"]
    assert ((blasts["score"] >= 0.5) | blasts["refer"]).all()
    assert found["score"][found["refer"]].tolist() == [0.45, 0.4]
    assert not refer_for_sensitivity(RUN, 0.8).apply(RUN.rows)["refer"].any()  # type: ignore[arg-type]


def test_cells_unlike_the_training_cells_are_referred_whatever_their_score() -> None:
    scored = pd.DataFrame({"score": [0.99, 0.99], "out_of_distribution": [True, False]})
    assert Referral(0.4, 0.6).apply(scored)["refer"].tolist() == [True, False]


@pytest.mark.parametrize("share", [0, 1, np.nan])
def test_no_share_and_no_validation_part_are_refused(share: float) -> None:
    with pytest.raises(InputError, match="is not above 0 and below 1"):
        refer_share(RUN, share)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no validation cells of both classes"):
        refer_share(Validated([0.1], ["hem"], ["a"]), 0.5)  # type: ignore[arg-type]
