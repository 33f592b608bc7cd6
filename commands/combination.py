"""The command that combines runs: `combine`."""

from __future__ import annotations

from pathlib import Path

import click

from leukobench.commands.options import FOLDER, output
from leukobench.commands.printing import json_option


@click.command()
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@output("Run folder")
@json_option
def combine(runs: tuple[Path, ...], out: Path) -> None:
    """Combine RUNS that were trained on the same split into one: the mean of their log odds for each cell.

    RUNS are two or more run folders of either family. Nothing is trained again and no weight is fitted; the mean is
    calibrated on the validation part, as the scores of every run. The result is a run folder like any other:
    `compare` compares it with the runs that it consists of, and `predict` and `explain` apply it to new images. A
    combination is better than its best run only where the runs err on different cells, which `compare` shows.

    \b
    Example:  leukobench combine runs/svm runs/network -o runs/combined
              leukobench compare runs/svm runs/network runs/combined -o report
    """
    from leukobench.commands.printing import show_run
    from leukobench.workflows import combination

    show_run(combination.combine(runs, out))
