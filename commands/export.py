"""The command that writes models for other programs: `export`."""

from __future__ import annotations

from pathlib import Path

import click

from leukobench.commands.options import FOLDER, output
from leukobench.commands.printing import json_option, show


@click.command()
@click.argument("run", type=FOLDER)
@click.option("--onnx", is_flag=True, required=True, help="Write the format ONNX, the only one so far.")
@output("Model (.onnx)")
@click.option("--fold", type=int, help="For a cross-validation run: the model of this fold.")
@json_option
def export(run: Path, onnx: bool, out: Path, fold: int | None) -> None:
    """Write the model of the folder RUN as an ONNX file, which other programs run without leukobench.

    The outputs are score, the calibrated probability of `all`, as `predict` writes it, and raw_score, the probability
    before calibration on validation. The metadata of the file say how its input is made. If RUN is a cross-validation,
    the final model of SVM and k-NN is written; of networks one file a fold, NAME_fold_0.onnx and so on, of whose scores
    `predict` takes the mean. The package onnx is needed: pip install 'leukobench[onnx]'.

    \b
    Example:  leukobench export runs/svm --onnx -o svm.onnx
              leukobench export runs/network --onnx --fold 0 -o network.onnx
    """
    from leukobench.workflows.export import export_onnx

    files = export_onnx(run, out, fold=fold)
    lines = [f"{file}: ONNX model, {file.stat().st_size / 1e6:,.1f} MB" for file in files]
    if len(files) > 1:
        lines.append("one file a fold; `predict` takes the mean of their scores")
    show({"files": files}, lines)
