"""The commands that compare runs: `compare` and `leakage`."""

from __future__ import annotations

from pathlib import Path

import click

from leukobench.commands.options import FILE, FOLDER, jobs_option, output, seed_option
from leukobench.commands.printing import print_comparison


@click.command()
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@output("Report folder")
@click.option("--images", type=FOLDER, help="Folder of the images: show the cells most confidently wrong.")
@click.option(
    "--common", is_flag=True, help="Compare on the test images that all runs share, and leave out the others."
)
@click.option(
    "--allow-leaky", is_flag=True, help="Put runs split by image beside subject-disjoint ones, marked as LEAKY."
)
def compare(runs: tuple[Path, ...], out: Path, images: Path | None, common: bool, allow_leaky: bool) -> None:
    """Compare RUNS tested on the same images: which is better, by how much, and how sure.

    Reads run folders only: no model is loaded. Figures are per cell and per subject; intervals and tests come from
    resampling subject groups, because the cells of one person are no independent observations. The report is one HTML
    file; its table lies beside it as CSV, Markdown and LaTeX, its figures as PNG and SVG.

    \b
    Example:  leukobench compare runs/svm runs/knn runs/mobilenet --images C-NMC_Leukemia -o report
    """
    from leukobench.comparison.report import REPORT, write_report

    comparison = write_report(runs, out, images=images, common=common, allow_leaky=allow_leaky)
    print_comparison(comparison, out / REPORT)


@click.command()
@click.argument("features", type=FILE)
@click.argument("manifest", type=FILE)
@output("Folder")
@click.option("--family", type=click.Choice(["svm", "knn"]), default="svm", show_default=True, help="Classical model.")
@click.option("--images", type=FOLDER, help="Folder of the images: measure a network too; needs --recipe.")
@click.option("--recipe", help="Recipe of the network, see `recipes`.")
@click.option("--weights", metavar="PATH|imagenet|none", help="Weights of the network, as for `train-cnn`.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of the network, instead of its recipe's.")
@click.option("--seeds", type=click.IntRange(min=2), default=5, show_default=True, help="Splits of each kind.")
@click.option(
    "--test-size",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of each class to test on.",
)
@seed_option
@jobs_option
def leakage(
    features: Path,
    manifest: Path,
    out: Path,
    family: str,
    images: Path | None,
    recipe: str | None,
    weights: str | None,
    epochs: int | None,
    seeds: int,
    test_size: float,
    seed: int,
    jobs: int,
) -> None:
    """Measure what a split by image is worth: by how much it flatters a model.

    The same model is trained under a split by image and under one by subject, with as many images of each class in
    training and in test, over several seeds. FEATURES is the table extracted by MANIFEST. An interrupted measurement
    goes on where it was.

    \b
    Example:  leukobench leakage features.csv manifest.csv --seeds 5 -o leakage
              leukobench leakage features.csv manifest.csv --images C-NMC_Leukemia --recipe dhuri-mobilenet -o leakage
    """
    from leukobench.workflows.leakage import measure_leakage

    if (images is None) != (recipe is None):
        raise click.UsageError("a network takes both --images and --recipe")
    if images is None and (weights or epochs):
        raise click.UsageError("--weights and --epochs are for a network: give --images and --recipe too")
    done = measure_leakage(
        features,
        manifest,
        out,
        family=family,
        images=images,
        recipe=recipe,
        weights=weights,
        epochs=epochs,
        test_size=test_size,
        seeds=seeds,
        seed=seed,
        jobs=jobs,
    )
    for line in done.statements:
        click.echo(f"- {line}")
    click.echo(f"\n{done.folder}: table, figure, partitions and runs")
