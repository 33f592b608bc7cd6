"""The commands that apply a trained model: `predict` and `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leukobench.commands.options import FILE, FOLDER, NewPath, jobs_option, options_named, output
from leukobench.commands.printing import end_with_failures, json_option, show
from leukobench.core.text import counted

OPTIONS_FOR_RUN = {
    "`leukobench segment` does it": "`leukobench segment --all` does it",
    "train on images like this one": "train on images like this one (--background of `extract` and `train-cnn`)",
}


@click.command()
@click.argument("run", type=FOLDER)
@click.argument("images", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@output("Predictions (CSV)")
@click.option("--manifest", type=FILE, help="Predict the images of this manifest only, not all of the folder IMAGES.")
@click.option(
    "--subjects",
    type=FILE,
    help="Table (CSV) with the columns path (or file name) and subject: write <name>.subjects.csv as well.",
)
@click.option("--fold", type=int, help="For a cross-validation run: use the model of this fold.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Networks: batch size; by default as trained.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "gpu"]), help="Networks: as for `train-cnn`; by default auto."
)
@jobs_option
@click.option("--html", type=NewPath(), help="Contact sheet (HTML) to write: the cells as small pictures, with scores.")
@click.option(
    "--order",
    type=click.Choice(["score", "novelty"]),
    default="score",
    show_default=True,
    help="Order of the cells on the contact sheet.",
)
@click.option(
    "--most",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Largest number of cells on the contact sheet.",
)
@click.option(
    "--refer",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="Mark cells to be looked at by eye: those whose scores are least certain, this share of the validation cells.",
)
@click.option(
    "--sensitivity",
    type=click.FloatRange(0, 1, min_open=True),
    help="Mark instead the cells predicted normal that may be blasts, to reach this sensitivity on validation.",
)
@json_option
def predict(run: Path, images: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Predict new cells with the model of the folder RUN; labels are not needed.

    IMAGES are folders, image files, or lists of images (.txt: one path a line, relative to the current folder). They
    are read, and for SVM and k-NN measured, as the training images were. For SVM and k-NN, IMAGES may also be one
    feature table (.csv or .parquet) that was extracted like the training table.

    Cells unlike the training cells are flagged in the column out_of_distribution: their probability means little. The
    column novelty has their distance from the training cells in the space of features, divided by the one that 5% of
    the cells of unseen training subjects exceed.

    With --refer or --sensitivity, the column refer marks the cells that a person should look at: those whose score lies
    between thresholds that were chosen on the validation part of RUN, and all that are unlike the training cells.

    Where the subjects of the images are known, from --manifest or --subjects, <name>.subjects.csv has one row a
    subject: the mean score of its cells, the class of that mean at 0.5, and a 95% interval. The interval tells how the
    mean would vary with other cells of the same subject; it says nothing of other subjects.

    Probabilities are calibrated as in training. If RUN is a cross-validation, SVM and k-NN use the final model, which
    was fitted on all images and has no validation part to be calibrated on; for networks, the calibrated scores of all
    folds are averaged. Do not judge a model by its predictions on training images: they are too
    optimistic. An image that cannot be read gets no row. It is listed with the reason in <out>.failures.csv, and the
    command ends with exit code 1.

    \b
    Example:  leukobench predict runs/svm new_images -o predictions.csv --jobs 2
              leukobench predict runs/svm one.bmp two.bmp more.txt -o predictions.csv
              leukobench predict runs/svm new_images --refer 0.2 -o predictions.csv
              leukobench predict runs/svm new_images --html sheet.html --order novelty -o predictions.csv
              leukobench predict runs/svm new.csv -o predictions.csv
              leukobench predict runs/mobilenet C-NMC_Leukemia/testing_data -o final.csv --jobs 2
              leukobench predict runs/folds C-NMC_Leukemia --manifest new.csv --fold 0 -o fold_0.csv
    """
    from leukobench.workflows import prediction

    with options_named(OPTIONS_FOR_RUN):
        done = prediction.predict(run, images, out, **options)
    predicted = done.scored["predicted"].value_counts().to_dict()
    marked = {name: int(done.scored[name].sum()) for name in ("out_of_distribution", "refer") if name in done.scored}
    lines = []
    if "out_of_distribution" not in marked:
        lines.append(
            f"{run}: stores no distribution of its training cells, so none is flagged as unlike them; train again"
        )
    said = {"out_of_distribution": "unlike the training cells (out-of-distribution)", "refer": "to be looked at by eye"}
    counts = ", ".join(f"{count} {done.classes[label]}" for label, count in predicted.items())
    more = "".join(f"; {count:,} {said[name]}" for name, count in marked.items())
    lines.append(f"{out}: {counted(len(done.scored), 'cell')} predicted ({counts}){more}")
    facts = {"predictions": out, "cells": len(done.scored), "predicted": predicted, **marked, "failed": done.failed}
    if done.subjects is not None:
        facts["subjects"] = prediction.subjects_path(out)
        lines.append(f"{facts['subjects']}: mean score of {counted(len(done.subjects), 'subject')}")
    if options["html"]:
        facts["contact_sheet"] = options["html"]
        shown = min(len(done.scored), options["most"])
        lines.append(f"{options['html']}: contact sheet of {shown:,} of {counted(len(done.scored), 'cell')}")
    show(facts, lines)
    end_with_failures(done.failed, len(done.scored), "read", out)


@click.command()
@click.argument("run", type=FOLDER)
@click.argument("images", type=click.Path(exists=True, path_type=Path), nargs=-1, required=True)
@output("Folder")
@click.option(
    "--fold", type=int, help="For a cross-validation run: explain the model of this fold; required for networks."
)
@click.option("--brief", is_flag=True, help="Do not write a folder for each image; useful for many images.")
@click.option("--maps", is_flag=True, help="Networks: write the feature maps of every layer for each image, too.")
def explain(run: Path, images: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Explain the predictions of a RUN for the cells in IMAGES: folders, image files, or lists of images (.txt).

    For a network, the command writes the Grad-CAM attribution of the predicted class for each image, with the share of
    the attribution that falls on the background. A high share suggests that the network relies on the background
    instead of the cell; average it over about 100 images. A summary and a diagram of the network are written too.

    For SVM and k-NN, a figure and tables show for each image how much every feature contributes to the predicted
    probability of the class `all` (blast). The calculation starts from the features of reference cells, which training
    keeps in the run folder, and changes them in small steps to those of the explained cell. The contribution of a
    feature is the change of the probability that its steps cause, averaged over the reference cells. The contributions
    add up to the probability of the explained cell minus the mean probability of the reference cells. Contributions of
    correlated features are divided among them or cancel each other: look at the sums of the feature families first.
    With hundreds of features, an image takes seconds.

    \b
    Example:  leukobench explain runs/mobilenet UID_H1_1_1_hem.bmp UID_1_1_1_all.bmp -o explained
              leukobench explain runs/svm UID_H1_1_1_hem.bmp -o explained-svm
              leukobench explain runs/knn-5-folds UID_H1_1_1_hem.bmp --fold 2 -o explained-fold-2
              leukobench explain runs/mobilenet C-NMC_Leukemia/fold_2/hem --brief -o explained-many
    """
    from leukobench.workflows import explanation

    with options_named(OPTIONS_FOR_RUN | {"(maps)": "(--maps)"}):
        done = explanation.explain(run, images, out, **options)
    for line in done.lines:
        click.echo(line)
    click.echo(f"{out}: {done.contains}")
