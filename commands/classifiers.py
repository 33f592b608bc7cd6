"""The commands that train on a feature table: `train-svm` and `train-knn`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leukobench.commands.options import FILE, jobs_option, output, seed_option, split_option
from leukobench.commands.printing import print_run


def classifier_options(family: str) -> Any:
    """The options of a classical training command: the recipe, and every value of it that can be set."""
    settings = {
        "svm": (
            ("--kernel", "kernel", "rbf,linear,poly", "Kernel."),
            ("--C", "C", "NUMBERS", "Cost of a training cell on the wrong side."),
            ("--gamma", "gamma", "NUMBERS|scale", "Of the kernels rbf and poly."),
            ("--degree", "degree", "NUMBERS", "Of the kernel poly."),
            (
                "--weight",
                "weight",
                "none,class,subject,class-subject",
                "What counts the same in sum: cells, classes, subjects.",
            ),
            ("--approximate-above", "approximate_above", "CELLS", "Take an approximate kernel above so many cells."),
        ),
        "knn": (
            ("--neighbors", "n_neighbors", "NUMBERS", "How many neighbours vote."),
            ("--metric", "metric", "euclidean,manhattan,cosine", "Distance between cells."),
            ("--neighbor-weight", "neighbor_weight", "uniform,distance", "Whether nearer neighbours count more."),
        ),
    }
    shared = (
        ("--scaling", "scaling", "standard,minmax", "Columns to mean 0 and deviation 1, or to [0, 1]."),
        ("--select", "select", "none,anova:N,mutual-information:N", "Keep the N columns that tell most by themselves."),
        ("--projection", "projection", "none,whiten,pca:N,nca:N", "Whiten within classes, or project on N components."),
        ("--calibration", "calibration", "sigmoid,isotonic,none", "How probabilities are made of decision values."),
        ("--criterion", "criterion", "auroc|average-precision|balanced-accuracy", "What the search goes by."),
    )
    plain = (
        click.argument("features", type=FILE),
        split_option,
        output("Run folder"),
        click.option("--recipe", default=f"leukobench-{family}", show_default=True, help="See `recipes`."),
        *(
            click.option(option, name, metavar=values, help=text)
            for option, name, values, text in (*settings[family], *shared)
        ),
        click.option(
            "--importance/--no-importance",
            default=True,
            show_default=True,
            help="Permutation importance by feature and family, on the test part.",
        ),
        seed_option,
        jobs_option,
    )

    def decorate(command: Any) -> Any:
        for option in reversed(plain):
            command = option(command)
        return command

    return decorate


@click.command("train-svm")
@classifier_options("svm")
def train_svm(**arguments: Any) -> None:
    """Train a support vector machine on the table FEATURES.

    Settings are chosen by cross-validation over subject groups inside the training part. Every setting of the recipe
    can be replaced here; of several values with commas between them the search chooses. The run folder holds the
    search, and which features matter on people never seen, as tables and figures.

    \b
    Example:  leukobench train-svm features.csv --split split.csv -o runs/svm --jobs 2
              leukobench train-svm features.csv --split split.csv --weight class,subject \\
                  --select none,anova:16 -o runs/svm-16
              leukobench train-svm clinton19.csv --split image.csv --recipe clinton-svm -o runs/clinton
    """
    _train_classifier("svm", **arguments)


@click.command("train-knn")
@classifier_options("knn")
def train_knn(**arguments: Any) -> None:
    """Train k nearest neighbours on the table FEATURES.

    Settings are chosen by cross-validation over subject groups inside the training part. Every setting of the recipe
    can be replaced here; of several values with commas between them the search chooses. The run folder holds the
    search, and which features matter on people never seen, as tables and figures.

    \b
    Example:  leukobench train-knn features.csv --split split.csv -o runs/knn --jobs 2
              leukobench train-knn features.csv --split split.csv --projection none,pca:10,nca:5 -o runs/knn-nca
    """
    _train_classifier("knn", **arguments)


def _train_classifier(
    family: str,
    features: Path,
    partition: Path,
    out: Path,
    recipe: str,
    importance: bool,
    seed: int,
    jobs: int,
    **changes: str | None,
) -> None:
    from leukobench.classifiers.training import train

    run = train(
        features,
        partition,
        out,
        family=family,
        recipe=recipe,
        changes={name: text for name, text in changes.items() if text is not None},
        importance=importance,
        seed=seed,
        jobs=jobs,
    )
    print_run(run)
    parameters = run.info.parameters
    chosen = ", ".join(f"{name} {value}" for name, value in parameters["chosen"]["all"].items())
    click.echo(f"chosen over subject groups: {chosen}")
    if vectors := parameters["support_vectors"]["all"]:
        click.echo(f"support vectors: {sum(vectors.values())} ({vectors['all']} all, {vectors['hem']} hem)")
    if run.info.importance:
        click.echo(f"what matters on the test part: {run.folder / 'importance.png'}")
