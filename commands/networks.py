"""The command that trains a network: `train-cnn`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from leukobench.commands.options import (
    FILE,
    FOLDER,
    background_option,
    jobs_option,
    output,
    resume_option,
    seed_option,
    split_option,
)
from leukobench.commands.printing import json_option, show_run


class Change(click.ParamType):
    """A value of a recipe: NAME=VALUE. The value is JSON where it can be read as JSON, else text; a head has commas."""

    name = "change"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        import json

        name, equals, text = value.partition("=")
        if not equals:
            self.fail(f"{value!r}; expected NAME=VALUE, such as patience=5", param, ctx)
        if name == "head":
            return name, text.split(",")
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


@click.command("train-cnn")
@click.argument("images", type=FOLDER)
@click.option("--manifest", type=FILE, required=True, help="Manifest that was split.")
@split_option
@click.option("--recipe", required=True, help="Name of a recipe, see `recipes`.")
@background_option
@click.option(
    "--weights",
    metavar="PATH|imagenet|none",
    help="Initial weights: a file, imagenet (downloaded), or none (random; the run's recipe is then named "
    "<recipe>-from-scratch). By default what the recipe says.",
)
@output("Run folder")
@click.option("--epochs", type=click.IntRange(min=1), help="Number of epochs; default: from the recipe.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Number of images in a batch; default: from the recipe.")
@click.option(
    "--set",
    "changes",
    type=Change(),
    metavar="NAME=VALUE",
    multiple=True,
    help="Change another value of the recipe, as `recipes NAME` prints them: optimizer.learning_rate=1e-5, "
    "class_weights=balanced, patience=5, head=average,dropout=0.5,sigmoid. May be given several times; run.json "
    "records all.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="auto: the GPUs if there are any, else the CPU. gpu: an error if there is none.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "mixed"]),
    default="auto",
    show_default=True,
    help="auto: mixed 16 and 32 bits on a GPU that computes faster with it, else float32. mixed: also on a CPU with "
    "bfloat16 instructions.",
)
@resume_option
@seed_option
@jobs_option
@json_option
def train_cnn(
    images: Path, manifest: Path, partition: Path, out: Path, changes: Sequence[tuple[str, Any]], **options: Any
) -> None:
    """Train a network on the images of the folder IMAGES.

    A recipe is a named set of settings. If the split has a validation part, the weights of the best epoch are kept: by
    default that of the best validation AUROC, or as the recipe's value `keep` says. Without a validation part, those of
    the last epoch are kept. Images are read and resized once, then kept in the folder $LEUKOBENCH_CACHE (default: the
    folder leukobench in your cache folder). If the pretrained layers are frozen, their outputs are kept there too.

    The probabilities are calibrated on the validation part of the split (of a cross-validation: of each fold), in the
    same way as those of SVM and k-NN. The best epoch is chosen on the same validation subjects. Without a validation
    part, the probabilities are not calibrated.

    During the training, the folder NAME.partial beside the run folder NAME holds the history and a checkpoint. After an
    interruption, rerun the command with --resume. On a CPU, the result is the same as without the interruption.

    Set KERAS_BACKEND=jax to compute with JAX, which distributes each batch over all GPUs of the machine (TensorFlow
    uses one).

    \b
    Example:  leukobench train-cnn C-NMC_Leukemia --manifest manifest.csv --split split.csv \\
                  --recipe dhuri-mobilenet --weights imagenet -o runs/mobilenet
              leukobench train-cnn C-NMC_Leukemia --manifest manifest.csv --split split.csv \\
                  --recipe leukobench-efficientnetb1 --set optimizer.learning_rate=1e-5 -o runs/b1 --resume
    """
    from leukobench.cnn.training import train_network

    show_run(train_network(images, manifest, partition, out, changes=dict(changes), **options))
