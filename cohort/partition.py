"""Partitions: which images are trained on, validated on, and tested on.

A partition is a CSV that stands by itself, so that training needs no other table of the cohort:

| column          | holds                                                                                  |
|-----------------|----------------------------------------------------------------------------------------|
| `path`          | the image, as in the manifest                                                          |
| `part`          | `train`, `validation` or `test`                                                        |
| `label`, `subject`, `subject_group` | as in the manifest                                                 |
| `method`        | how it was split, with its arguments: `subject test=0.2 validation=0.1 seed=1`;        |
|                 | a split by image begins with `image-LEAKY`                                             |
| `manifest`      | the first 16 digits of the SHA-256 of the manifest that it was made from               |

A cross-validation is a folder of them: `fold_0.csv`, `fold_1.csv` and so on.

Nothing here draws from a random generator: images and subject groups are ordered by the SHA-256 of the seed and
their name, so that the same arguments give the same file on every machine and with every library version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from leukobench.cohort.identity import natural_order
from leukobench.cohort.manifest import LABELS, NEGATIVE, POSITIVE, labelled
from leukobench.core.errors import InputError
from leukobench.core.files import read_csv_columns, sha256_of, whole_folder, write_csv

PARTS = ("train", "validation", "test")
COLUMNS = ("path", "part", "label", "subject", "subject_group", "method", "manifest")
LEAKY_METHOD = "image-LEAKY"


@dataclass(frozen=True)
class Choice:
    """What every method of splitting takes.

    Attributes:
        validation_size: Share of each class's images to validate on, in [0, 1), carved from training in the same way
            as the test part.
        balance: Whether each part is cut down to as many images of one class as of the other.
        per_subject: Most images taken of each subject; None for all.
        seed: Which of the many such splits.
    """

    validation_size: float = 0.0
    balance: bool = False
    per_subject: int | None = None
    seed: int = 0

    def describe(self, method: str) -> str:
        """Return the text of the column `method`."""
        words = [method, f"validation={self.validation_size}", f"seed={self.seed}"]
        words += ["balance"] * self.balance
        words += [f"per-subject={self.per_subject}"] * (self.per_subject is not None)
        return " ".join(words)


def split_by_subject(manifest: pd.DataFrame, test_size: float, choice: Choice = Choice()) -> pd.DataFrame:
    """Test on whole subject groups: no person, and no picture, stands in two parts.

    Args:
        manifest: The cohort, as `leukobench.cohort.manifest` reads it.
        test_size: Share of each class's images to test on, in (0, 1); groups are not cut, so it is met to within half
            of the largest group.
        choice: See `Choice`.

    Returns:
        `path`, `part`, `label`, `subject`, `subject_group` and `method`, in manifest order.

    Raises:
        InputError: a part would lack a class.
    """
    rows = _eligible(labelled(manifest), choice)
    test = _draw(rows["subject_group"], rows["label"], _class_sizes(rows) * test_size, f"test/{choice.seed}")
    return _finish(rows, test, rows["subject_group"], choice, f"subject test={test_size}")


def split_by_image(manifest: pd.DataFrame, test_size: float, choice: Choice = Choice()) -> pd.DataFrame:
    """Deal out single images, as the four reproduced studies did: the same person stands in training and test.

    It is there to measure what that leak is worth, and every file made from it says so. See `split_by_subject`.
    """
    rows = _eligible(labelled(manifest), choice)
    test = _draw(rows["path"], rows["label"], _class_sizes(rows) * test_size, f"test/{choice.seed}")
    return _finish(rows, test, rows["path"], choice, f"{LEAKY_METHOD} test={test_size}")


def split_officially(manifest: pd.DataFrame, test_fold: str | None = None, choice: Choice = Choice()) -> pd.DataFrame:
    """Test on C-NMC's preliminary phase and train on its training phase; or leave one of the official folds out.

    The official folds share pictures. Images of a subject group that also stands in the test part are left out of
    training. See `split_by_subject`.

    Args:
        manifest: The cohort.
        test_fold: The official fold to test on, `0` to `2`; None for the preliminary phase.
        choice: See `Choice`.
    """
    rows = _eligible(labelled(manifest), choice)
    if test_fold is None:
        rows = rows[rows["phase"].isin(["train", "prelim"])]
        test = rows["phase"] == "prelim"
    else:
        rows = rows[rows["phase"] == "train"]
        test = rows["fold"] == test_fold
    part = "the preliminary phase" if test_fold is None else f"fold {test_fold}"
    if not test.any() or test.all():
        raise InputError(f"the manifest has nothing {'but' if test.any() else 'of'} {part}; use another method")
    clean = test | ~rows["subject_group"].isin(rows["subject_group"][test])
    name = "official" if test_fold is None else f"official fold={test_fold}"
    return _finish(rows[clean], test[clean], rows["subject_group"][clean], choice, name)


def split_in_folds(manifest: pd.DataFrame, folds: int, choice: Choice = Choice()) -> list[pd.DataFrame]:
    """Make a cross-validation over subject groups: each labelled image is tested in one of the partitions.

    The groups of each class, in the order of their hash, go one by one to the fold that holds the fewest images of
    that class. See `split_by_subject`.

    Args:
        manifest: The cohort.
        folds: Number of partitions, at least 2.
        choice: See `Choice`.

    Raises:
        InputError: a class has fewer subject groups than there are folds, or a part would lack a class.
    """
    rows = _eligible(labelled(manifest), choice)
    group = rows["subject_group"]
    fold_of: dict[str, int] = {}
    for of_class, units in _units_by_class(group, rows["label"]).items():
        if len(units) < folds:
            raise InputError(
                f"{folds} folds take {folds} subject groups of each class; the cohort has {len(units)} of {of_class}"
            )
        held = [0] * folds
        for name in _in_order(units.index, f"fold/{choice.seed}"):
            emptiest = held.index(min(held))
            fold_of[name] = emptiest
            held[emptiest] += units[name]
    number = group.map(fold_of)
    return [
        _finish(rows, number == fold, group, choice, f"kfold folds={folds}", f"{choice.seed}/{fold}")
        for fold in range(folds)
    ]


def write_partition(partition: pd.DataFrame, manifest_path: Path, path: Path) -> None:
    """Write a partition of the manifest in `manifest_path`, whole or not at all."""
    table = partition.assign(manifest=sha256_of(manifest_path)[:16])
    write_csv(table[list(COLUMNS)], path)


def write_folds(partitions: Sequence[pd.DataFrame], manifest_path: Path, folder: Path) -> None:
    """Write a cross-validation as a folder of partitions, `fold_0.csv` and so on, whole or not at all."""
    with whole_folder(folder) as partial:
        for fold, partition in enumerate(partitions):
            write_partition(partition, manifest_path, partial / f"fold_{fold}.csv")


def read_partition(path: Path) -> pd.DataFrame:
    """Read and validate a partition.

    Raises:
        InputError: not a partition, an unknown part or label, or a path that stands twice.
    """
    partition = read_csv_columns(path, COLUMNS, "partition")
    for column, allowed in (("part", PARTS), ("label", LABELS)):
        wrong = ~partition[column].isin(allowed)
        if wrong.any():
            row = partition[wrong].iloc[0]
            raise InputError(
                f"{path}: {row['path']!r} has the {column} {row[column]!r}; "
                f"expected one of {', '.join(allowed)}; make it again with `leukobench split`"
            )
    if partition["path"].duplicated().any():
        twice = partition["path"][partition["path"].duplicated()].iloc[0]
        raise InputError(f"{path}: {twice!r} stands twice; make it again with `leukobench split`")
    return partition


def read_partitions(path: Path) -> dict[str, pd.DataFrame]:
    """Read what a training command takes: a partition, or a folder of them.

    Returns:
        The partition under the name "", or each of the folder's under its fold: "0", "1" and so on.

    Raises:
        InputError: see `read_partition`; or a folder without partitions, or of partitions that were not made together.
    """
    if not path.is_dir():
        return {"": read_partition(path)}
    files = sorted(path.glob("fold_*.csv"), key=lambda file: natural_order(file.stem))
    if not files:
        raise InputError(f"{path}: holds no fold_0.csv; name a partition or a folder made by `split --method kfold`")
    partitions = {file.stem.removeprefix("fold_"): read_partition(file) for file in files}
    for column in ("method", "manifest"):
        if len({partition[column].iloc[0] for partition in partitions.values()}) > 1:
            raise InputError(f"{path}: its partitions were not made together (their {column} differs); split again")
    tested = pd.concat([partition["path"][partition["part"] == "test"] for partition in partitions.values()])
    if tested.duplicated().any():
        raise InputError(f"{path}: {tested[tested.duplicated()].iloc[0]!r} is tested in two folds; split again")
    return partitions


def is_leaky(method: str) -> bool:
    """Tell whether a partition's `method` splits by image."""
    return method.startswith(LEAKY_METHOD)


def shared_groups(partition: pd.DataFrame) -> list[str]:
    """Return the subject groups that stand in more than one part, sorted."""
    parts = partition.groupby("subject_group")["part"].nunique()
    return sorted(parts.index[parts > 1])


def summary(partition: pd.DataFrame, manifest: pd.DataFrame) -> list[str]:
    """Describe a partition of a manifest in lines: each part's images and subject groups, what is not used, leaks."""
    lines = []
    for part in PARTS:
        rows = partition[partition["part"] == part]
        counts = ", ".join(f"{(rows['label'] == label).sum()} {label}" for label in LABELS)
        lines.append(f"{part:10}  {len(rows):6} images ({counts}) of {rows['subject_group'].nunique()} subject groups")
    if unused := len(labelled(manifest)) - len(partition):
        lines.append(f"{'not used':10}  {unused:6} labelled images")
    if is_leaky(partition["method"].iloc[0]):
        lines.append("LEAKY: subjects stand on both sides; figures from this split say nothing about people never seen")
    return lines


def _class_sizes(rows: pd.DataFrame) -> pd.Series:
    return rows["label"].value_counts().reindex(LABELS, fill_value=0)


def _in_order(names: Iterable[str], seed: str) -> list[str]:
    """Return names in the order of their hash."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())


def _rank(path: pd.Series, seed: str) -> pd.Series:
    """Return each path's place in the order of hashes."""
    return path.map({name: place for place, name in enumerate(_in_order(path, seed))})


def _eligible(rows: pd.DataFrame, choice: Choice) -> pd.DataFrame:
    """Return the rows less those beyond `per_subject` of a subject."""
    if choice.per_subject is None:
        return rows
    place = _rank(rows["path"], f"per-subject/{choice.seed}").groupby(rows["subject"]).rank(method="first")
    return rows[place <= choice.per_subject]


def _units_by_class(unit: pd.Series, label: pd.Series) -> dict[str, pd.Series]:
    """Return the number of images of each unit, by the class that most of the unit's images have."""
    sizes = unit.value_counts()
    positives = unit[label == POSITIVE].value_counts().reindex(sizes.index, fill_value=0)
    blasts = positives * 2 >= sizes
    return {POSITIVE: sizes[blasts], NEGATIVE: sizes[~blasts]}


def _draw(unit: pd.Series, label: pd.Series, targets: pd.Series, seed: str) -> pd.Series:
    """Draw whole units, class by class, until they hold about as many images as `targets` says for that class.

    Within a class the units come in the order of their hash, and one is taken where that brings the number of images
    nearer to the target; at least one is left.
    """
    drawn: set[str] = set()
    for of_class, units in _units_by_class(unit, label).items():
        sizes, taken, images = units.to_dict(), 0, 0
        for name in _in_order(sizes, seed):
            nearer = abs(images + sizes[name] - targets[of_class]) < abs(images - targets[of_class])
            if nearer and taken < len(sizes) - 1:
                drawn.add(name)
                taken, images = taken + 1, images + sizes[name]
    return unit.isin(drawn)


def _finish(
    rows: pd.DataFrame, test: pd.Series, unit: pd.Series, choice: Choice, method: str, seed: str | None = None
) -> pd.DataFrame:
    """Carve the validation part from training, balance the parts, and check that each has both classes."""
    seed = str(choice.seed) if seed is None else seed
    part = pd.Series("train", index=rows.index).mask(test, "test")
    if choice.validation_size:
        rest = ~test
        targets = _class_sizes(rows) * choice.validation_size
        validation = _draw(unit[rest], rows["label"][rest], targets, f"validation/{seed}")
        part[validation[validation].index] = "validation"
    expected = PARTS if choice.validation_size else ("train", "test")
    _refuse_missing_class(rows["label"], part, rows["subject_group"], expected)
    partition = rows[["path", "label", "subject", "subject_group"]].assign(part=part, method=choice.describe(method))
    if not choice.balance:
        return partition
    place = _rank(rows["path"], f"balance/{seed}").groupby([part, rows["label"]]).rank(method="first")
    smaller = rows.groupby([part, "label"])["path"].transform("size").groupby(part).transform("min")
    return partition[place <= smaller]


def _refuse_missing_class(label: pd.Series, part: pd.Series, group: pd.Series, expected: tuple[str, ...]) -> None:
    counts = pd.crosstab(part, label).reindex(index=expected, columns=LABELS, fill_value=0)
    for name in expected:
        for of_class in LABELS:
            if not counts.loc[name, of_class]:
                groups = group[label == of_class].nunique()
                raise InputError(
                    f"the {name} part would hold no {of_class} image: the cohort has {groups} subject "
                    f"group{'s' * (groups != 1)} of that class; add subjects or change the sizes"
                )
