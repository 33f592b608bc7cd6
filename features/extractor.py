"""Batch extraction to a file: a folder of images and its manifest -> a feature table; parallel, and can be resumed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from leukobench.cells.cell import BACKGROUNDS
from leukobench.cohort.layout import refuse_other_folder
from leukobench.cohort.manifest import manifest_checksum, read_manifest
from leukobench.core.errors import MEMORY, InputError, UnfinishedError
from leukobench.core.files import only_writer, unfinished_path
from leukobench.core.opening import Place
from leukobench.core.progress import ProgressBar
from leukobench.core.workers import BACKENDS, in_order
from leukobench.features.batch import IMAGES_PER_TASK, Batch, Measurement, StrPath, measure_batch, stamp
from leukobench.features.catalog import DEFAULT_SET, settings_of
from leukobench.features.journal import Journal
from leukobench.features.settings import MeasurementSettings
from leukobench.results.feature_table import TableFacts, check_destination, write_feature_table

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extraction:
    """The result of an extraction.

    Attributes:
        images: Number of images in the table.
        features: Number of features.
        failed: Reason of each image that could not be measured, by path.
    """

    images: int
    features: int
    failed: dict[str, str]


def extract(
    images: StrPath,
    manifest_path: StrPath,
    out: StrPath,
    *,
    feature_set: str = DEFAULT_SET,
    settings: MeasurementSettings | None = None,
    background: str = BACKGROUNDS[0],
    jobs: int = 1,
    backend: str = BACKENDS[0],
    scheduler: str | None = None,
    resume: bool = False,
    strict: bool = False,
) -> Extraction:
    """Measure the cells of every image of a manifest, and write the feature table.

    Rows are in manifest order. Table and facts do not depend on the number of workers, nor on how often the extraction
    was interrupted. An image that cannot be measured has no row; all others do. Measurements are written to
    `<out>.partial` at once, and from there to the table at the end, so that memory does not grow with the number of
    images.

    Args:
        images: Folder that the manifest's paths are relative to.
        manifest_path: The manifest, from `leukobench.cohort.manifest.write_manifest` or the command `manifest`.
        out: Feature table to write, `.csv` or `.parquet`.
        feature_set: Name of the feature set: `patel`, `clinton19`, `full` or `leukobench`.
        settings: How a cell is measured; by default the settings of the feature set.
        background: What surrounds the cells: one of `BACKGROUNDS`, see `leukobench.cells.cell.find_cell`.
        jobs: Number of parallel processes on this machine.
        backend: Execution backend: `loky` (this machine), `dask` or `ray`.
        scheduler: Address of the cluster, for `dask` (`tcp://host:8786`) and `ray` (`host:6379`).
        resume: Continue from the measurements of an interrupted extraction, if there are any. Images that failed then
            are tried again.
        strict: Stop at the first image that cannot be measured.

    Returns:
        How many images and features the table has, and which images failed.

    Raises:
        UnfinishedError: an InputError; the extraction stopped, and its measurements so far are kept: an image cannot be
            measured and `strict` is true, a worker, the cluster or the disk failed, or an interrupted extraction has
            left measurements and `resume` is false.
        InputError: `out` exists or has another suffix, the manifest is malformed, the measurements to resume from are
            of other images, settings or another manifest, another process is extracting to `out`, or every image
            failed.
        KeyboardInterrupt: Ctrl-C was pressed; the message says what was kept.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from leukobench.cohort.indexing import index_folder
        >>> from leukobench.cohort.manifest import write_manifest
        >>> from leukobench.cohort.synthetic import generate_cohort
        >>> from leukobench.features.extractor import extract
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     images, manifest = Path(folder) / "images", Path(folder) / "manifest.csv"
        ...     truth = generate_cohort(images, subjects=2, cells_per_subject=2)
        ...     write_manifest(index_folder(images), manifest)
        ...     extract(images, manifest, Path(folder) / "features.csv")
        Extraction(images=4, features=347, failed={})
    """
    images, manifest_path, out = Path(images), Path(manifest_path), Path(out)
    how = Measurement(images.absolute(), feature_set, settings or settings_of(feature_set), background)
    journal_path = unfinished_path(out)
    check_destination(out, resumed=resume and journal_path.exists())
    manifest = read_manifest(manifest_path)
    paths = manifest["path"].tolist()
    refuse_other_folder(images, paths)
    facts = TableFacts(**how.as_facts(), manifest=manifest_checksum(manifest)[:16])
    with only_writer(out):
        with contextlib.closing(Journal(journal_path, facts.to_json(), resume=resume)) as journal:
            _refuse_changed(journal, how.images, paths)
            with _kept(journal, len(paths), out):
                listed = list(zip(paths, manifest["sha256"], strict=True))
                _measure_rest(journal, how, listed, strict, jobs=jobs, backend=backend, scheduler=scheduler)
                failed = {paths[number]: reason for number, reason in journal.failed.items()}
                if len(failed) < len(paths):
                    write_feature_table(journal.measured(paths), how.columns, facts, failed, out)
        journal.remove()
    if len(failed) == len(paths):
        path, reason = next(iter(failed.items()))
        raise InputError(f"{images}: none of {len(failed)} images could be measured; the first: {path}: {reason}")
    return Extraction(len(paths) - len(failed), len(how.columns), failed)


@contextlib.contextmanager
def _kept(journal: Journal, images: int, out: Path) -> Iterator[None]:
    """Add to an error how many images the journal keeps."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{out}: interrupted{_kept_images(journal, images)}") from None
    except OSError as error:  # such as a full disk
        message = f"{error.filename or out}: {error.strerror or error}"
        raise _stopped(message, journal, images) from error
    except MemoryError as error:
        raise _stopped(MEMORY, journal, images) from error
    except InputError as error:
        raise _stopped(str(error), journal, images) from error.__cause__


def _stopped(message: str, journal: Journal, images: int) -> InputError:
    return UnfinishedError(message + _kept_images(journal, images)) if journal.images else InputError(message)


def _kept_images(journal: Journal, images: int) -> str:
    return f"; {journal.images} of {images} images are kept in {journal.path}" if journal.images else ""


def _refuse_changed(journal: Journal, images: Path, paths: Sequence[str]) -> None:
    """Raise InputError if an image is no longer the file whose features the journal holds."""
    if not journal.images:
        return
    with ProgressBar(LOG, total=journal.images, desc="checking measured images", unit="cell") as progress:
        for first, batch in journal.batches():
            for place, measured in enumerate(batch.stamps.tolist()):
                path = paths[first + place]
                if place not in batch.failed and stamp(images / path) != tuple(measured):
                    raise InputError(
                        f"{images / path}: is not the file that was measured in {journal.path} (size or modification "
                        "time differs); restore the images, or remove that file and extract again"
                    )
            progress.update(len(batch))


def _measure_rest(
    journal: Journal, how: Measurement, listed: Sequence[tuple[str, str]], strict: bool, **workers: Any
) -> None:
    """Measure the images that the journal lacks, after those that failed before.

    Raises:
        InputError: see `in_order`; or an image cannot be measured and `strict` is true.
        OSError: the folder of the images has vanished, or see `leukobench.cells.decoding.read_image`.
    """
    place = Place(how.images)
    before = list(journal.failed)
    for numbers, batch in _measured(how, listed, before, **workers):
        if batch.failed:
            place.check()
        if [journal.failed[number] for number in numbers] != [batch.failed.get(i) for i in range(len(numbers))]:
            journal.replace(numbers, batch)
    if strict and journal.failed:
        number, reason = next(iter(journal.failed.items()))
        raise InputError(f"{how.images / listed[number][0]}: {reason} (found by an extraction that was not strict)")
    with ProgressBar(LOG, total=len(listed), initial=journal.images, desc="extracting", unit="cell") as progress:
        for _, batch in _measured(how, listed, range(journal.images, len(listed)), **workers):
            if batch.failed:
                place.check()
            good = min(batch.failed, default=len(batch)) if strict else len(batch)
            journal.append(batch.first(good))
            progress.update(good)
            if good < len(batch):
                raise InputError(f"{how.images / listed[journal.images][0]}: {batch.failed[good]}")


def _measured(
    how: Measurement, listed: Sequence[tuple[str, str]], numbers: Sequence[int], **workers: Any
) -> Iterator[tuple[Sequence[int], Batch]]:
    """Measure images by their numbers, and yield each batch with the numbers of its images."""
    chunks = [numbers[first : first + IMAGES_PER_TASK] for first in range(0, len(numbers), IMAGES_PER_TASK)]
    tasks = ([listed[number] for number in chunk] for chunk in chunks)
    with contextlib.closing(in_order(partial(measure_batch, how), tasks, **workers)) as batches:
        yield from zip(chunks, batches, strict=True)
