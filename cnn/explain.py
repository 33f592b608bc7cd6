"""Explain a trained network: where in a cell it looks (Grad-CAM), its layers and their feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from leukobench.cells.cell import Cell, read_cell
from leukobench.cnn.attribution import Explanation, explain_pixels, feature_maps
from leukobench.cnn.backend import keras
from leukobench.cnn.data import square
from leukobench.cnn.network import HEAD, NETWORK, load_network
from leukobench.cnn.plots import diagram, grad_cam_figure, tile_grid
from leukobench.cnn.pooling import POOL
from leukobench.core.errors import InputError
from leukobench.core.files import refuse_existing, whole_folder, write_csv
from leukobench.core.plotting import save_figure
from leukobench.results.run import Run, read_run


def explain(
    run_folder: Path, images: Sequence[Path], out: Path, *, fold: str | None = None, brief: bool = False
) -> list[Explanation]:
    """Write what a network sees in images, whole or not at all.

    `out` gets summary.csv, diagram.png and .svg of the network, explanations.csv, and, unless `brief`, a folder for
    each image, with grad_cam.png and the feature maps of every layer as a grid of tiles, layers/NNNN_NAME.png.

    Args:
        run_folder: A run of `train-cnn`.
        images: Image files.
        out: Where to.
        fold: Of a run of a cross-validation, the fold whose network is taken.
        brief: Whether to leave the pictures of each image out.

    Returns:
        One explanation an image.

    Raises:
        InputError: no run of a network, a fold is missing or needless, an image cannot be read, or `out` exists.
    """
    refuse_existing(out)
    run = read_run(run_folder)
    _refuse_other_family(run)
    model = load_network(str(run.model_file(".keras", fold)))
    views = run.info["parameters"].get("views", 1)
    cells = [_seen(run, path) for path in images]  # all are read before anything is computed
    explanations = []
    with whole_folder(out) as partial:
        write_csv(summary(model), partial / "summary.csv")
        save_figure(diagram(model, run.info["recipe"]), partial / "diagram")
        for number, (pixels, mask) in enumerate(tqdm(cells, unit="image", disable=None)):
            explanations.append(explain_pixels(model, images[number], pixels, mask, views))
            if not brief:
                _draw(model, explanations[-1], partial / f"{number + 1:03}_{images[number].stem}")
        write_csv(_table(explanations), partial / "explanations.csv")
    return explanations


def mean_line(explanations: Sequence[Explanation]) -> str:
    """Say in a line how much of the heat falls on the background, as a mean over the images that have heat."""
    warm = [each for each in explanations if each.on_background is not None]
    if not warm:
        return f"{len(explanations)} images: no heat"
    share, background = (np.mean([getattr(each, name) for each in warm]) for name in ("on_background", "background"))
    return f"{len(warm)} images: {share:.0%} of the heat on the background, which is {background:.0%} of the images"


def summary(model: keras.Model) -> pd.DataFrame:
    """Return one row a layer of a stored network: name, type, output, parameters and how many of them are trained."""
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


def _refuse_other_family(run: Run) -> None:
    if run.info["family"] != "cnn":
        raise InputError(f"{run.folder}: is a run of {run.info['recipe']}, no network; name one of train-cnn")


def _seen(run: Run, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return what the network sees of an image, and which of it is cell."""
    cell = read_cell(path, run.info["background"])
    frame, side = run.info["parameters"]["frame"], run.info["parameters"]["input_side"]
    white = Cell(**vars(cell) | {"rgb": np.repeat(cell.mask[..., None], 3, axis=2) * np.uint8(255)})
    mask = square(white, frame, side)[..., 0] >= 128
    if not mask.any():
        raise InputError(f"{path}: no cell within the {frame} px in the middle that {run.info['recipe']} looks at")
    return square(cell, frame, side), mask


def _table(explanations: Sequence[Explanation]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "path": found.path.as_posix(),
            "score": round(found.score, 9),
            "predicted": found.predicted,
            "heat_on_background": found.on_background,
            "background": found.background,
        }
        for found in explanations
    )


def _draw(model: keras.Model, found: Explanation, folder: Path) -> None:
    layers = folder / "layers"
    layers.mkdir(parents=True)
    save_figure(grad_cam_figure(found), folder / "grad_cam", formats=["png"])
    for number, (name, maps) in enumerate(feature_maps(model, found.pixels).items()):
        Image.fromarray(tile_grid(maps)).save(layers / f"{number + 1:04}_{name}.png")
