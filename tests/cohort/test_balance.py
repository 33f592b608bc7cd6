"""Splits balance subjects and images, and draw each subject with the same probability: 500 seeds on C-NMC 2019."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from leukobench.cohort.manifest import LABELS, read_manifest
from leukobench.cohort.splitting import SplitOptions, assign_folds, draw_units, draw_validation, split_by_subject
from tests.conftest import REPOSITORY

SEEDS = 500
FOLDS = 5
TEST, VALIDATION = 0.2, 0.1


@dataclass(frozen=True)
class Draws:
    """What 500 seeds draw: of each seed, whether each group of a class is drawn."""

    images: dict[str, np.ndarray]  # images of each group, by class
    test: dict[str, np.ndarray]  # [seeds, groups]
    validation: dict[str, np.ndarray]  # [seeds, groups]
    fold: dict[str, np.ndarray]  # [seeds, groups]


@pytest.fixture(scope="module")
def training_phase() -> pd.DataFrame:
    shipped = read_manifest(REPOSITORY / "data_manifest.csv")
    return shipped[shipped["phase"] == "train"]


@pytest.fixture(scope="module")
def draws(training_phase: pd.DataFrame) -> Draws:
    group, label = training_phase["subject_group"], training_phase["label"]
    code, _ = pd.factorize(group)
    first = np.unique(code, return_index=True)[1]
    parts: dict[str, list[np.ndarray]] = {"test": [], "validation": [], "fold": []}
    for seed in range(SEEDS):
        test = draw_units(group, label, TEST, seed)
        validation = draw_validation(group, label, test, VALIDATION, str(seed))
        assert not (test & validation).any()
        for name, part in (
            ("test", test),
            ("validation", validation),
            ("fold", assign_folds(group, label, FOLDS, seed)),
        ):
            of_row = part.to_numpy()
            parts[name].append(of_row[first])
            assert (of_row == of_row[first][code]).all()  # no group is on both sides
    of_class = {name: label.to_numpy()[first] == name for name in LABELS}
    images = {name: np.bincount(code)[of_class[name]] for name in LABELS}
    return Draws(
        images, **{part: {name: np.array(of)[:, of_class[name]] for name in LABELS} for part, of in parts.items()}
    )


def limits(chance: float, units: int) -> tuple[float, float]:
    """The numbers of draws that all units stay within with a probability of 0.99 or more, by Bonferroni."""
    return binom.interval(1 - 0.01 / units, SEEDS, chance)


@pytest.mark.parametrize("of_class", LABELS)
def test_a_test_part_has_its_share_of_groups_and_nearly_of_images(draws: Draws, of_class: str) -> None:
    images, test = draws.images[of_class], draws.test[of_class]
    assert set(test.sum(axis=1)) == {round(TEST * len(images))}
    shares = test @ images / images.sum()
    assert shares.mean() == pytest.approx(TEST, abs=0.01)
    # a third of the share, or the largest group together with the smallest ones
    assert np.abs(shares - TEST).max() < max(TEST / 3, images.max() / images.sum() - TEST + TEST / 3)


def test_the_documentation_says_how_far_the_share_of_images_varies(draws: Draws) -> None:
    text = " ".join((REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8").split())
    said = []
    for of_class, cells in (("all", "blasts"), ("hem", "normal cells")):
        images, test = draws.images[of_class], draws.test[of_class]
        shares, groups = test @ images / images.sum(), test[0].sum()
        said.append(f"{groups} groups with {shares.min():.0%} to {shares.max():.0%} of the {cells}")
    assert f"Over {SEEDS} seeds, a test part of {TEST} of the training phase has {said[0]}, and {said[1]}." in text
    sizes = np.concatenate(list(draws.images.values()))
    assert f"The subject groups of its training phase have {sizes.min()} to {sizes.max():,} images." in text
    all_, hem = (draws.images[of_class].max() / draws.images[of_class].sum() for of_class in LABELS)
    assert f"The largest group alone has {all_:.0%} of the blasts, and {hem:.0%} of the normal cells." in text


@pytest.mark.parametrize("of_class", LABELS)
def test_each_group_is_tested_with_the_same_probability_whatever_its_size(draws: Draws, of_class: str) -> None:
    images, times = draws.images[of_class], draws.test[of_class].sum(axis=0)
    least, most = limits(round(TEST * len(images)) / len(images), len(images))
    assert least <= times.min() <= times.max() <= most
    smallest, largest = np.array_split(times[np.argsort(images)] / SEEDS, 3)[::2]
    assert smallest.mean() == pytest.approx(largest.mean(), abs=0.02)


@pytest.mark.parametrize("of_class", LABELS)
def test_a_validation_part_has_at_least_three_groups_of_each_class(draws: Draws, of_class: str) -> None:
    images, validation = draws.images[of_class], draws.validation[of_class]
    number = max(round(VALIDATION * len(images)), 3)
    assert set(validation.sum(axis=1)) == {number}
    times = validation.sum(axis=0)
    least, most = limits(number / len(images), len(images))
    assert least <= times.min() <= times.max() <= most


@pytest.mark.parametrize("of_class", LABELS)
def test_folds_have_equally_many_groups_and_nearly_equally_many_images(draws: Draws, of_class: str) -> None:
    images, fold = draws.images[of_class], draws.fold[of_class]
    inside = fold[:, None, :] == np.arange(FOLDS)[:, None]  # [seeds, folds, groups]
    groups, cells = inside.sum(axis=2), inside @ images
    assert (np.ptp(groups, axis=1) <= 1).all()
    mean, others = images.sum() / FOLDS, (images.sum() - images.max()) / (FOLDS - 1)
    assert (np.ptp(cells, axis=1) <= mean / 3 + max(images.max() - others, 0)).all()
    assert np.ptp(cells, axis=1).max() < 0.11 * images.sum()
    together = (fold[:, :, None] == fold[:, None, :]).mean(axis=0)
    assert together[~np.eye(len(images), dtype=bool)].max() < 0.75  # no two groups are always tested together


@pytest.mark.parametrize(("size", "groups"), [(0.05, 2), (0.15, 6), (0.3, 12), (0.5, 20), (0.7, 27), (0.95, 37)])
def test_any_share_is_drawn(training_phase: pd.DataFrame, size: float, groups: int) -> None:
    group, label = training_phase["subject_group"], training_phase["label"]
    for seed in range(10):
        drawn = draw_units(group, label, size, seed)
        assert group[drawn & (label == "all")].nunique() == groups == round(size * 39)


@pytest.mark.parametrize(
    ("groups", "parts"), [(2, None), (3, (1, 1, 1)), (4, (2, 1, 1)), (9, (5, 2, 2)), (12, (7, 3, 2)), (40, (28, 4, 8))]
)
def test_small_cohorts_keep_groups_for_training(groups: int, parts: tuple[int, int, int] | None) -> None:
    names = [f"{letter}{number}" for letter in "PH" for number in range(groups) for _ in range(1 + number % 3)]
    label = pd.Series(["all" if name[0] == "P" else "hem" for name in names])
    unit = pd.Series(names)
    test = draw_units(unit, label, TEST, seed=3)
    validation = draw_validation(unit, label, test, VALIDATION, "3")
    part = np.select([test, validation], ["test", "validation"], "train")
    for of_class in LABELS:
        counts = unit.groupby([label, part]).nunique()[of_class].reindex(["train", "validation", "test"], fill_value=0)
        assert tuple(counts) == ((1, 0, 1) if parts is None else parts)


def test_the_order_of_the_rows_does_not_matter(training_phase: pd.DataFrame) -> None:
    shuffled = training_phase.sample(frac=1, random_state=0)
    for seed in range(5):
        one, other = (
            pd.DataFrame(
                {
                    "test": draw_units(rows["subject_group"], rows["label"], 0.3, seed),
                    "fold": assign_folds(rows["subject_group"], rows["label"], FOLDS, seed),
                }
            )
            for rows in (training_phase, shuffled)
        )
        pd.testing.assert_frame_equal(one, other.loc[one.index])


def test_one_large_group_is_tested_as_often_as_the_others() -> None:
    unit = pd.Series([name for name, size in (("P0", 50), *((f"P{n}", 1) for n in range(1, 10))) for _ in range(size)])
    unit = pd.concat([unit, "H" + unit], ignore_index=True)
    label = pd.Series(np.where(unit.str.startswith("H"), "hem", "all"))
    times = sum(draw_units(unit, label, 0.3, seed).groupby(unit).first().astype(int) for seed in range(SEEDS))
    least, most = limits(0.3, len(times))
    assert least <= times.min() <= times.max() <= most


def test_the_split_of_the_command_has_the_same_parts(training_phase: pd.DataFrame) -> None:
    partition = split_by_subject(training_phase, TEST, SplitOptions(validation_size=VALIDATION, seed=7))
    group, label = training_phase["subject_group"], training_phase["label"]
    test = draw_units(group, label, TEST, 7)
    validation = draw_validation(group, label, test, VALIDATION, "7")
    assert set(partition.part("test")["path"]) == set(training_phase["path"][test])
    assert set(partition.part("validation")["path"]) == set(training_phase["path"][validation])
