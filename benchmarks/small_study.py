"""A small study for `benchmarks.faults`: a generated cohort, and every command that writes, in a second or two each.

The commands are the real ones. What only computes is made small: one setting of each classifier, two folds, the
features of `patel`, a network of two layers that TensorFlow runs without compiling it, and figures without content.
Files are written in the same order and with the same calls.

All modules are imported once, and each trial is a forked child. That is safe as long as the parent has a single thread,
which `benchmarks.injection` checks before each fork: TensorFlow starts its threads with the first operation, which only
children do.
"""

from __future__ import annotations

import gc
import os
import pkgutil
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.injection import Outcome, apart, run

os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # the allocator of pyarrow starts a thread otherwise

TRAIN = ("--no-importance", "--calibration", "none")
SVM = ("--kernel", "rbf", "--C", "1", "--gamma", "scale", *TRAIN)
KNN = ("--neighbors", "5", "--metric", "euclidean", "--neighbor-weight", "uniform", *TRAIN)
NETWORK = ("--recipe", "small-lightxception", "--set", "input_side=32", "--set", "augmentation=null", "--epochs", "1")
COMMANDS = ("manifest", "split", "extract", "train-svm", "train-knn", "train-cnn", "compare", "benchmark")
TABLES = ("manifest", "split", "extract")  # write a file, the others a folder
ROOMS = ("cells", "classifiers", "cnn", "cohort", "commands", "comparison", "core", "features", "results", "workflows")
SAME = ("*.csv", "metrics.json")  # files that do not depend on the time or the place
TIMES = ("table.csv", "history.csv")  # have the seconds of the trainings


@dataclass
class Study:
    """A generated cohort, and the commands with their whole results.

    Attributes:
        folder: Where everything lies.
        commands: Arguments of each command without its output, by name.
        whole: What each command writes when nothing happens: content by name, None where it may differ.
        operations: Number of operations of each command on the disk.
        largest: Bytes of the largest file of each command.
        seconds: How long each command took.
        cut: How `benchmarks.injection` cuts the power.
    """

    folder: Path
    commands: dict[str, list[str]] = field(default_factory=dict)
    whole: dict[str, dict[str, bytes | None]] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)
    largest: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    cut: str = "cut"

    @property
    def out(self) -> Path:
        """The folder of the outputs and of the cache, whose operations count."""
        return self.folder / "out"

    def target(self, name: str) -> Path:
        """Return the output of a command."""
        return self.out / ("result.csv" if name in TABLES else "result")

    def arguments(self, name: str, *more: str) -> list[str]:
        """Return the arguments of a command with its output; `--resume` if there is something to resume."""
        target = self.target(name)
        resume = ["--resume"] if target.with_name(f"{target.name}.partial").exists() else []
        return [*self.commands[name], "-o", str(target), *resume, *more]

    def run(self, name: str, **fault: Any) -> Outcome:
        """Run a command, with a fault of `injection.run` or without."""
        return run(self.arguments(name), self.out, **fault)

    def results(self) -> dict[str, bytes | None]:
        """Return what lies in the folder of the outputs."""
        files = {path.relative_to(self.out): path for path in self.out.rglob("*") if path.is_file()}
        return {
            str(name): path.read_bytes() if name.name not in TIMES and any(map(name.match, SAME)) else None
            for name, path in files.items()
        }

    def clear(self) -> None:
        """Empty the folder of the outputs."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()

    def close(self) -> None:
        """Release what the study holds beside its folder."""

    def after_power_cut(self) -> None:
        """Put what a power cut has left in the place of the outputs."""
        shutil.rmtree(self.out)
        self.out.with_name("out.after").rename(self.out)


def load(networks: bool) -> None:
    """Import every module and make the computations small, before the first fork."""
    for room in ROOMS:
        for module in pkgutil.iter_modules(import_module(f"leukobench.{room}").__path__):
            if "onnx" not in module.name and (room != "cnn" or networks):
                import_module(f"leukobench.{room}.{module.name}")
    for library in ("pyarrow.pandas_compat", "statsmodels.stats.multitest", "matplotlib.backends.backend_svg"):
        import_module(library)
    _small_classifiers()
    _empty_figures()
    if networks:
        _small_network()


def _small_classifiers() -> None:
    from leukobench.classifiers import importance
    from leukobench.classifiers.recipes import RECIPES
    from leukobench.workflows import study_plan

    for name, recipe in RECIPES.items():
        grid = {setting: values[:1] for setting, values in recipe.grid.items()}
        grid |= {"n_neighbors": (1,)} if recipe.family == "knn" else {}
        RECIPES[name] = replace(recipe, grid=MappingProxyType(grid), calibration=recipe.calibration[:1])
    study_plan.FOLDS = 2  # type: ignore[misc]
    importance.REPEATS = 1  # type: ignore[misc]
    study_plan.extract = partial(study_plan.extract, feature_set="patel")  # type: ignore[assignment]


def _empty_figures() -> None:
    from matplotlib.figure import Figure

    save = Figure.savefig

    def save_empty(figure: Figure, path: Any, **options: Any) -> None:
        figure.clear()
        save(figure, path, **options | {"dpi": 20})

    Figure.savefig = save_empty  # type: ignore[method-assign]
    Figure().savefig(BytesIO(), format="png")


def _small_network() -> None:
    import tensorflow as tf

    from leukobench.cnn.architectures import ARCHITECTURES
    from leukobench.cnn.backend import keras

    def two_layers(side: int, weights: str | None, **options: Any) -> keras.Model:
        images = keras.Input((side, side, 3))
        maps = keras.layers.Conv2D(4, 3, strides=4)(images)
        return keras.Model(images, keras.layers.BatchNormalization()(maps))

    ARCHITECTURES["lightxception"] = two_layers
    tf.config.run_functions_eagerly(True)


def prepare(study: Study, names: Sequence[str] = COMMANDS) -> Study:
    """Make the cohort, and run every command once without a fault.

    Args:
        study: A study in an empty folder.
        names: The commands that are tried; those before them are run, too.
    """
    from leukobench.cohort.indexing import index_folder
    from leukobench.cohort.synthetic import generate_cohort

    folder = study.folder
    study.clear()
    os.environ["LEUKOBENCH_CACHE"] = str(study.out / "cache")
    images, manifest, split, table = (str(folder / name) for name in ("images", "m.csv", "s.csv", "f.csv"))
    apart(lambda: generate_cohort(folder / "images", subjects=12, cells_per_subject=2, seed=4))
    apart(lambda: index_folder(folder / "images", out=manifest))
    _load_compiled(min((folder / "images").rglob("*.bmp")))
    study.commands = {
        "manifest": ["manifest", images],
        "split": ["split", manifest, "--test-size", "0.3"],
        "extract": ["extract", images, "--manifest", manifest, "--set", "patel"],
        "train-svm": ["train-svm", table, "--split", split, *SVM],
        "train-knn": ["train-knn", table, "--split", split, *KNN],
        "train-cnn": ["train-cnn", images, "--manifest", manifest, "--split", split, *NETWORK],
        "compare": ["compare", str(folder / "svm"), str(folder / "knn"), "--images", images],
        "benchmark": ["benchmark", images, "--quick"],
    }
    keep = {"split": "s.csv", "extract": "f.csv", "train-svm": "svm", "train-knn": "knn", "train-cnn": "cnn"}
    for name in [each for each in study.commands if each in names or each in ("split", "extract", "train-svm")]:
        _measure(study, name)
        if name in keep:
            shutil.move(study.target(name), folder / keep[name])
        if name == "extract":
            shutil.move(study.out / "result.csv.json", folder / "f.csv.json")
        study.clear()
    return study


def _load_compiled(image: Path) -> None:
    """Load the compiled functions once, for all children."""
    from leukobench.cells.cell import read_cell
    from leukobench.cells.fingerprints import read_fingerprint
    from leukobench.features.measurement import measure

    measure(read_cell(image), "patel")
    read_fingerprint(image, near=True)
    gc.freeze()  # children need not look for garbage in what this process has loaded


def _measure(study: Study, name: str) -> None:
    """Run a command without a fault, and note what it does."""
    outcome = study.run(name)
    if outcome.code:
        sys.exit(f"{name} fails without a fault:\n{outcome.output}")
    study.whole[name], study.operations[name] = study.results(), outcome.operations
    study.largest[name] = max(path.stat().st_size for path in study.out.rglob("*") if path.is_file())
    study.seconds[name] = outcome.seconds
