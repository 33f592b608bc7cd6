"""The commands that train on a feature table: `train-svm` and `train-knn`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leukobench.classifiers.settings import ALL_SETTINGS, Setting, Values, check_values
from leukobench.commands.options import FILE, cluster_options, jobs_option, output, seed_option, split_option
from leukobench.commands.printing import json_option, show_run
from leukobench.core.errors import InputError


class SettingValues(click.ParamType):
    """Values of a setting, separated by commas: `1,3`, `none,pca:10`."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.name = setting.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Values:
        if not isinstance(value, str):
            return value
        try:
            return check_values(self.setting, [_as_number(word.strip()) for word in value.split(",")])
        except InputError as error:
            self.fail(str(error), param, ctx)


def _as_number(word: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


HELP = {  # what values a setting takes on the command line, and what it is
    "kernel": ("rbf,linear,poly", "Kernel."),
    "C": ("NUMBERS", "Regularisation: cost of a misclassified training cell."),
    "gamma": ("NUMBERS|scale", "Coefficient of the kernels rbf and poly."),
    "degree": ("NUMBERS", "Degree of the kernel poly."),
    "weight": (
        "none,class,subject,class-subject",
        "Sample weighting: none, classes weighted equally, subjects weighted equally, or both.",
    ),
    "approximate_above": ("CELLS", "Use an approximate kernel above this number of training cells."),
    "n_neighbors": ("NUMBERS", "Number of neighbours."),
    "metric": ("euclidean,manhattan,cosine", "Distance between cells."),
    "neighbor_weight": ("uniform,distance", "Weight of a neighbour's vote: equal, or by inverse distance."),
    "scaling": ("standard,minmax", "Scale features to mean 0 and standard deviation 1, or to [0, 1]."),
    "select": ("none,anova:N,mutual-information:N", "Keep the N features with the highest univariate score."),
    "projection": ("none,whiten,pca:N,nca:N", "Whiten by the within-class covariance, or project on N components."),
    "calibration": ("sigmoid,isotonic,none", "Method that turns decision values into probabilities."),
    "criterion": ("auroc|average-precision|balanced-accuracy", "Metric that the search maximises."),
}


def _setting_options(family: str) -> list[Any]:
    return [
        click.option(setting.option, name, type=SettingValues(setting), metavar=values, help=text)
        for name, (values, text) in HELP.items()
        if family in (setting := ALL_SETTINGS[name]).families
    ]


def classifier_options(family: str) -> Any:
    """The options of a training command: the recipe, and every setting of its family."""
    options = (
        click.argument("features", type=FILE),
        split_option,
        output("Run folder"),
        click.option(
            "--recipe",
            default=f"leukobench-{family}",
            show_default=True,
            help="Name of a recipe, see `recipes`.",
        ),
        *_setting_options(family),
        click.option(
            "--importance/--no-importance",
            default=True,
            show_default=True,
            help="Permutation importance of features and feature families on the test part.",
        ),
        seed_option,
        jobs_option,
        cluster_options,
        json_option,
    )

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command("train-svm")
@classifier_options("svm")
def train_svm(**arguments: Any) -> None:
    """Train a support vector machine on the feature table FEATURES.

    The settings are chosen on the training part by cross-validation over subject groups. A recipe is a named
    set of settings; options override its values. If you give several values, separated by commas, a grid search picks
    the best one. The run folder contains predictions, metrics and the model, the results of the search, and the
    permutation importance of each feature on the test part.

    The probabilities are calibrated on the validation part of the split (of a cross-validation: of each fold), in the
    same way as those of networks. Without a validation part, they are calibrated within the training part only.

    \b
    Example:  leukobench train-svm features.csv --split split.csv -o runs/svm --jobs 2
              leukobench train-svm features.csv --split split.csv --weight class,subject \\
                  --select none,anova:16 -o runs/svm-16
              leukobench train-svm clinton19.csv --split image.csv --recipe clinton-svm -o runs/clinton
    """
    _train("svm", **arguments)


@click.command("train-knn")
@classifier_options("knn")
def train_knn(**arguments: Any) -> None:
    """Train a k-nearest-neighbours classifier on the feature table FEATURES.

    The settings are chosen on the training part by cross-validation over subject groups. A recipe is a named
    set of settings; options override its values. If you give several values, separated by commas, a grid search picks
    the best one. The run folder contains predictions, metrics and the model, the results of the search, and the
    permutation importance of each feature on the test part.

    The probabilities are calibrated on the validation part of the split (of a cross-validation: of each fold), in the
    same way as those of networks. Without a validation part, they are calibrated within the training part only.

    \b
    Example:  leukobench train-knn features.csv --split split.csv -o runs/knn --jobs 2
              leukobench train-knn features.csv --split split.csv --projection none,pca:10,nca:5 -o runs/knn-nca
    """
    _train("knn", **arguments)


def _train(
    family: str,
    features: Path,
    partition: Path,
    out: Path,
    recipe: str,
    importance: bool,
    seed: int,
    jobs: int,
    backend: str,
    scheduler: str | None,
    **settings: Values | None,
) -> None:
    from leukobench.classifiers.recipes import classical_recipe
    from leukobench.classifiers.training import train_classifier
    from leukobench.results.run_info import FINAL

    run = train_classifier(
        features,
        partition,
        out,
        recipe=classical_recipe(recipe, family).name,
        settings={name: values for name, values in settings.items() if values is not None},
        importance=importance,
        seed=seed,
        jobs=jobs,
        backend=backend,
        scheduler=scheduler,
    )
    chosen, vectors = (run.info.parameters[name][FINAL] for name in ("chosen", "support_vectors"))
    lines = [
        "chosen by cross-validation over subject groups: "
        + ", ".join(f"{name} {value}" for name, value in chosen.items())
    ]
    if vectors:
        lines.append(f"support vectors: {sum(vectors.values())} ({vectors['all']} all, {vectors['hem']} hem)")
    if run.info.importance:
        lines.append(f"permutation importance on the test part: {run.folder / 'importance.png'}")
    show_run(run, {"chosen": chosen, "support_vectors": vectors}, lines)
