"""One style, one palette and one way to save figures, and the curves and bars that several packages draw."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# The palette of Okabe & Ito, readable with colour blindness, without its yellow, which is too pale on white. The line
# styles distinguish the same series in greyscale.
BLUE = "#0072B2"
ORANGE = "#D55E00"
COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINE_STYLES = ("-", "--", "-.", ":")
GREY = "#8a8a8a"  # of reference lines
WIDTH = 5.4  # inches: at 11 points the text stays legible on a phone that shows the figure 360 px wide
DPI = 160  # of a PNG, and of pictures within an SVG
STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar in the name of a run or an image is a dollar
}
# a fixed salt for the identifiers in an SVG makes equal figures equal files; text stays text, searchable and editable
_SVG: dict[Any, Any] = {"svg.hashsalt": "leukobench", "svg.fonttype": "none"}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the style of the package: `with style():`, or `@style()` on a function that returns a figure."""
    with matplotlib.rc_context(STYLE):
        yield


def save_figure(figure: Figure, path: Path, formats: Sequence[str] = ("png", "svg")) -> None:
    """Write a figure as PNG and SVG, the same bytes for the same figure.

    Args:
        figure: The figure.
        path: The file, with or without a suffix; the suffix of each format replaces it.
        formats: `png`, `svg` or both.
    """
    with style(), matplotlib.rc_context(_SVG):  # matplotlib makes the ticks only when it saves
        for suffix in formats:
            metadata = {"Date": None} if suffix == "svg" else {}
            figure.savefig(path.with_suffix(f".{suffix}"), dpi=DPI, metadata=metadata)


def series_color(number: int) -> str:
    """Return the colour of the series of a number, counted from 0."""
    return COLORS[number % len(COLORS)]


def series_line_style(number: int) -> str:
    """Return the line style of the series of a number, counted from 0."""
    return LINE_STYLES[number % len(LINE_STYLES)]


def plot_training_curve(
    axes: Axes, history: pd.DataFrame, column: str, *, color: str, line_style: str, label: str
) -> None:
    """Plot one column of a training history over the epochs, one line a fold.

    Args:
        axes: Where to.
        history: One row an epoch: `epoch`, the column, and `fold` in a cross-validation.
        column: The column, for example `val_loss`.
        color: Colour of the lines.
        line_style: Style of the lines.
        label: Name of the lines in the legend, once for all folds.
    """
    folds = [rows for _, rows in history.groupby("fold")] if "fold" in history else [history]
    for number, rows in enumerate(folds):
        shown = label if number == 0 else None
        # a marker, because a history of one epoch is a point, which a line would not show
        axes.plot(
            rows["epoch"], rows[column], color=color, linestyle=line_style, marker=".", linewidth=1.5, label=shown
        )
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def plot_bars(
    axes: Axes,
    names: Sequence[str],
    values: np.ndarray,
    intervals: np.ndarray | None = None,
    *,
    colors: str | Sequence[str] = BLUE,
    places: int | None = None,
) -> None:
    """Plot horizontal bars from the top down, with their intervals where there are any.

    Args:
        axes: Where to.
        names: Name of each bar.
        values: Length of each bar. [shape=(n,)]
        intervals: Lower and upper end of each interval; NaN where there is none. [shape=(n, 2)]
        colors: One colour, or one a bar.
        places: Number of bars that the panel has room for, where it stands beside a longer one.
    """
    place = np.arange(len(values))
    axes.barh(place, values, color=colors, height=0.7)
    if intervals is not None:
        known = ~np.isnan(intervals).any(axis=1)
        axes.hlines(place[known], *intervals[known].T, color="black", linewidth=1)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(place, names)
    axes.set_ylim((places or len(values)) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
