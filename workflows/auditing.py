"""Auditing a cohort together with its images: find the files, decode them, compare what they show."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from leukobench.cells.fingerprints import read_fingerprints
from leukobench.cohort import audit as cohort_audit
from leukobench.cohort.audit import Audit, Decoded
from leukobench.cohort.layout import find_images
from leukobench.cohort.partition import Partition
from leukobench.core.errors import InputError


def audit(
    manifest: pd.DataFrame,
    *,
    images: Path | None = None,
    partition: Partition | None = None,
    near: bool = False,
    jobs: int = 1,
) -> Audit:
    """Audit a cohort, and its images where their folder is given.

    Args:
        manifest: The cohort, as `leukobench.cohort.manifest` reads it. Subject IDs are compared without case.
        images: Folder of the images: decode them and compare their pixels, too.
        partition: Count what this partition leaks, as `leukobench.cohort.partition` reads it.
        near: Look for near-duplicates; needs `images`.
        jobs: Number of parallel processes.

    Raises:
        InputError: `near` without `images`, a folder without images of the manifest, no cell that can be
            compared, or a partition of other images.
    """
    if near and images is None:
        raise InputError("near-duplicates are found in the images; give their folder (images), too")
    if images is None:
        return cohort_audit.audit(manifest, partition=partition)
    found = find_images(images, manifest["path"])
    files = {path: found.files[path] for path in manifest["path"] if path in found.files}
    read = read_fingerprints(files, near=near, jobs=jobs)
    missing = [path for path in manifest["path"] if path not in files]
    decoded = Decoded(read.pixels, read.failed, missing, read.thumbnails if near else None)
    try:
        return cohort_audit.audit(manifest, decoded=decoded, partition=partition)
    except InputError as error:
        raise InputError(f"{images}: {error}") from None
