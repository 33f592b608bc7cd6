"""What the tests stand on: a small generated cohort, and the real images where they are at hand."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from leukobench.cohort.indexing import index_folder
from leukobench.cohort.manifest import read_manifest, write_manifest
from leukobench.cohort.partition import write_split
from leukobench.cohort.splitting import SplitOptions, split_by_subject, split_in_folds
from leukobench.cohort.synthetic import generate_cohort
from leukobench.features.extractor import extract

REPOSITORY = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def interrupted_after(seconds: int) -> Iterator[None]:
    """Fail with a TimeoutError if a block waits for something that never comes."""

    def give_up(*_: object) -> NoReturn:
        raise TimeoutError(f"still waiting after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["LEUKOBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 10 subjects with 4 generated cells each, its manifest, a partition and a feature table beside it."""
    folder = tmp_path_factory.mktemp("cohort")
    generate_cohort(folder / "images", subjects=10, cells_per_subject=4, seed=3)
    write_manifest(index_folder(folder / "images"), folder / "manifest.csv")
    partition = split_by_subject(read_manifest(folder / "manifest.csv"), 0.4, SplitOptions(validation_size=0.2, seed=1))
    write_split(partition, folder / "split.csv")
    extract(folder / "images", folder / "manifest.csv", folder / "features.csv")
    return folder


@pytest.fixture(scope="session")
def folds(cohort: Path) -> Path:
    """A folder of three partitions of the cohort: a cross-validation."""
    partitions = split_in_folds(read_manifest(cohort / "manifest.csv"), 3, SplitOptions(validation_size=0.2, seed=1))
    write_split(partitions, cohort / "folds")
    return cohort / "folds"


@pytest.fixture
def quick_network(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a recipe whose network has two convolutions here: they are compiled in a second."""
    from leukobench.cnn.architectures import ARCHITECTURES  # here, so that only tests of networks load Keras
    from leukobench.cnn.recipe_catalog import RECIPES
    from tests.cnn.networks import two_convolutions

    name = "small-lightxception"
    monkeypatch.setitem(ARCHITECTURES, "tiny", two_convolutions)
    monkeypatch.setitem(RECIPES, name, replace(RECIPES[name], architecture="tiny", options={}, input_side=32))
    return name


@pytest.fixture(scope="session")
def cnmc() -> Path:
    """The folder of real C-NMC 2019 images."""
    folder = os.environ.get("LEUKOBENCH_CNMC")
    if not folder:
        pytest.skip("LEUKOBENCH_CNMC is unset: name a folder of C-NMC 2019 images to run the tests on real cells")
    return Path(folder)
