"""`benchmark`: the whole study of a folder of images in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leukobench.commands.cohort import MANIFEST_OPTIONS, SPLIT_OPTIONS
from leukobench.commands.options import (
    FILE,
    FOLDER,
    background_option,
    cluster_options,
    jobs_option,
    options_named,
    seed_option,
)
from leukobench.commands.printing import say

SOURCES = ("positive", "negative", "subject_regex", "subjects", "ignored")


@click.command()
@click.argument("images", type=FOLDER)
@click.option(
    "-o",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder to write, or that of an interrupted study, which is continued.",
)
@click.option("--quick", is_flag=True, help="Train no network, and measure the bias of the image-level split only.")
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    help="Begin neither the network nor the leakage analysis after so many hours. A step that has begun is finished; "
    "the same command does the rest later.",
)
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    metavar="PATH|imagenet",
    help="Weights of the network: a file, or imagenet to download them. Without them the study goes on.",
)
@click.option("--positive", help="Name of the folder of blasts, as for `manifest`.")
@click.option("--negative", help="Name of the folder of normal cells, as for `manifest`.")
@click.option("--subject-regex", help="Regular expression that finds the subject's ID in a path, as for `manifest`.")
@click.option("--subjects", type=FILE, help="Table (CSV) of path and subject, as for `manifest`.")
@click.option("--ignore", "ignored", metavar="FOLDER", multiple=True, help="Folder to leave out, as for `manifest`.")
@background_option
@seed_option
@jobs_option
@cluster_options
def benchmark(images: Path, out: Path, **options: Any) -> None:
    """Do the whole study of the folder IMAGES: from the manifest to the comparison, in one command.

    The steps are the commands manifest, verify (of files of C-NMC 2019), audit, split (cross-validation over subject
    groups), extract, train-svm, train-knn, train-cnn, combine, compare and leakage. Each command is printed before it
    is run, with about how much time is left; all are kept in commands.sh. Open index.html: it has the findings and a
    link to the result of every step.

    After an interruption, run the same command again: complete steps are not repeated.

    \b
    Example:  leukobench benchmark C-NMC_Leukemia -o study --jobs 2
              leukobench benchmark slides -o study --quick --positive leukemia --negative normal \\
                  --subject-regex 'patient(\\d+)'
    """
    from leukobench.workflows import benchmark as workflow
    from leukobench.workflows.study_plan import Study

    given = {name: options.pop(name) for name in SOURCES}
    sources = {name: value for name, value in given.items() if value not in (None, ())}
    with options_named(MANIFEST_OPTIONS | SPLIT_OPTIONS):
        page = workflow.benchmark(Study(images, out, sources, **options), say=say)
    click.echo(f"\nOpen {page}")
