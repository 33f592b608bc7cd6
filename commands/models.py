"""The commands that apply a trained model: `predict` and `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leukobench.commands.options import FILE, FOLDER, jobs_option, output


@click.command()
@click.argument("run", type=FOLDER)
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@output("Predictions (CSV)")
@click.option("--manifest", type=FILE, help="Networks: score the images of this manifest only, not the whole folder.")
@click.option("--fold", type=int, help="Networks of a cross-validation: take that of this fold, not the mean of all.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), help="Networks: number of images in a batch; by default as in training."
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "gpu"]), help="Networks: as for `train-cnn`; by default auto."
)
@jobs_option
def predict(run: Path, source: Path, out: Path, **options: Any) -> None:
    """Score new cells by the model of the folder RUN; labels are not needed.

    Of train-svm or train-knn, SOURCE is a feature table. It must have been extracted as the training table was: the
    same features, set, version, settings and background. Of a cross-validation, the model fitted on every image is
    taken.

    Of train-cnn, SOURCE is a folder of images. They are cut, resized and cleared of their background as for training.
    Of a cross-validation, the mean of the scores of all folds' networks is taken, or of one with --fold: on an image of
    the training cohort that is no test, because all networks but one have learned from it. An image that cannot be read
    costs its own row only; it is listed with the reason in <name>.failures.csv, and the command ends with exit code 1.

    \b
    Example:  leukobench predict runs/svm new.csv -o predictions.csv
              leukobench predict runs/mobilenet C-NMC_Leukemia/testing_data -o final.csv --jobs 2
              leukobench predict runs/folds C-NMC_Leukemia --manifest new.csv --fold 0 -o fold_0.csv
    """
    from leukobench.results.failures import failures_path
    from leukobench.workflows.prediction import predict as score

    done = score(run, source, out, **options)
    counts = ", ".join(f"{count} {label}" for label, count in done.scored["predicted"].value_counts().items())
    click.echo(f"{out}: {len(done.scored)} cells scored ({counts})")
    if done.failed:
        path, reason = next(iter(done.failed.items()))
        raise click.ClickException(
            f"{len(done.failed)} of {len(done.scored) + len(done.failed)} images could not be read, "
            f"listed in {failures_path(out)}; the first: {path}: {reason}"
        )


@click.command()
@click.argument("run", type=FOLDER)
@click.argument("images", type=FILE, nargs=-1, required=True)
@output("Folder")
@click.option(
    "--fold", type=int, help="Of a run of a cross-validation: the fold whose model is taken. Networks need it there."
)
@click.option("--brief", is_flag=True, help="Leave out what is written of each image by itself: for many images.")
def explain(run: Path, images: tuple[Path, ...], out: Path, fold: int | None, brief: bool) -> None:
    """Show why the model of a RUN calls the cells in IMAGES what it does.

    Of a network, for each image: Grad-CAM of the class it is called, on the cell and beyond, with the share of the heat
    that falls on the background (a network that looks there has learned the wrong thing), and the feature maps of every
    layer as tiles. For the network: its summary and a diagram. One cell proves little: take the share over a hundred.

    Of train-svm and train-knn, for each image: which features pushed this cell which way, as a figure and tables. The
    image is measured as the training table was. From each of some training cells that the run folder keeps, the
    features are moved to this cell's in small steps; what the probability of all gains while a feature moves is its
    contribution. Contributions add up to this cell's probability less the mean of the others. Features that are
    correlated share the credit or push against each other, so read the families first. With hundreds of features an
    image takes seconds.

    \b
    Example:  leukobench explain runs/mobilenet UID_H1_1_1_hem.bmp UID_1_1_1_all.bmp -o seen
              leukobench explain runs/svm UID_H1_1_1_hem.bmp -o why
              leukobench explain runs/knn-5-folds UID_H1_1_1_hem.bmp --fold 2 -o why-fold-2
              leukobench explain runs/mobilenet fold_2/hem/*.bmp --brief -o seen-of-many
    """
    from leukobench.workflows.explanation import explain as look_inside

    done = look_inside(run, images, out, fold=fold, brief=brief)
    for line in done.lines:
        click.echo(line)
    click.echo(f"{out}: {done.holds}")
