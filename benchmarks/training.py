"""Images per second of each recipe in training, against the way in which the reproduced studies trained.

    LEUKOBENCH_CNMC=C-NMC_Leukemia python benchmarks/training.py [--recipe NAME ...] [--images 64] [--precision mixed]

Their way is Keras' own ImageDataGenerator: every epoch, each image is decoded, resized and transformed by itself on
the CPU, and a frozen base is run anew. Ours is that of `leukobench train-cnn`: images are decoded once, the network's
first layer augments, a frozen base is run once, batch normalisation is one operation. Both train the same network from
the same random weights, on the same images, in this process, one after the other; theirs always in 32 bits. For a
frozen base there is a third way, which tells what running it once is worth by itself: images decoded once, the base run
every epoch. The time of the first epoch, which compiles, and of getting ready are told apart from that of a later one.
The whole training is that of the recipe's epochs on so many images. The column before the last is what our input deals
out where no network takes it: what a faster device, which reads the same batches, would have to outrun to wait for it.
The last is how much of the time of our later epochs the GPU computes, by nvidia-smi; epochs must last seconds for that,
so take many --images.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.cnn.backend import keras
from leukobench.cnn.checkpoint import Checkpoint
from leukobench.cnn.data import CACHE_VARIABLE, Images, load_images
from leukobench.cnn.device import DEVICES, PRECISIONS, building_in, choose_devices, name_devices, policy_for
from leukobench.cnn.epochs import Examples
from leukobench.cnn.fitting import Fitting, Validation
from leukobench.cnn.frozen import base_outputs
from leukobench.cnn.network import Network, build, compile_for, targets_for
from leukobench.cnn.recipe_catalog import RECIPES, network_recipe
from leukobench.cnn.recipes import Augmentation, Recipe

TIMED_EPOCHS = 2  # after the first


@dataclass(frozen=True)
class Timing:
    """Seconds until the first epoch is done, and of a later one; how much of these the GPU computed, if known."""

    first: float
    later: float
    busy: float | None


def main() -> None:
    """Measure the recipes that were asked for, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", action="append", choices=list(RECIPES), help="by default all")
    parser.add_argument("--images", type=int, default=64, help="images of an epoch")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="of our way")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    asked = parser.parse_args()
    folder = Path(os.environ["LEUKOBENCH_CNMC"])
    table = _some_images(folder, asked.images)
    devices = choose_devices(asked.device)
    policy = policy_for(asked.precision, devices)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, keras {keras.__version__}, "
          f"{name_devices(devices)}, ours in {policy}; {len(table)} images an epoch\n")  # fmt: skip
    print("| recipe | theirs, images/s | ours, images/s | a later epoch | whole training | base run every epoch "
          "| input alone, images/s | GPU busy |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for name in asked.recipe or RECIPES:
        print(f"| {name} {_measured(network_recipe(name), folder, table, policy)}", flush=True)


def _measured(recipe: Recipe, folder: Path, table: pd.DataFrame, policy: str) -> str:
    """Time a recipe in each way, and return the rest of its line of the table."""
    short = replace(recipe, epochs=1 + TIMED_EPOCHS, offline_augmentation=None)
    theirs = _timed(short, folder, table, _their_way)
    with building_in(policy):
        ours = _timed(short, folder, table, _our_way)
        base = _timed(short, folder, table, _base_every_epoch) if recipe.frozen else None
    whole = [timing.first + (recipe.epochs - 1) * timing.later for timing in (theirs, ours)]
    beside = f"{len(table) / base.later:.2f} images/s, {base.later / ours.later:.1f} times slower" if base else ""
    dealt = _timed(short, folder, table, _input_alone)
    return (
        f"| {len(table) / theirs.later:.2f} | {len(table) / ours.later:.2f} "
        f"| {theirs.later / ours.later:.2f} times faster "
        f"| {whole[0]:.0f} s -> {whole[1]:.0f} s, {whole[0] / whole[1]:.2f} times faster | {beside} "
        f"| {len(table) / dealt.later:.0f} | {'' if ours.busy is None else f'{ours.busy:.0%}'} |"
    )


def _some_images(folder: Path, count: int) -> pd.DataFrame:
    """Return the first images of each class, as rows of a manifest that training would read."""
    paths = []
    for label in ("all", "hem"):
        paths += sorted(folder.rglob(f"*_{label}.bmp"))[: count // 2]
    relative = [path.relative_to(folder).as_posix() for path in paths]
    labels = [path.stem.rsplit("_", 1)[1] for path in paths]
    return pd.DataFrame({"path": relative, "label": labels, "sha256": relative})


def _timed(recipe: Recipe, folder: Path, table: pd.DataFrame, way: Callable[..., list[float]]) -> Timing:
    keras.utils.set_random_seed(0)
    network = build(recipe, None)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ[CACHE_VARIABLE] = scratch
        start = time.perf_counter()
        with _gpu_watched() as seen:
            ends = way(network, recipe, folder, table)
    busy = [share for at, share in seen if ends[0] < at < ends[-1]]
    return Timing(ends[0] - start, (ends[-1] - ends[0]) / (len(ends) - 1), float(np.mean(busy)) if busy else None)


@contextlib.contextmanager
def _gpu_watched() -> Iterator[list[tuple[float, float]]]:
    """Ask nvidia-smi, where there is one, ten times a second how much of the time the first GPU computes.

    Yields:
        The answers as they come: when, and the share.
    """
    seen: list[tuple[float, float]] = []
    if shutil.which("nvidia-smi") is None:
        yield seen
        return
    asked = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=100"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as watching:

        def read() -> None:
            for line in watching.stdout:
                if line.strip().isdigit():  # a GPU that is divided up does not tell
                    seen.append((time.perf_counter(), int(line) / 100))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield seen
        finally:
            watching.terminate()
            reader.join()


def _their_way(network: Network, recipe: Recipe, folder: Path, table: pd.DataFrame) -> list[float]:
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    by = recipe.augmentation or Augmentation()
    generator = ImageDataGenerator(
        rotation_range=by.rotation,
        width_shift_range=by.shift,
        height_shift_range=by.shift,
        shear_range=math.degrees(by.shear),
        zoom_range=by.zoom,
        horizontal_flip=by.flip,
        fill_mode="nearest",
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints how many files it found
        batches = generator.flow_from_dataframe(
            table,
            directory=str(folder),
            x_col="path",
            y_col="label",
            classes=["hem", "all"],
            class_mode="binary" if recipe.head[-1] == "sigmoid" else "categorical",
            target_size=(recipe.input_side, recipe.input_side),
            batch_size=recipe.batch_size,
            seed=0,
        )
    plain = keras.models.clone_model(network.whole)  # Keras' own layers, without what we put into them
    plain.set_weights(network.whole.get_weights())
    compile_for(replace(recipe, trained="all"), plain, len(batches))  # a step at a time
    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    plain.fit(batches, epochs=recipe.epochs, verbose=0, callbacks=[clock])
    return ends


def _our_way(network: Network, recipe: Recipe, folder: Path, table: pd.DataFrame) -> list[float]:
    if not recipe.frozen:
        return _base_every_epoch(network, recipe, folder, table)
    images = _images(recipe, folder, table)
    features = base_outputs(network, images, np.arange(len(table)), 0)
    return _fitted(network.head, recipe, features.training, table)


def _base_every_epoch(network: Network, recipe: Recipe, folder: Path, table: pd.DataFrame) -> list[float]:
    return _fitted(network.whole, recipe, [_images(recipe, folder, table).pixels], table)


def _input_alone(network: Network, recipe: Recipe, folder: Path, table: pd.DataFrame) -> list[float]:
    inputs = _images(recipe, folder, table).pixels
    examples = Examples([inputs], np.arange(len(table)), targets_for(recipe, (table["label"] == "all").to_numpy()))
    ends = []
    for epoch in range(recipe.epochs):
        batches = examples.of_epoch(epoch, recipe.batch_size, 0)
        for number in range(len(batches)):
            batches[number]
        ends.append(time.perf_counter())
    return ends


def _images(recipe: Recipe, folder: Path, table: pd.DataFrame) -> Images:
    return load_images(folder, table, frame=recipe.frame, side=recipe.input_side, jobs=os.cpu_count() or 1)


def _fitted(model: keras.Model, recipe: Recipe, inputs: Sequence[np.ndarray], table: pd.DataFrame) -> list[float]:
    targets = targets_for(recipe, (table["label"] == "all").to_numpy())
    examples = Examples(inputs, np.arange(len(table)), targets)
    nothing = Validation(inputs[0], np.array([], int), np.array([], bool))
    with tempfile.TemporaryDirectory() as scratch:
        begun = time.perf_counter()
        history = Fitting(model, recipe, 0, Checkpoint(Path(scratch))).fit(examples, nothing)
    return [begun + row["seconds"] for row in history]


if __name__ == "__main__":
    main()
