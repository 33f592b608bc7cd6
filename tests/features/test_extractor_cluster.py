"""Extraction on real clusters of two workers on this machine, one of which is killed half-way."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import leukobench.core.workers
import leukobench.features.extractor
from leukobench.cohort.manifest import read_manifest
from leukobench.core.errors import InputError
from leukobench.core.workers import WINDOW, in_order
from leukobench.features.batch import Batch, Measurement, measure_batch
from leukobench.features.extractor import extract


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_cluster_writes_the_same_table_though_a_worker_is_killed(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, backend: str
) -> None:
    half_way = read_manifest(cohort / "manifest.csv")["path"][20]
    killed = tmp_path / "killed"

    def measure_but_be_killed_once(how: Measurement, images: Sequence[tuple[str, str]]) -> Batch:
        if half_way in dict(images) and not killed.exists():
            killed.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return measure_batch(how, images)

    monkeypatch.setattr(leukobench.features.extractor, "IMAGES_PER_TASK", 4)
    monkeypatch.setattr(leukobench.features.extractor, "measure_batch", measure_but_be_killed_once)
    scheduler = request.getfixturevalue(backend)
    extract(cohort / "images", cohort / "manifest.csv", tmp_path / "features.csv", backend=backend, scheduler=scheduler)
    assert int(killed.read_text()) != os.getpid()
    assert (tmp_path / "features.csv").read_bytes() == (cohort / "features.csv").read_bytes()


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_task_that_kills_every_worker_ends_in_one_line(request: pytest.FixtureRequest, backend: str) -> None:
    scheduler = request.getfixturevalue(backend)
    with pytest.raises(InputError, match=f"^{scheduler}: the cluster failed [^\n]*$"):
        list(in_order(os._exit, [1], backend=backend, scheduler=scheduler))


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_a_broken_image_stops_a_strict_run_on_a_cluster_too(
    cohort: Path, tmp_path: Path, request: pytest.FixtureRequest, backend: str
) -> None:
    scheduler = request.getfixturevalue(backend)
    first = read_manifest(cohort / "manifest.csv")["path"][0]
    images = tmp_path / "images"
    (images / first).parent.mkdir(parents=True)
    (images / first).touch()
    with pytest.raises(InputError, match=f"^{images / first}: "):
        extract(
            images,
            cohort / "manifest.csv",
            tmp_path / "a.csv",
            backend=backend,
            scheduler=scheduler,
            strict=True,
        )
    assert list(tmp_path.iterdir()) == [images]


def test_results_come_in_order_while_tasks_are_still_taken(dask: str) -> None:
    taken = []

    def tasks() -> Iterator[int]:
        for task in range(2 * WINDOW):
            taken.append(task)
            yield -task

    results = in_order(abs, tasks(), backend="dask", scheduler=dask)
    for number, result in enumerate(results):
        assert result == number
        assert len(taken) <= number + WINDOW
    assert len(taken) == 2 * WINDOW


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_an_address_where_nothing_answers_is_told(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    pytest.importorskip({"dask": "distributed"}.get(backend, backend))
    monkeypatch.setattr(leukobench.core.workers, "PATIENCE", 1)
    with pytest.raises(InputError, match=r"^127.0.0.1:9: no (Dask scheduler|Ray cluster) answers"):
        list(in_order(abs, [1], backend=backend, scheduler="127.0.0.1:9"))


@pytest.mark.parametrize(("backend", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch, backend: str, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"needs an extra: pip install 'leukobench\[{backend}\]'"):
        list(in_order(abs, [1], backend=backend, scheduler="127.0.0.1:9"))


def test_a_worker_process_that_is_killed_ends_in_one_line() -> None:
    with pytest.raises(ChildProcessError, match="a worker process was killed"):
        list(in_order(os._exit, [1, 1], jobs=2))
