"""Audit a cohort together with its images: find the files, decode them, compare their pixels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from leukobench.cells.fingerprints import read_fingerprints
from leukobench.cohort import audit as cohort_audit
from leukobench.cohort.audit import Audit, Decoded
from leukobench.cohort.layout import find_images, image_files
from leukobench.cohort.near_duplicates import MIN_SIMILARITY, similar_pairs
from leukobench.cohort.partition import Partition
from leukobench.core.errors import InputError


def audit(
    manifest: pd.DataFrame,
    *,
    images: str | os.PathLike[str] | None = None,
    partition: Partition | None = None,
    near: bool = False,
    jobs: int = 1,
) -> Audit:
    """Audit a cohort, and its images if their folder is given.

    Args:
        manifest: The cohort, as `leukobench.cohort.manifest` reads it. Subject IDs are compared without case.
        images: Folder of the images, whose pixels are compared too; None to audit the manifest only.
        partition: Partition whose leakage is counted, as `leukobench.cohort.partition` reads it.
        near: Whether to search for near-duplicates; needs `images`.
        jobs: Number of parallel processes.

    Raises:
        InputError: `near` without `images`, a folder without images of the manifest, no cell that can be
            compared, or a partition of other images.

    Example:
        >>> import leukobench as lb
        >>> found = lb.audit(lb.read_manifest())
        >>> found.identical.pairs, found.groups.joined
        (106, ['20=21', '51=75=78', 'H2=H4=H5=H6', 'H3=H10'])
    """
    if near and images is None:
        raise InputError("the search for near-duplicates needs the images; give their folder (images) too")
    if images is None:
        return cohort_audit.audit(manifest, partition=partition)
    images = Path(images)
    found = find_images(images, manifest["path"])
    files = {path: found.files[path] for path in manifest["path"] if path in found.files}
    read = read_fingerprints(files, near=near, jobs=jobs)
    missing = [path for path in manifest["path"] if path not in files]
    decoded = Decoded(read.pixels, read.failed, missing, read.thumbnails if near else None)
    try:
        return cohort_audit.audit(manifest, decoded=decoded, partition=partition)
    except InputError as error:
        raise InputError(f"{images}: {error}") from None


def find_near_duplicates(
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    threshold: float = MIN_SIMILARITY,
    jobs: int = 1,
) -> pd.DataFrame:
    """Find pairs of images that show the same cell, in any orientation, size, brightness and contrast.

    The similarity of two cells is the correlation of their thumbnails (32 x 32 px, grey, centred, of standard area) at
    the best of eight orientations. Among 3.0 million pairs of C-NMC 2019 images of different labels, none reaches 0.87.

    Args:
        images: A folder, searched with its subfolders, or image files; cells on pure black.
        threshold: Smallest similarity of a pair, in [-1, 1].
        jobs: Number of parallel processes.

    Returns:
        One row a pair: `path`, `other` and `similarity`, the most similar first; at most 10,000 pairs. Images that
        cannot be read, or show no cell, are left out; `attrs["failures"]` has the reason of each unreadable one.

    Raises:
        InputError: there is no image, or no cell can be compared.

    Example:
        >>> import shutil
        >>> import leukobench as lb
        >>> truth = lb.generate_cohort("images", subjects=2, cells_per_subject=2)
        >>> copy = shutil.copy("images/training_data/fold_0/all/UID_1_1_1_all.bmp", "images/copy.bmp")
        >>> lb.find_near_duplicates("images")[["path", "similarity"]].values.tolist()
        [['copy.bmp', 1.0]]
    """
    if isinstance(images, str | os.PathLike):
        files = {path: Path(images) / path for path in image_files(Path(images))}
    else:
        files = {os.fspath(path): Path(path) for path in images}
    read = read_fingerprints(files, near=True, jobs=jobs)
    if not read.thumbnails:
        raise InputError("no cell can be compared: every image is black, flat or unreadable")
    paths, unknown = list(read.thumbnails), [""] * len(read.thumbnails)
    found = similar_pairs(np.stack(list(read.thumbnails.values())), paths, unknown, unknown, threshold)
    table = found.pairs[["path", "other", "similarity"]]
    table.attrs["failures"] = read.failed
    return table
