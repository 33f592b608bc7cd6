"""Figures on disk: as PNG and SVG, the same bytes for the same figure."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

DPI = 160  # of a PNG, and of pictures within an SVG
# names of an SVG's parts drawn from a fixed salt, not at random; text stays text, to be searched and edited
_SVG = {"svg.hashsalt": "leukobench", "svg.fonttype": "none"}


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as `path` with the suffix `.png`, and `.svg` beside it."""
    with matplotlib.rc_context(_SVG):
        figure.savefig(path.with_suffix(".png"), dpi=DPI)
        figure.savefig(path.with_suffix(".svg"), dpi=DPI, metadata={"Date": None})
