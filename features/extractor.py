"""Batch extraction: a folder of images and its manifest -> a feature table, in parallel, and again after a stop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from leukobench.cells.cell import BACKGROUNDS
from leukobench.cohort.manifest import manifest_checksum, read_manifest
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, remove_leftovers
from leukobench.features.catalog import DEFAULT_SET, settings_of
from leukobench.features.journal import Journal
from leukobench.features.measuring import IMAGES_PER_TASK, Measurement, measure, stamp
from leukobench.features.settings import Settings
from leukobench.features.workers import BACKENDS, in_order
from leukobench.results.feature_table import TableFacts, check_destination, write_feature_table


@dataclass(frozen=True)
class Extraction:
    """What came of a batch: images measured, columns, and the reason of each image that failed, by path."""

    images: int
    features: int
    failed: dict[str, str]


def extract(
    images: Path,
    manifest_path: Path,
    out: Path,
    *,
    feature_set: str = DEFAULT_SET,
    settings: Settings | None = None,
    background: str = BACKGROUNDS[0],
    jobs: int = 1,
    backend: str = BACKENDS[0],
    scheduler: str | None = None,
    resume: bool = False,
    strict: bool = False,
) -> Extraction:
    """Measure every image of a manifest and write the feature table.

    Rows stand in manifest order; table and facts do not depend on who measured, nor on how often that was interrupted.
    An image that cannot be measured costs its own row only. What is measured goes to `<out>.partial` at once, and from
    there to the table at the end, so that memory does not grow with the number of images.

    Args:
        images: Folder that the manifest's paths are relative to.
        manifest_path: The manifest.
        out: Feature table to write, `.csv` or `.parquet`.
        feature_set: Name of a set in `leukobench.features.catalog`.
        settings: How a cell is measured; by default as the set has it.
        background: What lies around the cells, see `leukobench.cells.cell.find_cell`.
        jobs: Processes on this machine.
        backend: Who measures, see `leukobench.features.workers.in_order`.
        scheduler: Address of a cluster.
        resume: Go on with what an interrupted run has left, if it has left anything.
        strict: Stop at the first image that cannot be measured.

    Raises:
        InputError: `out` exists or has another suffix, the manifest is malformed, what is there to resume is of other
            images, settings or manifest, another process is extracting to `out`, every image failed or, if `strict`,
            one did; a worker or cluster failed.
        KeyboardInterrupt: by Ctrl-C, with a line that says what was kept.
    """
    how = Measurement(images.absolute(), feature_set, settings or settings_of(feature_set), background)
    columns = how.columns
    unfinished = partial_path(out)
    check_destination(out, resumed=resume and unfinished.exists())
    manifest = read_manifest(manifest_path)
    paths = manifest["path"].tolist()
    facts = TableFacts(**how.as_facts(), manifest=manifest_checksum(manifest)[:16])
    with only_writer(out):
        with contextlib.closing(Journal(unfinished, facts.to_json(), resume=resume)) as journal:
            _refuse_changed(journal, how.images, paths)
            with _kept(journal, len(paths), out):
                _measure_rest(journal, how, paths, strict, jobs=jobs, backend=backend, scheduler=scheduler)
                failed = {paths[number]: reason for number, reason in journal.failed.items()}
                remove_leftovers(out)
                if len(failed) < len(paths):
                    write_feature_table(journal.measured(paths), columns, facts, failed, out)
        journal.remove()
    if len(failed) == len(paths):
        path, reason = next(iter(failed.items()))
        raise InputError(f"{images}: none of {len(failed)} images could be measured; the first: {path}: {reason}")
    return Extraction(len(paths) - len(failed), len(columns), failed)


def partial_path(out: Path) -> Path:
    """Where an extraction keeps what it has measured until its table is whole."""
    return out.with_name(f"{out.name}.partial")


@contextlib.contextmanager
def _kept(journal: Journal, images: int, out: Path) -> Iterator[None]:
    """Add to an error what the journal holds and how to go on from there."""

    def kept() -> str:
        if not journal.images:
            return ""
        return f"; {journal.images} of {images} images are kept in {journal.path}, add --resume to go on from there"

    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{out}: interrupted{kept()}") from None
    except OSError as error:  # such as a full disk
        raise InputError(f"{error.filename or out}: {error.strerror or error}{kept()}") from error
    except InputError as error:
        raise InputError(f"{error}{kept()}") from error.__cause__


def _refuse_changed(journal: Journal, images: Path, paths: Sequence[str]) -> None:
    """Raise InputError where an image is no longer the file whose features the journal holds."""
    if not journal.images:
        return
    with tqdm(total=journal.images, desc="checking what was measured", unit="cell", disable=None) as progress:
        for first, batch in journal.batches():
            for path, seen in zip(paths[first : first + len(batch)], batch.stamps.tolist(), strict=True):
                if stamp(images / path) != tuple(seen):
                    raise InputError(
                        f"{images / path}: is not the file that {journal.path} has measured (size or time of change "
                        "differ); put the images back, or remove that file and extract anew"
                    )
            progress.update(len(batch))


def _measure_rest(journal: Journal, how: Measurement, paths: Sequence[str], strict: bool, **workers: Any) -> None:
    """Measure the images that the journal lacks.

    Raises:
        InputError: see `in_order`; or an image cannot be measured and `strict` is true.
    """
    if strict and journal.failed:
        number, reason = next(iter(journal.failed.items()))
        raise InputError(f"{how.images / paths[number]}: {reason} (found by a run that was not strict)")
    tasks = (paths[first : first + IMAGES_PER_TASK] for first in range(journal.images, len(paths), IMAGES_PER_TASK))
    with tqdm(total=len(paths), initial=journal.images, desc="extracting", unit="cell", disable=None) as progress:
        for batch in in_order(partial(measure, how), tasks, **workers):
            good = min(batch.failed, default=len(batch)) if strict else len(batch)
            journal.append(batch.first(good))
            progress.update(good)
            if good < len(batch):
                raise InputError(f"{how.images / paths[journal.images]}: {batch.failed[good]}")
