"""What the tests stand on: a small generated cohort, and the real images where they are at hand."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
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
QUICK_RECIPE = "small-lightxception"  # which has a network of two convolutions where `quick_network` is used
SLOWEST = (  # files that begin first, so that no process is left with one of them at the end
    "tests/cnn/test_training.py",
    "tests/test_two_at_once.py",
    "tests/test_faults.py",
    "tests/workflows/test_benchmark.py",
    "tests/workflows/test_export.py",
    "tests/workflows/test_leakage.py",
    "tests/test_docs.py",
    "tests/classifiers/test_training.py",
    "tests/cnn/test_networks.py",
    "tests/test_accessibility.py",
    "tests/comparison/test_report.py",
    "tests/features/test_extractor_cluster.py",
    "tests/features/test_extractor_resume.py",
    "tests/classifiers/test_estimator.py",
    "tests/cnn/test_resuming.py",
    "tests/test_cli.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {file: number for number, file in enumerate(SLOWEST)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


RAY = """
import sys, ray
context = ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=10**8, log_to_driver=False)
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()  # until the tests are over
"""


def script_checksum(script: str) -> str:
    """A script in a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


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
    from tests.cnn.networks import quick_recipe  # here, so that only tests of networks load Keras

    quick_recipe(monkeypatch.setitem)
    return QUICK_RECIPE


@pytest.fixture(scope="module")
def dask() -> Iterator[str]:
    """The address of a Dask cluster of two workers on this machine."""
    distributed = pytest.importorskip("distributed", reason="needs the extra dask: pip install 'leukobench[dask]'")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="session")
def _ray_token() -> Iterator[None]:
    """A token for all Ray clusters of this process: Ray reads it once, when it is loaded."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_AUTH_MODE", "token")
        environment.setenv("RAY_AUTH_TOKEN", secrets.token_hex())
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        pytest.importorskip("ray", reason="needs the extra ray: pip install 'leukobench[ray]'")
        yield


@pytest.fixture(scope="module")
def ray(_ray_token: None) -> Iterator[str]:
    """The address of a Ray cluster of two workers on this machine."""
    head = subprocess.Popen(
        [sys.executable, "-c", RAY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
    )
    yield head.stdout.readline().strip()
    head.communicate()


@pytest.fixture(scope="session")
def browser() -> str:
    """The program of a browser."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or pytest.skip("no Chromium or Chrome is installed to open the pages")


@pytest.fixture(scope="session")
def cnmc() -> Path:
    """The folder of real C-NMC 2019 images."""
    folder = os.environ.get("LEUKOBENCH_CNMC")
    if not folder:
        pytest.skip("LEUKOBENCH_CNMC is unset: name a folder of C-NMC 2019 images to run the tests on real cells")
    return Path(folder)
