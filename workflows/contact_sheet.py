"""A contact sheet of predicted cells: one HTML page with small pictures, for a person to look through."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from PIL import Image

import leukobench
from leukobench.cells.cell import read_cell
from leukobench.core.errors import InputError
from leukobench.core.files import whole_file
from leukobench.core.pages import guarded, page_templates
from leukobench.results.run import RunFolder

ORDERS = ("score", "novelty")
MOST = 500  # cells of a page that a browser shows without delay, about 2 MB
SIDE = 112  # px, of a picture


def write_contact_sheet(
    run: RunFolder,
    scored: pd.DataFrame,
    files: Mapping[str, Path],
    out: Path,
    *,
    order: str = "score",
    most: int = MOST,
) -> int:
    """Write the page: picture, score and flags of each cell, the highest score or novelty first.

    Args:
        run: The run that predicted.
        scored: Its predictions.
        files: Image of each path.
        out: Page to write.
        order: `score` or `novelty`.
        most: Largest number of cells on the page: the first ones in that order.

    Returns:
        Number of cells on the page.

    Raises:
        InputError: another order, no novelty to order by, or `out` exists.
    """
    if order not in ORDERS:
        raise InputError(f"order {order!r}: there is {' and '.join(ORDERS)}")
    if order not in scored:
        raise InputError(f"{run.folder}: stores no novelty to order cells by; order them by score")
    shown = scored.sort_values(order, ascending=False, kind="stable").head(most)
    cells = [{**row, "picture": _picture(files[row["path"]], run.info.background)} for row in shown.to_dict("records")]
    text = (
        page_templates("leukobench.workflows")
        .get_template("contact_sheet.html.jinja")
        .render(run=run, cells=cells, total=len(scored), order=order, version=leukobench.__version__)
    )
    with whole_file(out) as partial:
        partial.write_text(guarded(text), encoding="utf-8")
    return len(cells)


def _picture(file: Path, background: str) -> bytes:
    """Return the cell as a small JPEG, without what surrounds it."""
    picture = Image.fromarray(read_cell(file, background).rgb)
    picture.thumbnail((SIDE, SIDE))
    return as_jpeg(picture)


def as_jpeg(picture: Image.Image) -> bytes:
    """Return a picture of a sheet as the content of a JPEG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=85)
    return buffer.getvalue()
