"""Partitions into training, validation and test images, and the folds of a cross-validation.

A partition is a CSV file, which needs no other table of the cohort:

| column     | content                                                                                |
|------------|----------------------------------------------------------------------------------------|
| `path`     | the image, as in the manifest                                                          |
| `part`     | `train`, `validation` or `test`                                                        |
| `label`, `subject`, `subject_group` | as in the manifest                                            |
| `method`   | method of splitting, with its arguments: `subject test=0.2 validation=0.1 seed=1`;     |
|            | the first word ends in `-LEAKY` where subjects are shared by design: `image-LEAKY`     |
| `manifest` | the first 16 digits of the checksum of the manifest, see `manifest.manifest_checksum`  |
| `class_name` | as in the manifest, if it has this column                                            |

A cross-validation is a folder of them: `fold_0.csv`, `fold_1.csv` and so on. A repeated cross-validation is a folder of
such folders: `repeat_0`, `repeat_1` and so on. `cohort.splitting` makes all three.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from leukobench.cohort.class_names import CNMC, ClassNames
from leukobench.cohort.identity import natural_order
from leukobench.cohort.manifest import CLASS_NAME, LABELS, class_name_faults, labelled
from leukobench.core.errors import InputError
from leukobench.core.files import csv_bytes, only_writer, read_csv_columns, whole_folder, write_csv
from leukobench.core.text import counted

PARTS = ("train", "validation", "test")
ROW_COLUMNS = ("path", "part", "label", "subject", "subject_group")
COLUMNS = (*ROW_COLUMNS, "method", "manifest")
LEAKY = "-LEAKY"  # ends the first word of the method of a split that shares subjects
IMAGE_LEVEL = f"image{LEAKY}"  # first word of the method of an image-level split


@dataclass(frozen=True)
class Partition:
    """One division of a cohort into training, validation and test.

    Attributes:
        rows: One row an image: `path`, `part`, `label`, `subject` and `subject_group`, in manifest order.
        method: Method of splitting, with its arguments.
        manifest: First 16 digits of the checksum of the manifest that was split.
        classes: The names of the classes.
    """

    rows: pd.DataFrame
    method: str
    manifest: str
    classes: ClassNames = CNMC

    def part(self, name: str) -> pd.DataFrame:
        """Return the rows of one part."""
        return self.rows[self.rows["part"] == name]

    def by_fold(self) -> Iterator[tuple[int | None, Partition]]:
        """Yield the partition itself, with None as the number of its fold."""
        yield None, self

    @property
    def shared_groups(self) -> list[str]:
        """Subject groups that are in more than one part, sorted."""
        parts = self.rows.groupby("subject_group")["part"].nunique()
        return sorted(parts.index[parts > 1])

    @property
    def leaky(self) -> bool:
        """Whether parts share subjects: by their method, or because the partition was edited by hand."""
        return self.method.split(" ")[0].endswith(LEAKY) or bool(self.shared_groups)

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of the partition's file, by the name `partition`."""
        return {"partition": hashlib.sha256(csv_bytes(self.as_table())).hexdigest()}

    def as_table(self) -> pd.DataFrame:
        """Return the partition in the columns of its file."""
        return self.classes.add_to(self.rows.assign(method=self.method, manifest=self.manifest)[list(COLUMNS)])


@dataclass(frozen=True)
class Folds:
    """A cross-validation: partitions of one manifest whose test parts share no image.

    Attributes:
        partitions: The partitions by number of the fold.
    """

    partitions: Mapping[int, Partition]

    def by_fold(self) -> Iterator[tuple[int | None, Partition]]:
        """Yield each partition with the number of its fold."""
        yield from self.partitions.items()

    @property
    def method(self) -> str:
        """Method of splitting, with its arguments."""
        return next(iter(self.partitions.values())).method

    @property
    def manifest(self) -> str:
        """First 16 digits of the checksum of the manifest that was split."""
        return next(iter(self.partitions.values())).manifest

    @property
    def classes(self) -> ClassNames:
        """The names of the classes."""
        return next(iter(self.partitions.values())).classes

    @property
    def shared_groups(self) -> list[str]:
        """Subject groups that are in more than one part of some fold, sorted."""
        return sorted({group for partition in self.partitions.values() for group in partition.shared_groups})

    @property
    def leaky(self) -> bool:
        """Whether the parts of some fold share subjects."""
        return any(partition.leaky for partition in self.partitions.values())

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of each partition's file, by the names `fold_0`, `fold_1` and so on."""
        return {f"fold_{fold}": each.checksums["partition"] for fold, each in self.partitions.items()}


Split = Partition | Folds


@dataclass(frozen=True)
class Repeats:
    """A repeated cross-validation: the same cohort divided into folds several times, with different seeds.

    Attributes:
        repeats: The cross-validations by number of the repeat.
    """

    repeats: Mapping[int, Folds]

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of each partition's file, by the names `repeat_0/fold_0`, `repeat_0/fold_1` and so on."""
        return {
            f"repeat_{repeat}/{name}": checksum
            for repeat, folds in self.repeats.items()
            for name, checksum in folds.checksums.items()
        }


def write_split(split: Split | Repeats, path: str | os.PathLike[str]) -> None:
    """Write a partition as a CSV file, folds as a folder of them, or repeats as a folder of such folders.

    The file or folder is written completely or not at all.

    Args:
        split: Partition, folds or repeats, as `split` returns them.
        path: The file or folder to write.

    Raises:
        InputError: the file or folder exists.

    Example:
        >>> import leukobench as lb
        >>> cohort = lb.read_manifest()
        >>> lb.write_split(lb.split(cohort, "official"), "official.csv")
    """
    path = Path(path)
    with only_writer(path):
        _write_parts(split, path)


def _write_parts(split: Split | Repeats, path: Path) -> None:
    if isinstance(split, Partition):
        write_csv(split.as_table(), path)
        return
    with whole_folder(path) as partial:
        if isinstance(split, Repeats):
            for repeat, folds in split.repeats.items():
                _write_parts(folds, partial / f"repeat_{repeat}")
            return
        for fold, partition in split.partitions.items():
            _write_parts(partition, partial / f"fold_{fold}.csv")


def read_partition(path: str | os.PathLike[str]) -> Partition:
    """Read and validate a partition.

    Raises:
        InputError: not a partition, an unknown part or label, a duplicated path, or rows of different partitions.
    """
    table = read_csv_columns(Path(path), COLUMNS, "partition", optional=[CLASS_NAME])
    for column, allowed in (("part", PARTS), ("label", LABELS)):
        wrong = ~table[column].isin(allowed)
        if wrong.any():
            row = table[wrong].iloc[0]
            raise InputError(
                f"{path}: {row['path']!r} has the {column} {row[column]!r}; "
                f"expected one of {', '.join(allowed)}; run `leukobench split` again"
            )
    if table["path"].duplicated().any():
        duplicate = table["path"][table["path"].duplicated()].iloc[0]
        raise InputError(f"{path}: {duplicate!r} is duplicated; run `leukobench split` again")
    for column in ("method", "manifest"):
        if table[column].nunique() > 1:
            raise InputError(f"{path}: its rows differ in {column}; run `leukobench split` again")
    for wrong, reason in class_name_faults(table):
        if wrong.any():
            raise InputError(f"{path}: {table['path'][wrong].iloc[0]!r} {reason}; run `leukobench split` again")
    rows, (method, manifest) = table[list(ROW_COLUMNS)], table[["method", "manifest"]].iloc[0]
    return Partition(rows, method, manifest, ClassNames.of_table(table))


def read_split(path: str | os.PathLike[str]) -> Split:
    """Read a partition, or a folder of partitions.

    Raises:
        InputError: see `read_partition`; or a folder without partitions, with partitions of different splits, or with
            the repeats of a cross-validation, of which one must be named.
    """
    path = Path(path)
    if not path.is_dir():
        return read_partition(path)
    files = sorted(path.glob("fold_*.csv"), key=lambda file: natural_order(file.stem))
    repeats = sorted({file.parent for file in path.glob("repeat_*/fold_*.csv")}, key=lambda of: natural_order(of.name))
    if not files and repeats:
        raise InputError(
            f"{path}: contains {counted(len(repeats), 'repeat')} of a cross-validation; "
            f"name one of them, such as {repeats[0]}"
        )
    if not files:
        raise InputError(f"{path}: contains no fold_0.csv; name a partition, or the folder of a cross-validation")
    if len(files) == 1:
        raise InputError(f"{path}: contains one fold only, which is no cross-validation; name its file, {files[0]}")
    partitions = {_fold_number(file): read_partition(file) for file in files}
    for name in ("method", "manifest", "classes"):
        if len({getattr(partition, name) for partition in partitions.values()}) > 1:
            raise InputError(
                f"{path}: its partitions were not made together (their {name} differs); run `leukobench split` again"
            )
    tested = pd.concat([partition.part("test")["path"] for partition in partitions.values()])
    if tested.duplicated().any():
        raise InputError(
            f"{path}: {tested[tested.duplicated()].iloc[0]!r} is tested in two folds; run `leukobench split` again"
        )
    return Folds(partitions)


def summary(partition: Partition, manifest: pd.DataFrame) -> list[str]:
    """Describe a partition of a manifest in lines: images and subject groups of each part, unused images, leakage.

    An official split leaves out of training the subject groups that are also in the test part; they are named.
    """
    lines = []
    for part in PARTS:
        rows = partition.part(part)
        counts = ", ".join(f"{(rows['label'] == label).sum()} {partition.classes[label]}" for label in LABELS)
        people = counted(rows["subject_group"].nunique(), "subject group")
        lines.append(f"{part:10}  {len(rows):6} image{'s' * (len(rows) != 1)} ({counts}) of {people}")
    left_out = _left_out(partition, manifest)
    if unused := len(labelled(manifest)) - len(partition.rows) - len(left_out):
        lines.append(f"{'not used':10}  {unused:6} labelled images")
    if len(left_out):
        groups = sorted(left_out["subject_group"].unique(), key=natural_order)
        lines.append(
            f"{'left out':10}  {len(left_out):6} images of {counted(len(groups), 'subject group')} that "
            f"{'is' if len(groups) == 1 else 'are'} also in the test part: {', '.join(groups)}"
        )
    if partition.leaky:
        lines.append("LEAKY: training and test share subjects; metrics on this split do not apply to unseen subjects")
    return lines


def _left_out(partition: Partition, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the images that an official split left out because their subject group is in the test part."""
    if partition.method.split()[0] != "official":
        return manifest[:0]
    test, rows = partition.part("test"), labelled(manifest)
    tested = rows[rows["path"].isin(test["path"])]
    official = rows["phase"].isin(["train", *tested["phase"]])
    same_part = (rows["phase"] + rows["fold"]).isin(tested["phase"] + tested["fold"])
    elsewhere = official & ~same_part & ~rows["path"].isin(partition.rows["path"])
    return rows[elsewhere & rows["subject_group"].isin(test["subject_group"])]


def _fold_number(file: Path) -> int:
    number = file.stem.removeprefix("fold_")
    if not number.isdecimal():
        raise InputError(f"{file}: is not named like a fold (fold_0.csv, fold_1.csv, ...); rename or remove it")
    return int(number)
