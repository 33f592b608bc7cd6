"""The report of a comparison: one HTML file that needs no network, with its tables and figures beside it."""

from __future__ import annotations

import logging
import math
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import leukobench
from leukobench.comparison import tables
from leukobench.comparison.agreement import agreement_table
from leukobench.comparison.alt_texts import alt_texts
from leukobench.comparison.checklist import LEFT_TO_AUTHORS, answers, limits
from leukobench.comparison.importance import IMPORTANCE, importance_name
from leukobench.comparison.intervals import LEVEL
from leukobench.comparison.literature import compare_with_literature
from leukobench.comparison.methods import methods_paragraph
from leukobench.comparison.paired_tests import MARGIN
from leukobench.comparison.plots import MOST_BANDS, draw_figures
from leukobench.comparison.referral import NOVELTY, error_at, referral_table
from leukobench.comparison.results import CHOSEN, LEVELS, ComparedRuns, fold_aurocs
from leukobench.comparison.settling import settling_table
from leukobench.comparison.thumbnails import WrongCell, most_wrong
from leukobench.comparison.verdict import cautions, result, verdicts
from leukobench.core.files import only_writer, refuse_existing, whole_folder, without_formulas, write_csv
from leukobench.core.pages import embedded, guarded, page_templates
from leukobench.core.plotting import save_figure
from leukobench.core.text import printable

LOG = logging.getLogger(__name__)
REPORT, SUMMARY = "report.html", "summary.html"
MOST_COLUMNS = 4  # runs beside each other in a table: what fits on a printed page
MOST_SENTENCES = 4  # of the verdict on the summary


def write_report(comparison: ComparedRuns, out: Path, *, images: Path | None = None) -> Path:
    """Write the report folder: `report.html`, `summary.html`, which fits on one page (A4), `table.csv`, `.md` and
    `.tex`, `subjects.csv`, `referral.csv`, `settling.csv`, `methods.txt`, and figures as PNG and SVG.

    Args:
        comparison: The compared runs.
        out: Folder to write, complete or not at all.
        images: Folder of the images, to show the most confidently misclassified cells; None to leave them out.

    Returns:
        The path of `report.html`.

    Raises:
        InputError: `out` exists, or an image or a table of importances cannot be read.
    """
    refuse_existing(out)
    begun = time.monotonic()
    with only_writer(out), whole_folder(out) as partial:
        wrong = most_wrong(comparison, images) if images else {}
        referral, settling = referral_table(comparison), settling_table(comparison)
        figures = draw_figures(comparison, referral, settling)
        write_csv(without_formulas(tables.long_table(comparison)), partial / "table.csv")
        write_csv(without_formulas(tables.subjects_table(comparison)), partial / "subjects.csv")
        write_csv(without_formulas(referral), partial / "referral.csv")
        write_csv(without_formulas(settling), partial / "settling.csv")
        (partial / "table.md").write_text(tables.markdown(comparison) + "\n", encoding="utf-8")
        (partial / "methods.txt").write_text(methods_paragraph(comparison) + "\n", encoding="utf-8")
        (partial / "table.tex").write_text(tables.latex(comparison), encoding="utf-8")
        for name, figure in figures.items():
            save_figure(figure, partial / name)
        pictures = {name: embedded((partial / f"{name}.png").read_bytes()) for name in figures}
        alts = alt_texts(comparison, referral, settling)
        command = _command(comparison, out, images)
        text = _html(comparison, pictures, alts, wrong, referral, command)
        (partial / REPORT).write_text(text, encoding="utf-8")
        (partial / SUMMARY).write_text(_summary(comparison, pictures, alts, command), encoding="utf-8")
    LOG.info("%s: written in %.1f s", out / REPORT, time.monotonic() - begun)
    return out / REPORT


def _command(comparison: ComparedRuns, out: Path, images: Path | None) -> str:
    """Return the command that repeats the report."""
    folders = [
        str(repeats[0].folder if len(repeats) == 1 else repeats[0].folder.parent)
        for repeats in comparison.repeats.values()
    ]
    options = ["--images", str(images)] if images else []
    options += [] if comparison.sensitivity is None else ["--sensitivity", str(comparison.sensitivity)]
    options += [] if comparison.margin == MARGIN else ["--margin", str(comparison.margin)]
    options += ["--common"] * comparison.common + ["--allow-leaky"] * comparison.allow_leaky
    return _shell_command(["leukobench", "compare", *folders, *options, "-o", out.name])


def _side_by_side(comparison: ComparedRuns) -> list[tuple[str, ...]]:
    """Return the names of the runs in groups that fit beside each other on a printed page."""
    names = list(comparison.runs)
    return [tuple(names[start : start + MOST_COLUMNS]) for start in range(0, len(names), MOST_COLUMNS)]


def _p_value(p: float) -> str:
    if math.isnan(p):
        return tables.NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _number(value: float) -> str:
    return tables.NOTHING if math.isnan(value) else f"{value:.3f}"


def _shell_command(words: Sequence[str]) -> str:
    """Return a command as one line that a shell understands."""
    return printable(shlex.join(words))


def _summary(comparison: ComparedRuns, pictures: dict[str, str], alts: dict[str, str], command: str) -> str:
    """Return the page to print: verdict, main metrics of the best runs, two figures, and every caution."""
    best = sorted(comparison.runs, key=lambda name: -comparison.assessment(name).metrics["auroc"].value)[:MOST_COLUMNS]
    some = [name for name in comparison.runs if name in best]
    page = page_templates("leukobench.comparison").get_template("summary.html.jinja")
    return guarded(
        page.render(
            comparison=comparison,
            title=_title(comparison),
            verdicts=verdicts(comparison),
            most=MOST_SENTENCES,
            some=some,
            rows=tables.main_table(comparison, some),
            cautions=cautions(comparison),
            limits=limits(comparison),
            pictures=pictures,
            alts=alts,
            command=command,
            interval=f"{LEVEL:.0%}",
            version=leukobench.__version__,
        )
    )


def _title(comparison: ComparedRuns) -> str:
    names = list(comparison.runs)
    return ", ".join(names) if len(names) <= MOST_COLUMNS else f"{len(names)} runs"


def _html(
    comparison: ComparedRuns,
    pictures: dict[str, str],
    alts: dict[str, str],
    wrong: dict[str, list[WrongCell]],
    referral: pd.DataFrame,
    command: str,
) -> str:
    environment = page_templates("leukobench.comparison")
    environment.filters |= {"p_value": _p_value, "number": _number, "command": _shell_command}
    importances = [
        (name, what, pictures[importance_name(number, file)])
        for number, name in enumerate(comparison.runs)
        for file, what in IMPORTANCE.items()
        if importance_name(number, file) in pictures
    ]
    names = list(comparison.runs)
    before, after = error_at(referral, 0), error_at(referral, 0.2)
    shown = ["wrong"] * bool(wrong) + ["importance"] * bool(importances)
    page = environment.get_template("report.html.jinja").render(
        comparison=comparison,
        title=_title(comparison),
        verdicts=verdicts(comparison),
        cautions=cautions(comparison),
        pairs=[(pair, result(pair)) for pair in comparison.differences],
        main=[(some, tables.main_table(comparison, some)) for some in _side_by_side(comparison)],
        levels=[
            (level, [(some, tables.level_table(comparison, level, some)) for some in _side_by_side(comparison)])
            for level in LEVELS
        ],
        costs=[(some, tables.cost_table(comparison, some)) for some in _side_by_side(comparison)],
        folds=fold_aurocs(comparison),
        repeats=len(comparison.repeat_aurocs),
        chosen=any(CHOSEN in each.thresholded for each in comparison.assessments),
        cell_level=tables.cell_level_table(comparison).to_dict("records"),
        agreement=agreement_table(comparison).to_dict("records"),
        papers=compare_with_literature(comparison),
        methods=methods_paragraph(comparison),
        answers=answers(comparison, shown),
        left_to_authors=LEFT_TO_AUTHORS,
        limits=limits(comparison),
        referred=[(name, before[name], after[name]) for name in names[:MOST_COLUMNS]],
        novelty=NOVELTY in set(referral["order"]),
        pictures=pictures,
        alts=alts,
        importances=importances,
        wrong=wrong,
        bands=len(comparison.runs) <= MOST_BANDS,
        command=command,
        interval=f"{LEVEL:.0%}",
        version=leukobench.__version__,
    )
    return guarded(page, script=True)
