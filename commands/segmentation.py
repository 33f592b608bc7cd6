"""The command that segments photographs of smears: `segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leukobench.commands.options import jobs_option, output
from leukobench.commands.printing import end_with_failures, json_option, show
from leukobench.core.text import counted


@click.command()
@click.argument("images", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@output("Folder")
@click.option(
    "--segment",
    type=click.Choice(["cell", "nucleus"]),
    default="cell",
    show_default=True,
    help="What the masks are of. cell: nucleus and cytoplasm, without the red cells that touch. nucleus: only that.",
)
@click.option(
    "--all",
    "all_cells",
    is_flag=True,
    help="Segment every white cell of an image, not the most central one only, and cut each out on black.",
)
@click.option(
    "--most",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Largest number of cells on the page.",
)
@jobs_option
@json_option
def segment(images: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Segment the white cells in photographs of blood smears, and show the outlines to check them by eye.

    IMAGES are folders, image files, or lists of images (.txt: one path a line, relative to the current folder). The
    cells are found as by --background smear of `extract` and `train-cnn`, so check here what these would measure.

    \b
    The folder OUT gets
      masks/         a PNG for each image, of the same size: 255 in the cell or nucleus, 0 elsewhere
      cells.csv      one row a cell: bounding box, centroid, areas of cell and nucleus (px), doubts
      overlay.html   each cell with the outlines of cell and nucleus, the most doubtful first
      cut_out/       with --all: each cell on black

    A cell is doubtful if it touches the border, has a ragged outline (often red cells that were taken in) or no
    cytoplasm, if its area is over twice or under half the median, or if the image has other nuclei.

    Use --all where an image holds several white cells. `manifest`, `extract` and `predict` read the cells of cut_out
    as they read C-NMC; cells.csv has their places. Two cells whose nuclei nearly touch can be taken for one.

    An image that cannot be read, or shows no cell, is listed with the reason in OUT/cells.csv.failures.csv, and the
    command ends with exit code 1.

    \b
    Example:  leukobench segment smears -o masks --jobs 2
              leukobench segment smears --segment nucleus -o nuclei
              leukobench segment fields --all -o cells
              leukobench predict runs/svm cells/cut_out -o predictions.csv
    """
    from leukobench.workflows.segmentation import PAGE, TABLE, segment_images

    table = segment_images(images, out, **options)
    failed = table.attrs["failures"]
    segmented, doubtful = table["path"].nunique(), int((table["doubts"] != "").sum())
    facts = {
        "folder": out,
        "images": segmented,
        "cells": len(table),
        "doubtful": doubtful,
        "page": out / PAGE,
        "failed": failed,
    }
    found = f"{counted(len(table), 'cell')} in {counted(segmented, 'image')}"
    show(facts, [f"{out}: {found}, {doubtful:,} doubtful", f"Look at them in {out / PAGE}"])
    end_with_failures(failed, segmented, "segmented", out / TABLE)
