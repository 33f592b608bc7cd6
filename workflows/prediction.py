"""Applying a run to new cells: a classical one to a feature table, a network to images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from leukobench.cohort.manifest import read_manifest
from leukobench.core.errors import InputError
from leukobench.core.files import refuse_existing, write_csv
from leukobench.results.failures import failures_path, write_failures
from leukobench.results.run import read_run_folder


@dataclass(frozen=True)
class Predictions:
    """What was scored (`path`, `score`, `predicted`), and the reason of each image that could not be read, by path."""

    scored: pd.DataFrame
    failed: dict[str, str]


def predict(run: Path, source: Path, out: Path, *, jobs: int = 1, **of_networks: Any) -> Predictions:
    """Score cells by the model of a run folder, and write the table; failures are listed beside it.

    Args:
        run: The run folder.
        source: Feature table for a run of `train-svm` or `train-knn`, folder of images for one of `train-cnn`.
        out: Table to write.
        jobs: Threads that read images.
        of_networks: Options of networks: `manifest`, and those of `leukobench.cnn.prediction.predict_images`;
            None where one is not given.

    Raises:
        InputError: a source or option that is for the other kind of run, what the family's own `predict` raises, or
            `out` exists.
    """
    for path in (out, failures_path(out)):
        refuse_existing(path)
    given = {name: value for name, value in of_networks.items() if value is not None}
    failed: dict[str, str] = {}
    stored = read_run_folder(run)
    if stored.info.family == "cnn":
        if not source.is_dir():
            raise InputError(f"{source}: is a file; {run} is the run of a network, which scores a folder of images")
        from leukobench.cnn.prediction import predict_images  # here, because a classical run needs no TensorFlow

        manifest = given.pop("manifest", None)
        images = source if manifest is None else read_manifest(manifest)["path"]
        folder = None if manifest is None else source
        scored, failed = predict_images(stored, images, folder=folder, jobs=jobs, **given)
    else:
        if source.is_dir():
            raise InputError(
                f"{source}: is a folder; {run} is no run of a network: it scores a feature table, from `extract`"
            )
        if given:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise InputError(f"{options}: only for networks; {run} is of {stored.info.recipe}")
        from leukobench.classifiers.prediction import predict as by_table

        scored = by_table(run, source)
    write_failures(failed, out)
    write_csv(scored, out)
    return Predictions(scored, failed)
