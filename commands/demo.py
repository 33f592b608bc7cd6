"""`demo`: the whole path on generated cells."""

from __future__ import annotations

from pathlib import Path

import click

from leukobench.commands.options import jobs_option, output, seed_option
from leukobench.commands.printing import print_comparison


@click.command()
@output("Folder")
@click.option("--subjects", type=click.IntRange(min=2), default=16, show_default=True, help="People to generate.")
@click.option("--cells", type=click.IntRange(min=1), default=15, show_default=True, help="Cells of each.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of the network, instead of its recipe's.")
@seed_option
@jobs_option
def demo(out: Path, subjects: int, cells: int, epochs: int | None, seed: int, jobs: int) -> None:
    """Run the whole path on a generated cohort, in minutes.

    Cells with known properties are drawn and written as C-NMC-like BMP files, then indexed, split by subject, measured,
    learned by SVM, k-NN and a small network, and compared. Its figures show that the software works; they say nothing
    about leukemia.

    \b
    Example:  leukobench demo -o demo --jobs 2
    """
    from leukobench.workflows.demo import run_demo

    done = run_demo(
        out, subjects=subjects, cells_per_subject=cells, epochs=epochs, seed=seed, jobs=jobs, say=click.echo
    )
    print_comparison(done.comparison, done.report)
