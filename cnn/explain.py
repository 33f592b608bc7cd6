"""Seeing inside a trained network: where in a cell it looks (Grad-CAM), and what each of its layers makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from leukobench.cells.cell import Cell, read_cell
from leukobench.cnn.backend import keras
from leukobench.cnn.data import square
from leukobench.cnn.drawing import diagram, grad_cam_figure, tile_grid
from leukobench.cnn.epochs import turned, turned_back
from leukobench.cnn.network import HEAD, NETWORK, load_network, positive_score
from leukobench.cnn.pooling import CELL_WEIGHT, POOL, pooling_of
from leukobench.cnn.scaling import SCALING
from leukobench.cohort.manifest import NEGATIVE, POSITIVE
from leukobench.core.errors import InputError
from leukobench.core.files import refuse_existing, whole_folder, write_csv
from leukobench.core.plotting import DPI, save_figure
from leukobench.results.metrics import THRESHOLD
from leukobench.results.run import Run, read_run

ops = keras.ops


@dataclass(frozen=True)
class Explanation:
    """Why a network called one cell what it did.

    Attributes:
        path: The image.
        score: Probability of `all`, the mean over the views that the recipe averages over.
        predicted: The class it was called, which `heat` is the evidence for.
        pixels: What the network saw. [shape=(side, side, 3), uint8]
        mask: Which of it is cell. [shape=(side, side), bool]
        heat: Grad-CAM, from 0 to 1, the mean over the views turned back; all 0 where nothing speaks for the class.
            [shape=(side, side)]
    """

    path: Path
    score: float
    predicted: str
    pixels: np.ndarray
    mask: np.ndarray
    heat: np.ndarray

    @property
    def on_background(self) -> float | None:
        """Share of the heat that falls outside the cell; None where there is no heat."""
        return float(self.heat[~self.mask].sum() / self.heat.sum()) if self.heat.any() else None

    @property
    def background(self) -> float:
        """Share of the pixels that are no cell: what `on_background` would be if heat fell anywhere."""
        return float((~self.mask).mean())

    def line(self) -> str:
        """Say it in a line."""
        heat = "no heat" if self.on_background is None else f"{self.on_background:.0%} of the heat"
        return (
            f"{self.path}: called {self.predicted} (probability of all {self.score:.3f}); {heat} on the background, "
            f"which is {self.background:.0%} of the image"
        )


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


def explain_pixels(model: keras.Model, path: Path, pixels: np.ndarray, mask: np.ndarray, views: int = 1) -> Explanation:
    """Explain what a network calls one image.

    Args:
        model: A stored network, as `leukobench.cnn.network.load_network` loads it.
        path: Name of the image.
        pixels: What the network sees. [shape=(side, side, 3), uint8]
        mask: Which of it is cell. [shape=(side, side), bool]
        views: How many turns of the image the score is the mean over, see `leukobench.cnn.epochs.turned`.
    """
    seen = [turned(pixels[None], np.array([turn])) for turn in range(views)]
    score = float(np.mean([positive_score(_outputs(model, view))[0] for view in seen]))
    predicted = POSITIVE if score >= THRESHOLD else NEGATIVE
    of_views = [_evidence(model, view[0], predicted == POSITIVE) for view in seen]
    coarse = _to_one(np.mean([turned_back(heat, turn) for turn, heat in enumerate(of_views)], axis=0))
    heat = cv2.resize(coarse, mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return Explanation(path, score, predicted, pixels, mask, heat)


def grad_cam(model: keras.Model, pixels: np.ndarray, *, positive: bool) -> np.ndarray:
    """Return the Grad-CAM of a class on the feature maps that the network's last convolution ends in.

    The class's score before sigmoid or softmax is differentiated by each map; a map's weight is the mean of its
    derivatives, and the heat is what of the weighted sum of the maps is positive, divided by its largest value. For
    a softmax of two the score is the difference between both. Where the head begins with a batch normalisation, which
    takes from each map its mean over the training images, the heat is that of what differs from this mean. Where it
    averages over the cell alone, the maps are what it averages: 0 where there is no cell.

    Args:
        model: A stored network.
        pixels: What the network sees. [shape=(side, side, 3)]
        positive: Whether the class is `all`, else `hem`.

    Returns:
        The heat, from 0 to 1. [shape=(height, width) of the maps, float32]

    Reference: Selvaraju, R. R. et al. (2017). Grad-CAM: visual explanations from deep networks via gradient-based
    localization. ICCV.
    """
    return _to_one(_evidence(model, pixels, positive))


def _evidence(model: keras.Model, pixels: np.ndarray, positive: bool) -> np.ndarray:
    """Return Grad-CAM before it is divided by its largest value."""
    pool, head = model.get_layer(POOL), model.get_layer(HEAD)
    of_cell = pooling_of(model) == "cell-average"
    weight = model.get_layer(CELL_WEIGHT).output if of_cell else ops.ones_like(pool.input[..., :1])
    maps, weight = _outputs(keras.Model(model.input, [pool.input, weight]), pixels[None])
    output = head.layers[-1]

    def score(maps: keras.KerasTensor) -> keras.KerasTensor:
        x = pool(maps)
        for layer in head.layers[:-1]:
            x = layer(x, training=False)
        logits = (ops.matmul(ops.cast(x, "float32"), output.kernel) + output.bias)[0]
        of_positive = logits[-1] - logits[0] if logits.shape[0] == 2 else logits[0]
        return of_positive if positive else -of_positive

    weights = _gradient(score, maps)[0].mean(axis=(0, 1))
    maps, first = maps[0], head.layers[0]
    if isinstance(first, keras.layers.BatchNormalization):
        usual = ops.convert_to_numpy(first.moving_mean)
        maps = maps - weight[0] * usual.reshape(maps.shape if isinstance(pool, keras.layers.Flatten) else -1)
    return np.maximum(maps @ weights, 0).astype(np.float32)


def _to_one(heat: np.ndarray) -> np.ndarray:
    return heat / heat.max() if heat.any() else heat


def feature_maps(model: keras.Model, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the feature maps of every layer of the convolutional part. [shape=(height, width, channels) each]"""
    network = model.get_layer(NETWORK)
    names = [layer.name for layer in model.layers]
    entering = model.get_layer(SCALING).output if SCALING in names else model.input
    scaled = _outputs(keras.Model(model.input, entering), pixels[None])
    layers = [layer for layer in network.layers if not isinstance(layer, keras.layers.InputLayer)]
    spatial = [layer for layer in layers if len(layer.output.shape) == 4]
    outputs = _outputs(keras.Model(network.input, [layer.output for layer in spatial]), scaled)
    return {layer.name: output[0] for layer, output in zip(spatial, outputs, strict=True)}


def _outputs(model: keras.Model, inputs: np.ndarray) -> Any:
    """Return a model's outputs without compiling it, which for one image takes longer than running it."""
    return keras.tree.map_structure(ops.convert_to_numpy, model(inputs, training=False))


def _gradient(function: Callable, at: np.ndarray) -> np.ndarray:
    """Return the derivatives of a scalar function of a tensor; the one thing that Keras has no word of its own for."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(jax.numpy.asarray(at)))
    import tensorflow as tf

    tensor = tf.convert_to_tensor(at)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = function(tensor)
    return tape.gradient(value, tensor).numpy()


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
    grad_cam_figure(found).savefig(folder / "grad_cam.png", dpi=DPI)
    for number, (name, maps) in enumerate(feature_maps(model, found.pixels).items()):
        Image.fromarray(tile_grid(maps)).save(layers / f"{number + 1:04}_{name}.png")
