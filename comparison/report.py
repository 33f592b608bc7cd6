"""The report: one HTML file that opens anywhere, with the table and the figures beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
import matplotlib

import study
from comparison.plots import roc_figure
from comparison.results import FIGURES, Comparison, compare, markdown
from study.files import refuse_existing, whole_folder, write_csv
from study.run import read_run

REPORT = "report.html"
FIGURE_FORMATS = ("png", "svg")


def write_report(run_folders: Sequence[Path], out: Path) -> Comparison:
    """Compare runs and write the report folder: `report.html`, `table.csv`, `table.md`, `roc.png`, `roc.svg`.

    Args:
        run_folders: Complete run folders.
        out: Folder to write, whole or not at all.

    Raises:
        StudyError: a run folder is torn, the runs may not be compared, or `out` exists.
    """
    refuse_existing(out)
    comparison = compare([read_run(folder) for folder in run_folders])
    figures = _render(comparison)
    with whole_folder(out) as partial:
        write_csv(comparison.table, partial / "table.csv")
        (partial / "table.md").write_text(markdown(comparison.table) + "\n", encoding="utf-8")
        for kind, data in figures.items():
            (partial / f"roc.{kind}").write_bytes(data)
        (partial / REPORT).write_text(_html(comparison, figures["png"]), encoding="utf-8")
    return comparison


def _render(comparison: Comparison) -> dict[str, bytes]:
    """Return the ROC figure as the bytes of each format, equal for equal runs."""
    figure = roc_figure(comparison)
    rendered = {}
    with matplotlib.rc_context({"svg.hashsalt": "leukobench", "svg.fonttype": "none"}):
        for kind in FIGURE_FORMATS:
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
            rendered[kind] = buffer.getvalue()
    return rendered


def _html(comparison: Comparison, roc_png: bytes) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("comparison", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.jinja").render(
        comparison=comparison,
        figures=list(FIGURES.values()),
        rows=comparison.table.to_dict("records"),
        subjects=comparison.rows["subject_group"].nunique(),
        roc=base64.b64encode(roc_png).decode(),
        version=study.__version__,
    )
