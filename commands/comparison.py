"""The commands that compare runs: `compare` and `leakage`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leukobench.commands.options import (
    FILE,
    FOLDER,
    cluster_options,
    jobs_option,
    options_named,
    output,
    resume_option,
    seed_option,
)
from leukobench.commands.printing import json_option, show, show_comparison

# what the library says of its arguments, and how to say it on the command line
OPTIONS = {
    "(common=True)": "with --common",
    "set allow_leaky=True": "add --allow-leaky",
    "train both with one background": "train both with the same --background",
    "images must be": "--images must be",
}


@click.command()
@click.argument("runs", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@output("Report folder")
@click.option("--images", type=FOLDER, help="Folder of the images: show the most confidently misclassified cells.")
@click.option("--common", is_flag=True, help="Compare on the test images that all runs share.")
@click.option(
    "--allow-leaky",
    is_flag=True,
    help="List runs whose parts share subjects (an image-level split) beside runs with a subject-level split, marked "
    "as LEAKY.",
)
@click.option(
    "--sensitivity",
    type=click.FloatRange(0, 1, min_open=True),
    help="Choose the threshold on validation that reaches this sensitivity there; default: the highest Youden's J.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.05,
    show_default=True,
    help="Margin within which two AUROCs count as equivalent.",
)
@json_option
def compare(runs: tuple[Path, ...], out: Path, images: Path | None, **options: Any) -> None:
    """Compare RUNS that were tested on the same images, with confidence intervals and tests.

    RUNS are run folders; no model is loaded. Beside them, a table (CSV) of the scores of any other model can be given:
    path, label, score (the probability of `all`) and, to be checked, subject. A folder of run folders repeat_0,
    repeat_1, ... is a repeated cross-validation. Intervals and tests are over subject groups, because the cells of one
    subject are not independent. Of a cross-validation, the AUROC compares cells within a fold. For each pair that does
    not differ significantly, the report says which difference these subjects could have shown. The report is one HTML
    file, with its tables as CSV, Markdown and LaTeX and its figures as PNG and SVG in the same folder.

    \b
    Example:  leukobench compare runs/svm runs/knn runs/mobilenet --images C-NMC_Leukemia -o report
              leukobench compare runs/svm theirs.csv -o report
    """
    from leukobench.comparison.runs import compare as compare_runs

    with options_named(OPTIONS):
        comparison = compare_runs(runs, **options)
        report = comparison.report(out, images=images)
    show_comparison(comparison, report)


@click.command()
@click.argument("features", type=FILE)
@click.argument("manifest", type=FILE)
@output("Folder")
@click.option(
    "--level",
    "levels",
    type=click.Choice(["image", "subject-id", "identical-images", "subject-group"]),
    multiple=True,
    help="Split level to compare with the reference, subject-group; may be given several times. By default all.",
)
@click.option("--family", type=click.Choice(["svm", "knn"]), default="svm", show_default=True, help="Classifier.")
@click.option("--images", type=FOLDER, help="Folder of the images: train the network of --recipe, too.")
@click.option("--recipe", help="Recipe of the network, see `recipes`.")
@click.option("--weights", metavar="PATH|imagenet|none", help="Weights of the network, as for `train-cnn`.")
@click.option("--epochs", type=click.IntRange(min=1), help="Number of epochs of the network; default: from its recipe.")
@click.option(
    "--folds", type=click.IntRange(min=2), default=5, show_default=True, help="Number of folds at each level."
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of repeats with other folds, over which the AUROCs are averaged.",
)
@resume_option
@seed_option
@jobs_option
@cluster_options
@json_option
def leakage(features: Path, manifest: Path, out: Path, **options: Any) -> None:
    """Measure the optimistic bias of lenient splits.

    The same model is cross-validated at several split levels. A level says what a split keeps together, so that it is
    not shared between training and test:

    \b
    image             single images: test subjects are in training
    subject-id        the images of a subject ID
    identical-images  subject IDs that are tied by identical images
    subject-group     subject IDs that are tied in any way: the reference, with unseen subjects

    Every labelled image is tested once at each level, and all models are trained on the same number of images of each
    class. The difference of the AUROC to the reference, on the same cells, is the optimistic bias; its interval and
    p-value are over subject groups. FEATURES is the feature table of MANIFEST; the ties lie beside the manifest.

    \b
    Example:  leukobench leakage features.csv manifest.csv -o leakage
              leukobench leakage features.csv manifest.csv --level image -o leakage
              leukobench leakage features.csv manifest.csv --images C-NMC_Leukemia --recipe dhuri-mobilenet -o leakage
    """
    from leukobench.workflows import leakage as workflow

    if (options["images"] is None) != (options["recipe"] is None):
        raise click.UsageError("a network needs both --images and --recipe")
    if options["images"] is None and (options["weights"] or options["epochs"]):
        raise click.UsageError("--weights and --epochs are for a network: add --images and --recipe")
    options["levels"] = options["levels"] or None
    done = workflow.leakage(features, manifest, out, **options)
    facts = {"folder": done.folder, "table": done.table.to_dict("records"), "statements": done.statements}
    show(facts, [*(f"- {line}" for line in done.statements), f"\n{done.folder}: table, figure, splits and runs"])
