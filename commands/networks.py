"""The command that trains a network: `train-cnn`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leukobench.commands.options import FILE, FOLDER, background_option, jobs_option, output, seed_option, split_option
from leukobench.commands.printing import print_run


@click.command("train-cnn")
@click.argument("images", type=FOLDER)
@click.option("--manifest", type=FILE, required=True, help="Manifest that was split.")
@split_option
@click.option("--recipe", required=True, help="See `recipes`.")
@background_option
@click.option(
    "--weights",
    metavar="PATH|imagenet|none",
    help="Where a recipe's pretrained weights come from: a file, a download, or none (trained from scratch, under a "
    "name that says so). By default what the recipe says.",
)
@output("Run folder")
@click.option("--epochs", type=click.IntRange(min=1), help="Instead of the recipe's.")
@click.option("--batch", type=click.IntRange(min=1), help="Images a step, instead of the recipe's.")
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="Any other value of the recipe, as `recipes NAME` shows it: optimizer.learning_rate=1e-5, "
    "class_weights=balanced, patience=5. May be given several times; all are recorded in run.json.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="auto: GPUs where there are any. gpu: an error where there is none.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "mixed"]),
    default="auto",
    show_default=True,
    help="auto: 16 and 32 bits mixed on a GPU that gains from it. mixed: on a CPU with bfloat16 instructions too.",
)
@click.option("--resume", is_flag=True, help="Go on with a training that was cut short, with the same arguments.")
@seed_option
@jobs_option
def train_cnn(images: Path, manifest: Path, partition: Path, out: Path, **options: Any) -> None:
    """Train a network on the folder IMAGES.

    Where the split has a validation part, the weights of the epoch with the best validation AUROC are kept, or as the
    recipe says. Images are read and resized once and kept in $LEUKOBENCH_CACHE, by default leukobench in your cache
    folder; so is what a frozen base puts out. While it trains, the folder NAME.training beside the run folder NAME
    holds the history so far and a checkpoint; --resume goes on from there and, on a CPU, ends in the same result as an
    unbroken run. Set KERAS_BACKEND=jax to compute with JAX, which shares each batch among all GPUs of the machine
    (TensorFlow takes one).

    \b
    Example:  leukobench train-cnn C-NMC_Leukemia --manifest manifest.csv --split split.csv \\
                  --recipe dhuri-mobilenet --weights imagenet -o runs/mobilenet
              leukobench train-cnn C-NMC_Leukemia --manifest manifest.csv --split split.csv \\
                  --recipe leukobench-efficientnetb1 --set optimizer.learning_rate=1e-5 -o runs/b1 --resume
    """
    from leukobench.cnn.training import train

    print_run(train(images, manifest, partition, out, **options))
