"""The report: one HTML file that opens anywhere, with its tables and figures as files beside it."""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import jinja2
import pandas as pd
from matplotlib.figure import Figure

import leukobench
from leukobench.comparison import tables
from leukobench.comparison.bootstrap import LEVEL, RESAMPLES
from leukobench.comparison.checklist import LEFT_TO_AUTHORS, answers, limits
from leukobench.comparison.plots import MOST_BANDS, draw_all, importance_bars_figure, training_curves_figure
from leukobench.comparison.published import beside_papers
from leukobench.comparison.results import LEVELS, Comparison, compare, fold_aurocs
from leukobench.comparison.thumbnails import WrongCell, most_wrong
from leukobench.comparison.verdict import cautions, sentence, verdicts
from leukobench.core.errors import InputError
from leukobench.core.files import refuse_existing, whole_folder, write_csv
from leukobench.core.plotting import save_figure
from leukobench.results.run import Run, read_run

REPORT = "report.html"
MOST_COLUMNS = 4  # runs beside each other in a table: what fits on a printed page
IMPORTANCE = {"importance.csv": "features", "importance_by_family.csv": "families of features"}


def write_report(
    run_folders: Sequence[Path],
    out: Path,
    *,
    images: Path | None = None,
    common: bool = False,
    allow_leaky: bool = False,
) -> Comparison:
    """Compare runs and write the report folder: `report.html`, `table.csv`, `.md` and `.tex`, figures as PNG and SVG.

    Args:
        run_folders: Complete run folders.
        out: Folder to write, whole or not at all.
        images: Folder of the images, to show the cells most confidently wrong; None to leave them out.
        common: Whether to leave out rows that are not tested in every run.
        allow_leaky: Whether runs split by image may stand beside subject-disjoint ones.

    Raises:
        InputError: a run folder is torn, the runs may not be compared, an image cannot be read, or `out` exists.
    """
    refuse_existing(out)
    comparison = compare([read_run(folder) for folder in run_folders], common=common, allow_leaky=allow_leaky)
    wrong = most_wrong(comparison, images) if images else {}
    flags = [*(["--images", str(images)] if images else []), *["--common"] * common, *["--allow-leaky"] * allow_leaky]
    command = shlex.join(["leukobench", "compare", *map(str, run_folders), *flags, "-o", out.name])
    drawn = draw_all(comparison) | _of_run_files(comparison)
    with whole_folder(out) as partial:
        write_csv(tables.long_table(comparison), partial / "table.csv")
        (partial / "table.md").write_text(tables.markdown(comparison) + "\n", encoding="utf-8")
        (partial / "table.tex").write_text(tables.latex(comparison), encoding="utf-8")
        for name, figure in drawn.items():
            save_figure(figure, partial / name)
        pictures = {name: _embedded((partial / f"{name}.png").read_bytes()) for name in drawn}
        (partial / REPORT).write_text(_html(comparison, pictures, wrong, command), encoding="utf-8")
    return comparison


def _of_run_files(comparison: Comparison) -> dict[str, Figure]:
    """Draw what only some run folders hold: training curves and importances, by the name of the figure's file."""
    histories = {name: run.history for name, run in comparison.runs.items() if run.history is not None}
    drawn = {"training": training_curves_figure(histories)} if histories else {}
    for number, run in enumerate(comparison.runs.values()):
        for file in IMPORTANCE:
            if (run.folder / file).is_file():
                drawn[_importance_name(number, file)] = importance_bars_figure(_read_importance(run, file))
    return drawn


def _importance_name(number: int, file: str) -> str:
    return f"{Path(file).stem}_{number + 1}"


def _read_importance(run: Run, file: str) -> pd.DataFrame:
    """Read a run's importances: the name first, then `importance` (a drop, under that name too) and its interval."""
    path = run.folder / file
    try:
        table = pd.read_csv(path).rename(columns={"drop": "importance"})
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); train again") from None
    name = next((column for column in ("feature", "family") if column in table), None)
    if name is None or "importance" not in table or table.empty:
        raise InputError(f"{path}: is no table of importances (feature or family, importance); train again")
    return table[[name, "importance", *(column for column in ("low", "high") if column in table)]]


def _side_by_side(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return the names of the runs by so many as fit beside each other on paper."""
    names = list(comparison.runs)
    return [tuple(names[start : start + MOST_COLUMNS]) for start in range(0, len(names), MOST_COLUMNS)]


def _p_value(p: float) -> str:
    if math.isnan(p):
        return tables.NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _embedded(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _html(comparison: Comparison, pictures: dict[str, str], wrong: dict[str, list[WrongCell]], command: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("leukobench.comparison", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["embedded"] = _embedded
    environment.filters["p_value"] = _p_value
    importances = [
        (name, what, pictures[_importance_name(number, file)])
        for number, name in enumerate(comparison.runs)
        for file, what in IMPORTANCE.items()
        if _importance_name(number, file) in pictures
    ]
    names = list(comparison.runs)
    shown = ["wrong"] * bool(wrong) + ["importance"] * bool(importances)
    return environment.get_template("report.html.jinja").render(
        comparison=comparison,
        title=" against ".join(names) if len(names) <= MOST_COLUMNS else f"{len(names)} runs compared",
        verdicts=verdicts(comparison),
        cautions=cautions(comparison),
        sentences=[(pair, sentence(comparison, pair)) for pair in comparison.differences],
        levels=[
            (level, [(some, tables.level_table(comparison, level, some)) for some in _side_by_side(comparison)])
            for level in LEVELS
        ],
        costs=[(some, tables.cost_table(comparison, some)) for some in _side_by_side(comparison)],
        folds=fold_aurocs(comparison),
        papers=beside_papers(comparison),
        answers=answers(comparison, shown),
        left_to_authors=LEFT_TO_AUTHORS,
        limits=limits(comparison),
        pictures=pictures,
        importances=importances,
        wrong=wrong,
        bands=len(comparison.runs) <= MOST_BANDS,
        command=command,
        resamples=f"{RESAMPLES:,}",
        interval=f"{LEVEL:.0%}",
        version=leukobench.__version__,
    )
