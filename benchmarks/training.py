"""Training speed of each recipe, compared with the Keras input pipeline of the reproduced studies.

    LEUKOBENCH_CNMC=C-NMC_Leukemia python benchmarks/training.py [--recipe NAME ...] [--images 64] [--precision mixed]
        [--theirs-images N]

"Theirs" is Keras' ImageDataGenerator: in every epoch, each image is decoded, resized and transformed on the CPU, and a
frozen base is run again. "Ours" is `leukobench train-cnn`: images are decoded once, the first layer of the network
augments, a frozen base is run once, and batch normalisation is one operation. Both train the same network from the same
random weights on the same images, one after the other in this process; theirs always in float32. For a frozen base, a
third variant isolates the gain of running the base once: images are decoded once, and the base is run in every epoch.

Preparation and the first epoch, which compiles, are timed separately from later epochs. The time of the whole training
is that of the recipe's number of epochs. With --theirs-images, theirs is timed on fewer images, and the time of an
epoch is taken to be proportional to their number. "Input alone" is the throughput of our input without a network: a
device must be faster than this to wait for its input. "GPU busy" is the GPU utilisation during later epochs, theirs and
ours, by nvidia-smi; it needs epochs of several seconds, so use many --images.
"""

from __future__ import annotations

import argparse
import contextlib
import io
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
from leukobench.cnn.cache import VARIABLE as CACHE_VARIABLE
from leukobench.cnn.checkpoint import Checkpoint
from leukobench.cnn.data import Images, load_images
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
    """Seconds until the end of the first epoch, seconds of a later epoch, and GPU utilisation in later epochs."""

    first: float
    later: float
    busy: float | None

    def scaled(self, factor: float) -> Timing:
        """Return the timing of that many times as many images; what comes before the first epoch takes as long."""
        return Timing(self.first + (factor - 1) * self.later, self.later * factor, self.busy)


def main() -> None:
    """Time the recipes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", action="append", choices=list(RECIPES), help="default: all")
    parser.add_argument("--images", type=int, default=64, help="number of images of an epoch")
    parser.add_argument("--theirs-images", type=int, help="number of images of an epoch of theirs; default: the same")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="precision of ours")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    arguments = parser.parse_args()
    folder = Path(os.environ["LEUKOBENCH_CNMC"])
    table = _some_images(folder, arguments.images)
    of_theirs = _some_images(folder, arguments.theirs_images or arguments.images)
    devices = choose_devices(arguments.device)
    policy = policy_for(arguments.precision, devices)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, keras {keras.__version__}, "
          f"{name_devices(devices)}, ours in {policy}; {len(table)} images an epoch\n")  # fmt: skip
    print("| recipe | theirs, images/s | ours, images/s | a later epoch | whole training | base run every epoch "
          "| input alone, images/s | GPU busy |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.recipe or RECIPES:
        print(f"| {name} {_measured(network_recipe(name), folder, table, of_theirs, policy)}", flush=True)


def _measured(recipe: Recipe, folder: Path, table: pd.DataFrame, of_theirs: pd.DataFrame, policy: str) -> str:
    """Time all variants of a recipe, and return the rest of its line of the table."""
    short = replace(recipe, epochs=1 + TIMED_EPOCHS, offline_augmentation=None)
    theirs = _timed(short, folder, of_theirs, _theirs).scaled(len(table) / len(of_theirs))
    with building_in(policy):
        ours = _timed(short, folder, table, _ours)
        base = _timed(short, folder, table, _base_every_epoch) if recipe.frozen else None
    whole = [timing.first + (recipe.epochs - 1) * timing.later for timing in (theirs, ours)]
    base_speed = f"{len(table) / base.later:.2f} images/s, {base.later / ours.later:.1f} times slower" if base else ""
    input_alone = _timed(short, folder, table, _input_alone)
    return (
        f"| {len(table) / theirs.later:.2f} | {len(table) / ours.later:.2f} "
        f"| {theirs.later / ours.later:.2f} times faster "
        f"| {whole[0]:.0f} s -> {whole[1]:.0f} s, {whole[0] / whole[1]:.2f} times faster | {base_speed} "
        f"| {len(table) / input_alone.later:.0f} | {_percent(theirs.busy)} -> {_percent(ours.busy)} |"
    )


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{share:.0%}"


def _some_images(folder: Path, count: int) -> pd.DataFrame:
    """Return the first images of each class as rows of a manifest."""
    paths = []
    for label in ("all", "hem"):
        paths += sorted(folder.rglob(f"*_{label}.bmp"))[: count // 2]
    relative = [path.relative_to(folder).as_posix() for path in paths]
    labels = [path.stem.rsplit("_", 1)[1] for path in paths]
    return pd.DataFrame({"path": relative, "label": labels, "sha256": relative})


def _timed(recipe: Recipe, folder: Path, table: pd.DataFrame, variant: Callable[..., list[float]]) -> Timing:
    keras.utils.set_random_seed(0)
    network = build(recipe, None)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ[CACHE_VARIABLE] = scratch
        start = time.perf_counter()
        with _gpu_watched() as seen:
            ends = variant(network, recipe, folder, table)
    busy = [share for at, share in seen if ends[0] < at < ends[-1]]
    return Timing(ends[0] - start, (ends[-1] - ends[0]) / (len(ends) - 1), float(np.mean(busy)) if busy else None)


@contextlib.contextmanager
def _gpu_watched() -> Iterator[list[tuple[float, float]]]:
    """Record the utilisation of the first GPU ten times a second with nvidia-smi, if it is installed.

    Yields:
        The list of records: time and utilisation.
    """
    seen: list[tuple[float, float]] = []
    if shutil.which("nvidia-smi") is None:
        yield seen
        return
    command = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop-ms=100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:

        def read() -> None:
            for line in watching.stdout or ():
                if line.strip().isdigit():  # a partitioned GPU reports none
                    seen.append((time.perf_counter(), int(line) / 100))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield seen
        finally:
            watching.terminate()
            reader.join()


def _theirs(network: Network, recipe: Recipe, folder: Path, table: pd.DataFrame) -> list[float]:
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    by = recipe.augmentation or Augmentation()
    generator = ImageDataGenerator(
        rotation_range=by.rotation,
        width_shift_range=by.shift,
        height_shift_range=by.shift,
        shear_range=by.shear,
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
    plain = keras.models.clone_model(network.whole)  # Keras' own layers, without our fused batch normalisation
    plain.set_weights(network.whole.get_weights())
    compile_for(replace(recipe, trained="all"), plain, len(batches))  # one step per call
    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    plain.fit(batches, epochs=recipe.epochs, verbose=0, callbacks=[clock])
    return ends


def _ours(network: Network, recipe: Recipe, folder: Path, table: pd.DataFrame) -> list[float]:
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
