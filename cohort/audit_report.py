"""The audit as text for the terminal, with a few examples of each finding."""

from __future__ import annotations

from leukobench.cohort.audit import Audit, Groups, Leaks, Pixels
from leukobench.cohort.identity import ATTRIBUTES, Copies
from leukobench.cohort.manifest import LABELS
from leukobench.cohort.near_duplicates import NearDuplicates
from leukobench.cohort.ties import summary
from leukobench.core.text import EXAMPLES, aligned, counted, listed

_PLURALS = {"phase": "phases", "fold": "folds", "subject": "subject IDs", "label": "labels"}


def lines(found: Audit) -> list[str]:
    """Return an audit as lines of text."""
    parts = [
        [phase, *map(int, counts)] for phase, counts in zip(found.parts.index, found.parts.to_numpy(), strict=True)
    ]
    columns = found.parts.rename(columns=_names(found)).columns
    text = [counted(found.images, "image"), "", *aligned([["phase", *columns], *parts])]
    text += ["", f"byte-identical images: {_copies(found.identical)}"]
    text += ["", f"ties: {summary(found.ties)}", *_groups(found.groups), "", *_subjects(found)]
    if found.pixels is not None:
        text += ["", *_pixels(found.pixels)]
    if found.leaks is not None:
        text += ["", *_leaks(found.leaks)]
    return text


def _names(found: Audit) -> dict[str, str]:
    return {label: found.classes[label] for label in LABELS}


def _copies(found: Copies) -> str:
    if not found.pairs:
        return "none"
    within = ", ".join(f"{number:,} in {phase}" for phase, number in found.within.items())
    crossing = ", ".join(f"{found.crossing[name]:,} in two {_PLURALS[name]}" for name in ATTRIBUTES)
    examples = [f"\n  {' = '.join(same[:EXAMPLES])}" for same in found.sets[:EXAMPLES]]
    more = f"\n  and {len(found.sets) - EXAMPLES:,} more" * (len(found.sets) > EXAMPLES)
    return f"{counted(found.pairs, 'pair')}{f' ({within})' * bool(within)}; {crossing}{''.join(examples)}{more}"


def _groups(found: Groups) -> list[str]:
    text = [
        f"subject groups: {counted(found.subjects, 'subject ID')} in {counted(found.groups, 'group')} "
        f"({counted(found.by_identical_images, 'group')} by identical images alone)",
        f"  groups of several subject IDs, joined by ties: {_named(found.joined)}",
    ]
    for name, groups in found.across.items():
        if groups:
            text.append(f"  in several {_PLURALS[name]}: {counted(len(groups), 'group')}: {_named(groups)}")
    text.append(f"  subject IDs that are tied, but in different groups of the manifest: {_named(found.apart)}")
    text.append(f"  subject IDs that are not tied, but in one group of the manifest: {_named(found.together)}")
    return text


def _named(names: list[str]) -> str:
    shown = [name if len(name) <= 60 else f"{name[:56]}..." for name in names[:EXAMPLES]]
    return listed(shown + names[EXAMPLES:]) or "none"


def _subjects(found: Audit) -> list[str]:
    rows = []
    for label, shown in {**_names(found), "unlabelled": "unlabelled"}.items():
        cells = found.subjects[label][found.subjects[label] > 0]
        if len(cells):
            rows.append(
                [shown, len(cells), int(cells.sum()), int(cells.min()), round(cells.median()), int(cells.max())]
            )
    table = aligned([["cells per subject", "subjects", "cells", "min", "median", "max"], *rows]) if rows else []
    return [
        *table,
        f"subjects with one cell: {_named(found.with_one_cell)}",
        f"subjects with both labels: {_named(found.with_both_labels)}",
    ]


def _pixels(found: Pixels) -> list[str]:
    text = [f"images decoded: {found.decoded:,}; missing files: {len(found.missing):,}"]
    text.append(f"cannot be decoded: {counted(len(found.failed), 'image') if found.failed else 'none'}")
    text += [f"  {reason}" for reason in list(found.failed.values())[:EXAMPLES]]
    text.append(f"same pixels in different files: {_copies(found.copies)}")
    if found.near_duplicates is not None:
        text += _near_duplicates(found.near_duplicates)
    if found.not_compared:
        first = next(iter(found.not_compared.values()))
        text.append(f"not compared: {counted(len(found.not_compared), 'image')} (first: {first})")
    return text


def _near_duplicates(found: NearDuplicates) -> list[str]:
    text = [
        f"near-duplicates (similarity of at least {found.threshold:.2f}): {counted(len(found.pairs), 'pair')} "
        f"among {counted(found.compared, 'distinct cell')}",
        f"  of these, {_share(found.between_labels)} of different labels (false positives), "
        f"{_share(found.between_groups)} of different subject groups (false positives, or one person with two IDs)",
    ]
    ties = found.between_ties()
    if ties:
        named = [f"{_named([a])} ~ {_named([b])} ({counted(number, 'pair')})" for (a, b), number in ties.items()]
        text.append(f"  subject groups that may be one person: {listed(named)}")
    for path, other, similarity in found.pairs[["path", "other", "similarity"]][:EXAMPLES].itertuples(index=False):
        text.append(f"  {similarity:.3f}  {path} ~ {other}")
    return text + [f"  and {len(found.pairs) - EXAMPLES:,} more"] * (len(found.pairs) > EXAMPLES)


def _share(hits: tuple[int, int]) -> str:
    return f"{hits[0]:,} of {counted(hits[1], 'pair')}"


def _leaks(found: Leaks) -> list[str]:
    rows: list[list[object]] = [["shared between", "identical pairs"]]
    rows += [[parts, number] for parts, number in found.identical.items()]
    for title, column in (("same pixels", found.same_pixels), ("near-duplicates", found.near_duplicates)):
        if column is not None:
            rows = [[*row, value] for row, value in zip(rows, [title, *column.values()], strict=True)]
    groups = [len(names) for names in found.groups.values()]
    rows = [[*row, value] for row, value in zip(rows, ["subject groups", *groups], strict=True)]
    images = ", ".join(f"{number:,} {part}" for part, number in found.images.items())
    text = [f"partition: {found.method} ({images})", *aligned(rows)]
    text += [f"  {parts}: {_named(names)}" for parts, names in found.groups.items() if names]
    return [*text, "LEAKY: images or subjects are shared between parts" if found.any else "no leakage found"]
