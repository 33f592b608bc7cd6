"""`demo`: the whole path on generated cells."""

from __future__ import annotations

from pathlib import Path

import click

from leukobench.commands.options import jobs_option, output, seed_option
from leukobench.commands.printing import say, show_comparison


@click.command()
@output("Folder")
@click.option(
    "--subjects", type=click.IntRange(min=2), default=16, show_default=True, help="Number of subjects to generate."
)
@click.option("--cells", type=click.IntRange(min=1), default=15, show_default=True, help="Number of cells per subject.")
@click.option("--epochs", type=click.IntRange(min=1), help="Number of epochs of the network; default: from its recipe.")
@seed_option
@jobs_option
def demo(out: Path, subjects: int, cells: int, epochs: int | None, seed: int, jobs: int) -> None:
    """Run the whole pipeline on synthetic cells, in minutes.

    Cells with known properties are drawn and written as BMP files like those of C-NMC. They are then indexed and split
    by subject, their features are extracted, an SVM, a k-NN and a small network are trained, and the models are
    compared. The results show that the software works; they say nothing about leukemia.

    \b
    Example:  leukobench demo -o demo --jobs 2
    """
    from leukobench.workflows.demo import run_demo

    done = run_demo(out, subjects=subjects, cells_per_subject=cells, epochs=epochs, seed=seed, jobs=jobs, say=say)
    show_comparison(done.comparison, done.report)
