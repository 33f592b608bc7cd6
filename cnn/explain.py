"""Explain the predictions of a trained network: Grad-CAM, the layers and their feature maps."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from leukobench.cells.cell import Cell, read_cell
from leukobench.cnn.attribution import NetworkExplanation, explain_pixels, feature_maps
from leukobench.cnn.backend import keras
from leukobench.cnn.data import square
from leukobench.cnn.network import HEAD, NETWORK, load_network
from leukobench.cnn.plots import diagram, grad_cam_figure, tile_grid
from leukobench.cnn.pooling import POOL
from leukobench.cnn.prediction import refuse_other_models
from leukobench.core.errors import InputError
from leukobench.core.files import only_writer, refuse_existing, whole_folder, write_csv
from leukobench.core.plotting import save_figure
from leukobench.core.progress import ProgressBar
from leukobench.core.text import printable
from leukobench.results.run import RunFolder, read_run_folder

LOG = logging.getLogger(__name__)


def explain(
    run_folder: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    fold: int | None = None,
    brief: bool = False,
    maps: bool = False,
) -> list[NetworkExplanation]:
    """Explain the predictions of a network for images, and write the folder `out`, completely or not at all.

    The folder contains summary.csv, diagram.png and diagram.svg of the network, explanations.csv and, unless `brief`, a
    folder for each image with grad_cam.png and, if `maps`, the feature maps of every layer as tiles,
    layers/NNNN_NAME.png.

    Args:
        run_folder: Run folder of a network.
        images: Image files.
        out: Folder to write.
        fold: Of a cross-validation, the fold whose network is explained.
        brief: Whether to write no figures of the single images.
        maps: Whether to write the feature maps.

    Returns:
        One explanation an image.

    Raises:
        InputError: the run is of another model, there is no such fold, an image cannot be read, or `out` exists.
    """
    out, files = Path(out), [Path(path) for path in images]
    refuse_existing(out)
    run = read_run_folder(run_folder)
    refuse_other_models(run)
    model = load_network(run.model_file(".keras", fold))
    how = run.count("views"), run.info.calibration_of(fold), run.info.classes
    cells = [_read_input(run, path) for path in files]  # all are read before anything is computed
    explanations = []
    with only_writer(out), whole_folder(out) as partial:
        write_csv(summary(model), partial / "summary.csv")
        save_figure(diagram(model, run.info.recipe), partial / "diagram")
        for number, (pixels, mask) in enumerate(ProgressBar(LOG, cells, desc="explaining", unit="image")):
            explanations.append(explain_pixels(model, files[number], pixels, mask, *how))
            of_image = partial / f"{number + 1:03}_{files[number].stem}"
            if not brief:
                of_image.mkdir()
                save_figure(grad_cam_figure(explanations[-1]), of_image / "grad_cam", formats=["png"])
            if maps:
                _draw_maps(model, pixels, of_image / "layers")
        write_csv(_table(explanations), partial / "explanations.csv")
    return explanations


def mean_line(explanations: Sequence[NetworkExplanation]) -> str:
    """Return in a line the mean share of the attribution on the background, over the images with any attribution."""
    explained = [each for each in explanations if each.on_background is not None]
    if not explained:
        return f"{len(explanations)} images: no attribution"
    share, background = (
        np.mean([getattr(each, name) for each in explained]) for name in ("on_background", "background")
    )
    return (
        f"{len(explained)} images: {share:.0%} of the attribution on the background, "
        f"which is {background:.0%} of the images"
    )


def summary(model: keras.Model) -> pd.DataFrame:
    """Return one row for each layer of a network: name, type, output, number of parameters and of trained ones."""
    layers = [*model.get_layer(NETWORK).layers, model.get_layer(POOL), *model.get_layer(HEAD).layers]
    return pd.DataFrame(
        {
            "layer": layer.name,
            "type": type(layer).__name__,
            "output": " x ".join(str(size) for size in layer.output.shape[1:]),
            "parameters": layer.count_params(),
            "trained": sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights),
        }
        for layer in layers
    )


def _read_input(run: RunFolder, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the input of the network for an image, and which of its pixels are cell."""
    cell = read_cell(path, run.info.background)
    frame, side = run.count("frame"), run.count("input_side")
    white = Cell(**vars(cell) | {"rgb": np.repeat(cell.mask[..., None], 3, axis=2) * np.uint8(255)})
    mask = square(white, frame, side)[..., 0] >= 128
    if not mask.any():
        raise InputError(f"{path}: no cell within the {frame} px in the middle that are the input of the network")
    return square(cell, frame, side), mask


def _table(explanations: Sequence[NetworkExplanation]) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "path": printable(found.path.as_posix()),
            "score": round(found.score, 9),
            "predicted": found.predicted,
            "attribution_on_background": found.on_background,
            "background": found.background,
        }
        for found in explanations
    )
    return explanations[0].classes.add_beside(table, "predicted")


def _draw_maps(model: keras.Model, pixels: np.ndarray, folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, (name, maps) in enumerate(feature_maps(model, pixels).items()):
        Image.fromarray(tile_grid(maps)).save(folder / f"{number + 1:04}_{name}.png")
