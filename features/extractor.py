"""Batch extraction: a folder of images and its manifest -> a feature table, in parallel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import pandas as pd
from joblib import Parallel, delayed
from tqdm import tqdm

import study
from features.catalog import DEFAULT_SET, compute, features_of
from study.cell import BACKGROUNDS, read_cell
from study.errors import StudyError
from study.feature_table import check_destination, write_feature_table
from study.files import sha256_of
from study.manifest import read_manifest


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
    background: str = BACKGROUNDS[0],
    jobs: int = 1,
) -> Extraction:
    """Measure every image of a manifest and write the feature table.

    An image that cannot be measured costs its own row only. Rows stand in manifest order, and the table does not
    depend on the number of processes.

    Args:
        images: Folder that the manifest's paths are relative to.
        manifest_path: The manifest.
        out: Feature table to write, `.csv` or `.parquet`.
        feature_set: Name of a set in `features.catalog`.
        background: What lies around the cells, see `study.cell.find_cell`.
        jobs: Processes.

    Raises:
        StudyError: `out` exists or has another suffix, the manifest is malformed, or every image failed.
    """
    names = [feature.name for feature in features_of(feature_set)]
    check_destination(out)
    manifest = read_manifest(manifest_path)
    measuring = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_measure)(images, path, feature_set, background) for path in manifest["path"]
    )
    rows: list[list[float]] = []
    measured: list[str] = []
    failed: dict[str, str] = {}
    progress = tqdm(measuring, total=len(manifest), desc="extracting", unit="cell", disable=None)
    for path, result in zip(manifest["path"], progress, strict=True):
        if isinstance(result, str):
            failed[path] = result
        else:
            measured.append(path)
            rows.append(result)
    if not rows:
        path, reason = next(iter(failed.items()))
        raise StudyError(f"{images}: none of {len(failed)} images could be measured; the first: {reason}")
    facts = {
        "feature_set": feature_set,
        "background": background,
        "leukobench": study.__version__,
        "manifest": sha256_of(manifest_path)[:16],
    }
    write_feature_table(pd.DataFrame(rows, index=measured, columns=names), facts, failed, out)
    return Extraction(len(rows), len(names), failed)


def _measure(images: Path, path: str, feature_set: str, background: str) -> list[float] | str:
    """Return one image's features, or the reason why it has none."""
    cv2.setNumThreads(1)  # the processes share the cores already
    try:
        return list(compute(read_cell(images / path, background), feature_set).values())
    except StudyError as error:
        return str(error)
