"""Write an audit into a folder: all findings, the table of ties, and a page that shows each tie to human eyes.

audit.html    every pair of images that joins two subject IDs, side by side; to confirm or reject
ties.csv      the same pairs as a table, see `leukobench.cohort.ties`
audit.json    all findings
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from joblib import delayed

import leukobench
from leukobench.cells.cell import BACKGROUNDS
from leukobench.cohort.audit import Audit
from leukobench.cohort.class_names import ClassNames
from leukobench.cohort.identity import natural_order, subject_groups
from leukobench.cohort.layout import find_images
from leukobench.cohort.pair_pictures import draw_pair
from leukobench.cohort.ties import COLUMNS, KINDS, accepted, write_ties
from leukobench.core.files import only_writer, refuse_existing, whole_folder, write_json
from leukobench.core.pages import embedded, guarded, page_templates
from leukobench.core.processes import in_processes
from leukobench.core.progress import ProgressBar
from leukobench.core.text import counted

LOG = logging.getLogger(__name__)

MOST_PICTURES = 1_000  # pairs; a page with more is too large for a browser


@dataclass(frozen=True)
class Pair:
    """A tie on the page: its row in the table of ties, its values by column, and both pictures ("" without)."""

    row: int
    tie: dict[str, str]
    pictures: tuple[str, str]
    labels: tuple[str, str]


@dataclass(frozen=True)
class Join:
    """Two subject IDs, the pairs that join them, and a line that counts these by kind."""

    subjects: tuple[str, str]
    evidence: str
    pairs: list[Pair]


def write_audit(
    found: Audit,
    out: str | os.PathLike[str],
    *,
    manifest: pd.DataFrame,
    images: str | os.PathLike[str] | None = None,
    background: str = BACKGROUNDS[0],
    jobs: int = 1,
) -> None:
    """Write the folder that the module docstring describes; or, if the name ends in `.json`, the findings only.

    Args:
        found: The audit.
        out: The folder or file.
        manifest: The manifest that was audited.
        images: Folder of the images; None: a page without pictures.
        background: What surrounds the cell, see `read_cell`.
        jobs: Number of parallel processes.

    Raises:
        InputError: `out` exists.
    """
    out = Path(out)
    refuse_existing(out)
    if out.suffix == ".json":
        write_json(found.as_json(), out)
        return
    pictures = {} if images is None else _pictures(found.ties, manifest, Path(images), background, jobs)
    joins = _joins(found.ties, manifest, pictures)
    with only_writer(out), whole_folder(out) as folder:
        write_json(found.as_json(), folder / "audit.json")
        write_ties(found.ties, folder / "ties.csv")
        (folder / "audit.html").write_text(_page(found, joins), encoding="utf-8")


def _joins(ties: pd.DataFrame, manifest: pd.DataFrame, pictures: dict[int, tuple[str, str]]) -> list[Join]:
    """Return the pairs of subject IDs, those that need human eyes most (few pairs, little similarity) first."""
    label = dict(zip(manifest["path"], ClassNames.of_table(manifest).of(manifest["label"]), strict=True))
    text = _as_text(ties)
    joins = []
    for subjects, rows in text.groupby(["subject", "other_subject"], sort=False):
        pairs = [
            Pair(
                row=int(row),
                tie=dict(tie),
                pictures=pictures.get(int(row), ("", "")),
                labels=(label.get(tie["path"], ""), label.get(tie["other"], "")),
            )
            for row, tie in rows.iterrows()
        ]
        pairs.sort(key=lambda pair: (KINDS[::-1].index(pair.tie["kind"]), pair.tie["similarity"]))
        joins.append(Join(subjects, _evidence(ties.loc[rows.index]), pairs))
    return sorted(joins, key=lambda join: (_weight(join), natural_order(join.subjects[0])))


def _as_text(ties: pd.DataFrame) -> pd.DataFrame:
    similarity = [f"{value:.4f}" if value == value else "" for value in ties["similarity"]]
    return ties.assign(similarity=pd.Series(similarity, index=ties.index, dtype=object))


def _weight(join: Join) -> tuple[bool, bool, int]:
    kinds = [pair.tie["kind"] for pair in join.pairs]
    return not any(pair.tie["path"] for pair in join.pairs), KINDS[0] in kinds or KINDS[1] in kinds, len(kinds)


def _evidence(ties: pd.DataFrame) -> str:
    """Return `8 near-duplicates (similarity 0.957 to 0.991), 1 identical`."""
    parts = []
    for kind in KINDS[::-1]:
        similarity = ties.loc[ties["kind"] == kind, "similarity"]
        if not len(similarity):
            continue
        known = similarity.dropna()
        ends = sorted({f"{value:.3f}" for value in (known.min(), known.max())}) if len(known) else ["not recorded"]
        if kind == KINDS[2]:
            parts.append(f"{counted(len(similarity), kind)} (similarity {' to '.join(ends)})")
        else:
            parts.append(f"{len(similarity)} {kind}")
    return ", ".join(parts)


def _pictures(
    ties: pd.DataFrame, manifest: pd.DataFrame, images: Path, background: str, jobs: int
) -> dict[int, tuple[str, str]]:
    """Draw the first ties of every pair of subjects, as many as a page can hold, by their row."""
    files = find_images(images, manifest["path"]).files
    place = ties.groupby(["subject", "other_subject"]).cumcount().sort_values(kind="stable")
    rows = [row for row in place.index if ties["path"][row] in files and ties["other"][row] in files][:MOST_PICTURES]
    calls = (delayed(draw_pair)(files[ties["path"][row]], files[ties["other"][row]], background) for row in rows)
    drawing = in_processes(calls, jobs, batch_size=8)
    drawn = ProgressBar(LOG, drawing, total=len(rows), desc="drawing", unit="pair")
    return {
        row: (embedded(pair[0], "jpeg"), embedded(pair[1], "jpeg"))
        for row, pair in zip(rows, drawn, strict=True)
        if pair is not None
    }


def _page(found: Audit, joins: list[Join]) -> str:
    subjects = list(found.subjects["subject"])
    groups = subject_groups(pd.Series(subjects, dtype=object), accepted(found.ties))
    rows = _as_text(found.ties)[list(COLUMNS)].to_numpy().tolist()
    page = (
        page_templates("leukobench.cohort")
        .get_template("audit.html.jinja")
        .render(
            found=found,
            joins=joins,
            subjects=subjects,
            joined=sorted({group for group in groups if "=" in group}, key=natural_order),
            columns=list(COLUMNS),
            rows=rows,
            pictured=sum(bool(pair.pictures[0]) for join in joins for pair in join.pairs),
            version=leukobench.__version__,
        )
    )
    return guarded(page, script=bool(rows))
