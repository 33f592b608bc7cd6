"""Make partitions: subject-level, cross-validation, official phases of C-NMC 2019, and image-level.

Each class is divided on its own. A part takes its share of the subject groups of a class, each drawn with the same
probability, whatever its number of images. The part's share of the images of the class is nearly the same.

Nothing here uses a random generator: images and subject groups are ordered by the SHA-256 of the seed and their name.
The same arguments therefore give the same file on every machine and with every version of the libraries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from leukobench.cohort.class_names import ClassNames
from leukobench.cohort.manifest import LABELS, NEGATIVE, PHASES, POSITIVE, labelled, manifest_checksum
from leukobench.cohort.partition import IMAGE_LEVEL, PARTS, ROW_COLUMNS, Folds, Partition, Repeats, Split
from leukobench.core.errors import InputError

METHODS = ("subject", "official", "kfold", "image")
VALIDATION_GROUPS = 3  # fewest groups of a class that choose epoch and threshold, where the cohort has enough


@dataclass(frozen=True)
class SplitOptions:
    """Options of every method of splitting.

    Attributes:
        validation_size: Share of each class's subject groups (images for an image-level split) for validation, in
            [0, 1); taken from training in the same way as the test part. At least three groups of each class, or a
            third of those that are not in the test part if these are fewer than nine.
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
    repeats: int = 1,
    test_fold: str | None = None,
    balance: bool = False,
    per_subject: int | None = None,
    seed: int = 0,
    phases: Sequence[str] = (),
) -> Split | Repeats:
    """Divide a cohort into training, validation and test; the same as `leukobench split`.

    Args:
        manifest: The cohort, as `index_folder` or `read_manifest` returns it.
        method: `subject`: whole subject groups, so that no subject is in two parts. `kfold`: a cross-validation over
            subject groups. `official`: test on the preliminary phase of C-NMC 2019, or on one of its folds. `image`:
            single images; parts share subjects, to measure the optimistic bias of such a split.
        test_size: Share of each class's subject groups for testing (images for `image`), in (0, 1); for `subject` and
            `image`.
        validation_size: Share of each class's subject groups (images for `image`) for validation, in [0, 1), taken from
            training; at least three groups of each class where nine are not in the test part.
        folds: Number of folds; for `kfold`.
        repeats: Number of cross-validations, with the seeds `seed`, `seed + 1` and so on; for `kfold`.
        test_fold: Official fold to test on, `0` to `2`; for `official`.
        balance: Whether each part is reduced to as many images of one class as of the other.
        per_subject: Largest number of images of one subject; None for all.
        seed: Random seed.
        phases: Phases of C-NMC 2019 to divide, `train` or `prelim`; images of other phases are in no part. Empty for
            all images.

    Returns:
        A `Partition`, the `Folds` of a cross-validation, or the `Repeats` of a repeated one.

    Raises:
        InputError: an unknown method or phase, a size or number out of range, or a part would lack a class.

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
    if repeats < 1:
        raise InputError(f"repeats={repeats}; expected at least 1")
    if repeats > 1 and method != "kfold":
        raise InputError(f"repeats={repeats}, but the method {method!r} is not repeated; choose kfold")
    options = SplitOptions(validation_size, balance, per_subject, seed, _in_manifest_order(phases))
    if method == "subject":
        return split_by_subject(manifest, test_size, options)
    if method == "kfold":
        made = [split_in_folds(manifest, folds, replace(options, seed=seed + each)) for each in range(repeats)]
        return made[0] if repeats == 1 else Repeats(dict(enumerate(made)))
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
        test_size: Share of each class's subject groups for testing, in (0, 1); at least one group. Groups are not
            divided, so the share of images is approximate.
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

    Each fold tests equally many subject groups of a class, or one more, and about equally many images of it. Groups are
    assigned to the folds in the order of their hash, then exchanged between folds until no two folds differ by more
    than a third of the mean fold, as far as the groups allow. See `split_by_subject`.

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
                + (f"; choose at most {len(units)} folds (folds={len(units)})" if len(units) > 1 else "; add subjects")
            )
        for fold, names in enumerate(_balanced_folds(units, folds, f"fold/{seed}")):
            fold_of |= dict.fromkeys(names, fold)
    return group.map(fold_of)


def draw_units(unit: pd.Series, label: pd.Series, size: float, seed: int) -> pd.Series:
    """Draw whole units (subject groups or images) for testing, class by class.

    Of the N units of a class, n = round(size N) are drawn, at least one and at most N - 1. Each is drawn with the
    probability n / N, whatever its number of rows.

    Args:
        unit: Unit of each row.
        label: `all` or `hem` of each row.
        size: Share of each class's units to draw, in (0, 1).
        seed: Random seed.

    Returns:
        Whether each row is drawn. [bool]
    """
    drawn: set[str] = set()
    for units in _units_by_class(unit, label).values():
        number = max(round(size * len(units)), 1)
        drawn |= _draw(units, min(number, len(units) - 1), f"test/{seed}")
    return unit.isin(drawn)


def draw_validation(unit: pd.Series, label: pd.Series, test: pd.Series, size: float, seed: str) -> pd.Series:
    """Draw whole units for validation from those that are not in the test part, class by class.

    Of the N units of a class, M of them not in the test part, n = max(round(size N), min(3, floor(M / 3)), 1) are
    drawn, at most M - 1. Each is drawn with the same probability, whatever its number of rows.

    Args:
        unit: Unit of each row.
        label: `all` or `hem` of each row.
        test: Whether each row is in the test part.
        size: Share of each class's units to draw, in (0, 1).
        seed: Seed of the hashes.

    Returns:
        Whether each row is drawn. [bool]
    """
    drawn: set[str] = set()
    everything, rest = _units_by_class(unit, label), _units_by_class(unit[~test], label[~test])
    for of_class, units in rest.items():
        number = max(round(size * len(everything[of_class])), min(VALIDATION_GROUPS, len(units) // 3), 1)
        drawn |= _draw(units, min(number, len(units) - 1), f"validation/{seed}")
    return ~test & unit.isin(drawn)


def _checksum(manifest: pd.DataFrame) -> str:
    """Return the part of the manifest's checksum that a partition records."""
    return manifest_checksum(manifest)[:16]


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


def _units_by_class(unit: pd.Series, label: pd.Series) -> dict[str, dict[str, int]]:
    """Return the number of rows of each unit, by the class of most of its rows."""
    sizes = unit.value_counts()
    positives = unit[label == POSITIVE].value_counts().reindex(sizes.index, fill_value=0)
    blasts = positives * 2 >= sizes
    return {POSITIVE: sizes[blasts].to_dict(), NEGATIVE: sizes[~blasts].to_dict()}


def _draw(sizes: Mapping[str, int], number: int, seed: str) -> set[str]:
    """Draw a number of units, each with the same probability, whose share of the images is nearly that of the units.

    The units are divided into balanced folds of `number` units, and the hash of the seed chooses one of the folds. Each
    unit is in one fold, so all units have the same probability, however the folds were balanced. Units beyond a
    multiple of `number` are drawn in the same way beforehand and set aside. If more than half of the units are wanted,
    those that are not drawn are drawn instead.

    Args:
        sizes: Number of images of each unit.
        number: Number of units to draw.
        seed: Seed of the hashes.
    """
    if number <= 0:
        return set()
    if len(set(sizes.values())) == 1:  # nothing to balance
        return set(_in_order(sizes, seed)[:number])
    if 2 * number > len(sizes):
        return set(sizes) - _draw(sizes, len(sizes) - number, seed)
    folds, remainder = divmod(len(sizes), number)
    aside = _draw(sizes, remainder, f"{seed}/aside")
    members = _balanced_folds({name: size for name, size in sizes.items() if name not in aside}, folds, seed)
    return set(members[int(hashlib.sha256(seed.encode()).hexdigest(), 16) % folds])


def _balanced_folds(sizes: Mapping[str, int], folds: int, seed: str) -> list[list[str]]:
    """Divide units into folds: each has equally many units, or one more, and about equally many images.

    Units are assigned in the order of their hash. While the largest and the smallest fold differ by more than a third
    of the mean fold, plus what the largest unit makes inevitable, the largest or the smallest fold exchanges a unit
    with another fold: the exchange that lowers the sum of squares of the folds' images most. More exchanges would
    balance better, but leave less difference between the folds of different seeds.

    Args:
        sizes: Number of images of each unit.
        folds: Number of folds, at most the number of units.
        seed: Seed of the hashes.

    Returns:
        The units of each fold.
    """
    order = _in_order(sizes, seed)
    members = [order[fold::folds] for fold in range(folds)]
    images = [sum(sizes[name] for name in names) for names in members]
    mean, others = sum(images) / folds, (sum(images) - max(sizes.values())) / (folds - 1)
    allowed = mean / 3 + max(max(sizes.values()) - others, 0)
    while max(images) - min(images) > allowed:
        largest, smallest = images.index(max(images)), images.index(min(images))
        pairs = [(largest, fold) for fold in range(folds)] + [(fold, smallest) for fold in range(folds)]
        exchanges = [
            (moved * (images[more] - images[less] - moved), moved, more, place, less, other_place)
            for more, less in pairs
            for place, name in enumerate(members[more])
            for other_place, other in enumerate(members[less])
            if 0 < (moved := sizes[name] - sizes[other]) < images[more] - images[less]
        ]
        if not exchanges:
            break
        _, moved, more, place, less, other_place = max(exchanges)
        members[more][place], members[less][other_place] = members[less][other_place], members[more][place]
        images[more], images[less] = images[more] - moved, images[less] + moved
    return members


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
        part[draw_validation(unit, rows["label"], test, options.validation_size, seed)] = "validation"
    expected = PARTS if options.validation_size else ("train", "test")
    refuse_missing_class(rows, part, expected)
    table = rows.assign(part=part)[list(ROW_COLUMNS)]
    if options.balance:
        place = hash_rank(rows["path"], f"balance/{seed}").groupby([part, rows["label"]]).rank(method="first")
        smaller = rows.groupby([part, "label"])["path"].transform("size").groupby(part).transform("min")
        table = table[place <= smaller]
    return Partition(table, options.describe(method), manifest, ClassNames.of_table(rows))


def refuse_missing_class(rows: pd.DataFrame, part: pd.Series, expected: tuple[str, ...]) -> None:
    """Check that each expected part has images of both classes.

    Args:
        rows: Rows of a manifest: `label`, `subject_group`, and perhaps `class_name`.
        part: Part of each row.
        expected: The parts that the split must have.

    Raises:
        InputError: a part lacks a class.
    """
    classes = ClassNames.of_table(rows)
    counts = pd.crosstab(part, rows["label"]).reindex(index=expected, columns=LABELS, fill_value=0)
    for name in expected:
        for of_class in LABELS:
            if not counts.loc[name, of_class]:
                groups = rows["subject_group"][rows["label"] == of_class].nunique()
                raise InputError(
                    f"the {name} part would contain no {classes[of_class]} image: the cohort has {groups} subject "
                    f"group{'s' * (groups != 1)} of that class; "
                    + (
                        "make no validation part (validation_size=0) or add subjects"
                        if groups == 2 and "validation" in expected
                        else "add subjects or change the sizes"
                    )
                )
