"""The demo: every step from images to report on a generated cohort, in minutes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from leukobench.classifiers.training import train_classifier
from leukobench.cnn.training import train_network
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest
from leukobench.cohort.partition import write_split
from leukobench.cohort.splitting import SplitOptions, split_by_subject
from leukobench.cohort.synthetic import generate_cohort
from leukobench.comparison.runs import Comparison, compare
from leukobench.core.files import make_folder, refuse_existing
from leukobench.core.opening import UNFINISHED
from leukobench.features.extractor import extract

NETWORK = "small-lightxception"


@dataclass(frozen=True)
class Demo:
    """The results of the demo, and their folder."""

    folder: Path
    report: Path
    comparison: Comparison


def run_demo(
    folder: Path,
    *,
    subjects: int = 16,
    cells_per_subject: int = 15,
    epochs: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> Demo:
    """Generate a cohort, make a subject-level split, train SVM, k-NN and a small network, and compare them.

    Args:
        folder: Folder to write.
        subjects: Number of subjects.
        cells_per_subject: Number of images of each subject.
        epochs: Number of epochs of the network, if not the recipe's.
        seed: Random seed of cohort, split and training.
        jobs: Number of parallel processes.
        say: Function that is called with one line of text before each step.

    Raises:
        InputError: `folder` exists, or the cohort is too small to split.
    """
    with _new_folder(folder):
        return _run(folder, subjects, cells_per_subject, epochs, seed, jobs, say)


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Make a folder, in place of one that a killed demo has left; remove it if the block fails."""
    if (folder / UNFINISHED).exists():
        shutil.rmtree(folder)
    refuse_existing(folder)
    make_folder(folder)
    (folder / UNFINISHED).touch()
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / UNFINISHED).unlink()


def _run(
    folder: Path,
    subjects: int,
    cells_per_subject: int,
    epochs: int | None,
    seed: int,
    jobs: int,
    say: Callable[[str], None],
) -> Demo:
    images, manifest, partition, table = (
        folder / name for name in ("images", "manifest.csv", "split.csv", "features.csv")
    )
    say(f"1/7 generating {subjects * cells_per_subject} cells of {subjects} subjects -> {images}")
    generate_cohort(images, subjects=subjects, cells_per_subject=cells_per_subject, seed=seed)
    say(f"2/7 indexing them -> {manifest}")
    index_folder(images, out=manifest, jobs=jobs)
    say(f"3/7 splitting by subject -> {partition}")
    drawn = split_by_subject(read_manifest(manifest), 0.25, SplitOptions(validation_size=0.125, seed=seed))
    write_split(drawn, partition)
    say(f"4/7 extracting features -> {table}")
    extract(images, manifest, table, jobs=jobs)
    say(f"5/7 training SVM and k-NN -> {folder / 'runs'}")
    runs = [folder / "runs" / name for name in ("svm", "knn", "cnn")]
    for run in runs[:2]:
        train_classifier(table, partition, run, recipe=f"leukobench-{run.name}", seed=seed, jobs=jobs)
    say(f"6/7 training a network ({NETWORK}) -> {runs[2]}")
    train_network(images, manifest, partition, runs[2], recipe=NETWORK, epochs=epochs, seed=seed, jobs=jobs)
    report = folder / "report"
    say(f"7/7 comparing them -> {report}")
    comparison = compare(runs)
    return Demo(folder, comparison.report(report), comparison)
