"""Writing the models of a run as ONNX files, which other programs run without leukobench."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, refuse_existing
from leukobench.results.metrics import THRESHOLD
from leukobench.results.onnx_graph import Graph
from leukobench.results.run import RunFolder, model_name, read_run_folder
from leukobench.results.run_info import COMBINED, fold_name
from leukobench.workflows.combination import MEMBERS

StrPath = str | os.PathLike[str]


def export_onnx(run: RunFolder | StrPath, out: StrPath, *, fold: int | None = None) -> list[Path]:
    """Write the model of a run as an ONNX file; of a network with several folds, one file a fold.

    A file has one input: for SVM and k-NN `features` [shape=(n, columns), float64], for a network `images`
    [shape=(n, side, side, 3), uint8, RGB]. Its outputs are `score`, the calibrated probability of `all`, and
    `raw_score`, the one before calibration on validation. [shape=(n,), float64] The metadata of the file say how the
    input is made: columns and measurement, or frame, side and background. Test-time augmentation is in the file.

    Args:
        run: The run, or its folder.
        out: File to write (.onnx). For the folds of networks, `_fold_0` and so on are added to its name; `predict`
            takes the mean of their scores.
        fold: Of a cross-validation, the fold whose model is written. By default the final model of SVM and k-NN, and
            the networks of all folds.

    Returns:
        The files.

    Raises:
        InputError: a combined run, no such fold, the package onnx is not installed, or a file exists.

    Source: ONNX, https://onnx.ai

    Example:
        >>> import leukobench as lb
        >>> lb.export_onnx("no-such-run", "model.onnx")
        Traceback (most recent call last):
        ...
        leukobench.core.errors.InputError: no-such-run: no such run folder; name one that a training wrote
    """
    run, out = run if isinstance(run, RunFolder) else read_run_folder(run), Path(out)
    if run.info.family == COMBINED:
        raise InputError(f"{run.folder}: is a combined run; export the runs in its folder {MEMBERS}")
    network = run.info.family == "cnn"
    folds: Sequence[int | None] = run.folds if network and fold is None and run.folds else [fold]
    several = len(folds) > 1
    files = {each: out.with_name(f"{out.stem}_fold_{each}{out.suffix}") if several else out for each in folds}
    for file in files.values():
        refuse_existing(file)
    for each, file in files.items():
        with only_writer(file):
            (_export_network if network else _export_classifier)(run, each, file)
    return list(files.values())


def _export_classifier(run: RunFolder, fold: int | None, file: Path) -> None:
    from leukobench.classifiers.onnx_graph import add_classifier
    from leukobench.classifiers.prediction import trained_model

    graph = Graph()
    trained = trained_model(run, fold)
    raw_score, score = add_classifier(graph, trained.model, "features")
    facts = _facts(run, fold, ".skops") | {
        "columns": trained.columns,
        "measurement": trained.facts.measurement if trained.facts else None,
    }
    given = "features", graph.onnx.TensorProto.DOUBLE, [len(trained.columns)]
    graph.write(file, given, raw_score, score, facts)


def _export_network(run: RunFolder, fold: int | None, file: Path) -> None:
    from leukobench.cnn.network import load_network  # here: classifiers need no TensorFlow
    from leukobench.cnn.onnx_graph import add_network

    graph = Graph()
    side, views, frame = map(run.count, ("input_side", "views", "frame"))
    network = load_network(run.model_file(".keras", fold))
    raw_score, score = add_network(graph, network, "images", views, run.info.calibration_of(fold))
    facts = _facts(run, fold, ".keras") | {
        "preprocessing": {
            "background": run.info.background,
            "frame": frame,
            "side": side,
            "channels": "RGB",
            "normalisation": "in the file",
            "views": views,
        }
    }
    graph.write(file, ("images", graph.onnx.TensorProto.UINT8, [side, side, 3]), raw_score, score, facts)


def _facts(run: RunFolder, fold: int | None, suffix: str) -> dict[str, Any]:
    """Return the metadata that files of both families have."""
    info, model = run.info, model_name(suffix, fold)
    calibration = info.calibration_of(fold)
    return {
        "leukobench": info.leukobench,
        "family": info.family,
        "recipe": info.recipe,
        "fold": fold_name(fold),
        "classes": vars(info.classes),
        "threshold": THRESHOLD,
        "calibration": vars(calibration) if calibration else None,
        "trained_precision": info.precision,
        "split": info.split,
        "leaky": info.leaky,
        "checksums": {**info.checksums, model: info.files.get(model)},
        "note": "Research software, not a medical device. The file does not flag cells unlike the training cells.",
    }
