"""Make partitions: subject-level, cross-validation, official phases of C-NMC 2019, and image-level.

Nothing here uses a random generator: images and subject groups are ordered by the SHA-256 of the seed and their name.
The same arguments therefore give the same file on every machine and with every version of the libraries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from leukobench.cohort.manifest import LABELS, NEGATIVE, PHASES, POSITIVE, labelled, manifest_checksum
from leukobench.cohort.partition import IMAGE_LEVEL, PARTS, ROW_COLUMNS, Folds, Partition, Split
from leukobench.core.errors import InputError

METHODS = ("subject", "official", "kfold", "image")


@dataclass(frozen=True)
class SplitOptions:
    """Options of every method of splitting.

    Attributes:
        validation_size: Share of each class's images for validation, in [0, 1); taken from training in the same way
            as the test part.
        balance: Whether each part is reduced to as many images of one class as of the other.
        per_subject: Largest number of images of one subject; None for all.
        seed: Random seed.
        phases: Phases to divide; empty for all images.
    """

    validation_size: float = 0.0
    balance: bool = False
    per_subject: int | None = None
    seed: int = 0
    phases: tuple[str, ...] = ()

    def describe(self, method: str) -> str:
        """Return the text of a partition's `method`."""
        words = [method, f"validation={self.validation_size}", f"seed={self.seed}"]
        words += ["balance"] * self.balance
        words += [f"per-subject={self.per_subject}"] * (self.per_subject is not None)
        words += [f"phases={','.join(self.phases)}"] * bool(self.phases)
        return " ".join(words)


def split(
    manifest: pd.DataFrame,
    method: str = METHODS[0],
    *,
    test_size: float = 0.2,
    validation_size: float = 0.1,
    folds: int = 5,
    test_fold: str | None = None,
    balance: bool = False,
    per_subject: int | None = None,
    seed: int = 0,
    phases: Sequence[str] = (),
) -> Split:
    """Divide a cohort into training, validation and test; the same as `leukobench split`.

    Args:
        manifest: The cohort, as `index_folder` or `read_manifest` returns it.
        method: `subject`: whole subject groups, so that no subject is in two parts. `kfold`: a cross-validation over
            subject groups. `official`: test on the preliminary phase of C-NMC 2019, or on one of its folds. `image`:
            single images; parts share subjects, to measure the optimistic bias of such a split.
        test_size: Share of each class's images for testing, in (0, 1); for `subject` and `image`.
        validation_size: Share of each class's images for validation, in [0, 1), taken from training.
        folds: Number of folds; for `kfold`.
        test_fold: Official fold to test on, `0` to `2`; for `official`.
        balance: Whether each part is reduced to as many images of one class as of the other.
        per_subject: Largest number of images of one subject; None for all.
        seed: Random seed.
        phases: Phases of C-NMC 2019 to divide, `train` or `prelim`; images of other phases are in no part. Empty for
            all images.

    Returns:
        A `Partition`, or the `Folds` of a cross-validation.

    Raises:
        InputError: an unknown method or phase, a size out of range, or a part would lack a class.

    Example:
        >>> import leukobench as lb
        >>> cohort = lb.read_manifest()
        >>> partition = lb.split(cohort, "subject", test_size=0.2, seed=1)
        >>> partition.shared_groups
        []
        >>> [fold for fold, _ in lb.split(cohort, "kfold", folds=3).by_fold()]
        [0, 1, 2]
    """
    if not 0 < test_size < 1 or not 0 <= validation_size < 1:
        raise InputError(
            f"test_size={test_size}, validation_size={validation_size}; expected shares in (0, 1) and in [0, 1)"
        )
    options = SplitOptions(validation_size, balance, per_subject, seed, _in_manifest_order(phases))
    if method == "subject":
        return split_by_subject(manifest, test_size, options)
    if method == "kfold":
        return split_in_folds(manifest, folds, options)
    if method == "official":
        return split_officially(manifest, test_fold, options)
    if method == "image":
        return split_by_image(manifest, test_size, options)
    raise InputError(f"no method {method!r}; choose one of {', '.join(METHODS)}")


def split_by_subject(
    manifest: pd.DataFrame, test_size: float = 0.2, options: SplitOptions = SplitOptions()
) -> Partition:
    """Assign whole subject groups to the parts: no subject, and no image, is in two parts.

    Args:
        manifest: The cohort, as `cohort.manifest` reads it.
        test_size: Share of each class's images for testing, in (0, 1). Groups are not divided, so the share is
            approximate, to within half of the largest group.
        options: See `SplitOptions`.

    Returns:
        The partition, its rows in manifest order.

    Raises:
        InputError: a part would lack a class.
    """
    rows = _eligible(labelled(manifest), options)
    test = draw_units(rows["subject_group"], rows["label"], test_size, options.seed)
    return _finish(_checksum(manifest), rows, test, rows["subject_group"], options, f"subject test={test_size}")


def split_by_image(manifest: pd.DataFrame, test_size: float = 0.2, options: SplitOptions = SplitOptions()) -> Partition:
    """Assign single images to the parts, as the four reproduced studies did: subjects are in training and in test.

    This image-level split exists to measure its optimistic bias, and every file made from it is marked as LEAKY. See
    `split_by_subject`.
    """
    rows = _eligible(labelled(manifest), options)
    test = draw_units(rows["path"], rows["label"], test_size, options.seed)
    return _finish(_checksum(manifest), rows, test, rows["path"], options, f"{IMAGE_LEVEL} test={test_size}")


def split_officially(
    manifest: pd.DataFrame, test_fold: str | None = None, options: SplitOptions = SplitOptions()
) -> Partition:
    """Test on the preliminary phase of C-NMC and train on its training phase, or leave out one official fold.

    The official folds share images. Images of a subject group that is also in the test part are left out of training.
    See `split_by_subject`.

    Args:
        manifest: The cohort.
        test_fold: The official fold to test on, `0` to `2`; None for the preliminary phase.
        options: See `SplitOptions`.
    """
    rows = _eligible(labelled(manifest), options)
    if test_fold is None:
        rows = rows[rows["phase"].isin(["train", "prelim"])]
        test = rows["phase"] == "prelim"
    else:
        rows = rows[rows["phase"] == "train"]
        test = rows["fold"] == test_fold
    part = "the preliminary phase" if test_fold is None else f"fold {test_fold}"
    if not test.any() or test.all():
        only = f", restricted to the phase {' and '.join(options.phases)}," if options.phases else ""
        raise InputError(
            f"the manifest{only} contains {'only' if test.any() else 'no'} images of {part}; use another method"
        )
    clean = test | ~rows["subject_group"].isin(rows["subject_group"][test])
    name = "official" if test_fold is None else f"official fold={test_fold}"
    return _finish(_checksum(manifest), rows[clean], test[clean], rows["subject_group"][clean], options, name)


def split_in_folds(manifest: pd.DataFrame, folds: int = 5, options: SplitOptions = SplitOptions()) -> Folds:
    """Make a cross-validation over subject groups: each labelled image is tested in exactly one partition.

    The groups of each class, in the order of their hash, go one by one to the fold with the fewest images of that
    class. See `split_by_subject`.

    Args:
        manifest: The cohort.
        folds: Number of partitions, at least 2.
        options: See `SplitOptions`.

    Raises:
        InputError: a class has fewer subject groups than there are folds, or a part would lack a class.
    """
    if folds < 2:
        raise InputError(f"folds={folds}; a cross-validation takes at least 2 folds")
    rows = _eligible(labelled(manifest), options)
    group = rows["subject_group"]
    number = assign_folds(group, rows["label"], folds, options.seed)
    checksum = _checksum(manifest)
    method = f"kfold folds={folds}"
    return Folds(
        {
            fold: _finish(checksum, rows, number == fold, group, options, method, f"{options.seed}/{fold}")
            for fold in range(folds)
        }
    )


def assign_folds(group: pd.Series, label: pd.Series, folds: int, seed: int) -> pd.Series:
    """Return the number of the fold in which each row is tested; see `split_in_folds`.

    Args:
        group: Subject group of each row.
        label: `all` or `hem` of each row.
        folds: Number of folds.
        seed: Random seed.

    Raises:
        InputError: a class has fewer groups than there are folds.
    """
    fold_of: dict[str, int] = {}
    for of_class, units in _units_by_class(group, label).items():
        if len(units) < folds:
            raise InputError(
                f"{folds} folds need {folds} subject groups of each class; the cohort has {len(units)} of {of_class}"
            )
        images = [0] * folds
        for name in _in_order(units.index, f"fold/{seed}"):
            smallest = images.index(min(images))
            fold_of[name] = smallest
            images[smallest] += units[name]
    return group.map(fold_of)


def draw_units(unit: pd.Series, label: pd.Series, size: float, seed: int) -> pd.Series:
    """Draw whole units (subject groups or images) for testing, class by class.

    Args:
        unit: Unit of each row.
        label: `all` or `hem` of each row.
        size: Share of each class's rows to draw, in (0, 1).
        seed: Random seed.

    Returns:
        Whether each row is drawn. [bool]
    """
    return _draw(unit, label, _class_sizes(label) * size, f"test/{seed}")


def _checksum(manifest: pd.DataFrame) -> str:
    """Return the part of the manifest's checksum that a partition records."""
    return manifest_checksum(manifest)[:16]


def _class_sizes(label: pd.Series) -> pd.Series:
    return label.value_counts().reindex(LABELS, fill_value=0)


def _in_order(names: Iterable[str], seed: str) -> list[str]:
    """Return names in the order of their hash."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())


def hash_rank(path: pd.Series, seed: str) -> pd.Series:
    """Return each path's position in the order of the hashes of seed and path."""
    return path.map({name: place for place, name in enumerate(_in_order(path, seed))})


def _in_manifest_order(phases: Sequence[str]) -> tuple[str, ...]:
    """Return each phase once, so that the order in which they are named does not change the file."""
    unknown = [phase for phase in phases if phase not in PHASES]
    if unknown:
        raise InputError(f"no phase {unknown[0]!r}; choose from {', '.join(PHASES)}")
    return tuple(phase for phase in PHASES if phase in phases)


def _eligible(rows: pd.DataFrame, options: SplitOptions) -> pd.DataFrame:
    """Return the rows of the phases to divide, and at most `per_subject` of each subject."""
    if options.phases:
        rows = rows[rows["phase"].isin(options.phases)]
        if rows.empty:
            raise InputError(f"the manifest contains no labelled image of the phase {' or '.join(options.phases)}")
    if options.per_subject is None:
        return rows
    place = hash_rank(rows["path"], f"per-subject/{options.seed}").groupby(rows["subject"]).rank(method="first")
    return rows[place <= options.per_subject]


def _units_by_class(unit: pd.Series, label: pd.Series) -> dict[str, pd.Series]:
    """Return the number of images of each unit, by the class of most of its images."""
    sizes = unit.value_counts()
    positives = unit[label == POSITIVE].value_counts().reindex(sizes.index, fill_value=0)
    blasts = positives * 2 >= sizes
    return {POSITIVE: sizes[blasts], NEGATIVE: sizes[~blasts]}


def _draw(unit: pd.Series, label: pd.Series, targets: pd.Series, seed: str) -> pd.Series:
    """Draw whole units, class by class, until their number of images is close to the target of that class.

    Within a class, units are visited in the order of their hash. A unit is drawn if that brings the number of images
    nearer to the target. At least one unit is not drawn.
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
    manifest: str,
    rows: pd.DataFrame,
    test: pd.Series,
    unit: pd.Series,
    options: SplitOptions,
    method: str,
    seed: str | None = None,
) -> Partition:
    """Take the validation part from training, balance the parts, and check that each has both classes."""
    seed = str(options.seed) if seed is None else seed
    part = pd.Series("train", index=rows.index).mask(test, "test")
    if options.validation_size:
        rest = ~test
        targets = _class_sizes(rows["label"]) * options.validation_size
        validation = _draw(unit[rest], rows["label"][rest], targets, f"validation/{seed}")
        part[validation[validation].index] = "validation"
    expected = PARTS if options.validation_size else ("train", "test")
    refuse_missing_class(rows["label"], part, rows["subject_group"], expected)
    table = rows.assign(part=part)[list(ROW_COLUMNS)]
    if options.balance:
        place = hash_rank(rows["path"], f"balance/{seed}").groupby([part, rows["label"]]).rank(method="first")
        smaller = rows.groupby([part, "label"])["path"].transform("size").groupby(part).transform("min")
        table = table[place <= smaller]
    return Partition(table, options.describe(method), manifest)


def refuse_missing_class(label: pd.Series, part: pd.Series, group: pd.Series, expected: tuple[str, ...]) -> None:
    """Check that each expected part has images of both classes.

    Args:
        label: `all` or `hem` of each row.
        part: Part of each row.
        group: Subject group of each row, counted in the error message.
        expected: The parts that the split must have.

    Raises:
        InputError: a part lacks a class.
    """
    counts = pd.crosstab(part, label).reindex(index=expected, columns=LABELS, fill_value=0)
    for name in expected:
        for of_class in LABELS:
            if not counts.loc[name, of_class]:
                groups = group[label == of_class].nunique()
                raise InputError(
                    f"the {name} part would contain no {of_class} image: the cohort has {groups} subject "
                    f"group{'s' * (groups != 1)} of that class; add subjects or change the sizes"
                )
