"""The demo: the whole path on a generated cohort, in minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from leukobench.classifiers.training import train as train_classifier
from leukobench.cnn.training import train_network
from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest, write_manifest
from leukobench.cohort.partition import write_split
from leukobench.cohort.splitting import SplitOptions, split_by_subject
from leukobench.cohort.synthetic import generate_cohort
from leukobench.comparison.report import REPORT, write_report
from leukobench.comparison.results import Comparison
from leukobench.core.files import refuse_existing
from leukobench.features.extractor import extract

NETWORK = "small-lightxception"


@dataclass(frozen=True)
class Demo:
    """Where the demo's results lie, and what they are."""

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
    """Generate a cohort, split it by subject, train SVM, k-NN and a small network, and compare them.

    Args:
        folder: Where everything goes.
        subjects: Number of people.
        cells_per_subject: Images of each.
        epochs: Of the network, instead of the recipe's.
        seed: For cohort, split and training.
        jobs: Processes.
        say: Called with one line before each step.

    Raises:
        InputError: `folder` exists, or the cohort is too small to split.
    """
    refuse_existing(folder)
    images, manifest, partition, table = (
        folder / name for name in ("images", "manifest.csv", "split.csv", "features.csv")
    )
    say(f"1/7 generating {subjects * cells_per_subject} cells of {subjects} subjects -> {images}")
    generate_cohort(images, subjects=subjects, cells_per_subject=cells_per_subject, seed=seed)
    say(f"2/7 indexing them -> {manifest}")
    write_manifest(index_folder(images, jobs=jobs), manifest)
    say(f"3/7 splitting by subject -> {partition}")
    drawn = split_by_subject(read_manifest(manifest), 0.25, SplitOptions(validation_size=0.125, seed=seed))
    write_split(drawn, partition)
    say(f"4/7 extracting features -> {table}")
    extract(images, manifest, table, jobs=jobs)
    say(f"5/7 training SVM and k-NN -> {folder / 'runs'}")
    runs = [folder / "runs" / name for name in ("svm", "knn", "cnn")]
    for run in runs[:2]:
        train_classifier(table, partition, run, family=run.name, seed=seed, jobs=jobs)
    say(f"6/7 training a network ({NETWORK}) -> {runs[2]}")
    train_network(images, manifest, partition, runs[2], recipe=NETWORK, epochs=epochs, seed=seed, jobs=jobs)
    report = folder / "report"
    say(f"7/7 comparing them -> {report}")
    comparison = write_report(runs, report)
    return Demo(folder, report / REPORT, comparison)
