"""Figures of a network: its training, its layers, the Grad-CAM of a cell, and its feature maps."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from leukobench.cnn.attribution import NetworkExplanation
from leukobench.cnn.backend import keras
from leukobench.cnn.network import HEAD, NETWORK
from leukobench.cnn.pooling import POOL, pooling_of
from leukobench.cohort.manifest import POSITIVE
from leukobench.core.plotting import BLUE, COLORS, GREY, ORANGE, plot_training_curve, style
from leukobench.core.text import printable

TILE = (16, 64)  # px: the shortest and the longest side of a tile
_GAP = 2  # px between tiles
_BESIDE = (keras.layers.InputLayer, keras.layers.ZeroPadding2D, keras.layers.Cropping2D, keras.layers.Rescaling)
_COLOR_MAP = "inferno"  # its lightness increases evenly, so that it reads without colour vision, too


# column of the history, its name in the legend, colour, line style
_CURVES = (
    ("loss", "training", BLUE, "-"),
    ("val_loss", "validation", ORANGE, "--"),
    ("accuracy", "training", BLUE, "-"),
    ("val_accuracy", "validation", ORANGE, "--"),
    ("val_auroc", "validation", ORANGE, "--"),
)
_PANELS = (("loss", "loss"), ("accuracy", "accuracy"), ("auroc", "AUROC"))  # ending of the columns, label of the axis


@style()
def network_training_figure(history: pd.DataFrame, title: str) -> Figure:
    """Draw the history of a run, one panel a metric; the folds of a cross-validation in the same panels.

    Args:
        history: One row an epoch, as in a run folder's `history.csv`.
        title: Title of the figure.
    """
    panels = [panel for panel in _PANELS if any(column.endswith(panel[0]) for column in history.columns)]
    figure = Figure(figsize=(4.2 * len(panels), 3.6), layout="constrained")
    for axes, (ending, name) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for column, part, color, line_style in _CURVES:
            if column.endswith(ending) and column in history:
                plot_training_curve(axes, history, column, color=color, line_style=line_style, label=part)
        axes.set(xlabel="epoch", ylabel=name)
        axes.legend()
    figure.suptitle(title)
    return figure


@style()
def grad_cam_figure(found: NetworkExplanation) -> Figure:
    """Draw a cell, the attribution within the cell, and the whole attribution map with the outline of the cell."""
    figure = Figure(figsize=(10.5, 4.0), layout="constrained")
    cell, inside, everywhere = figure.subplots(1, 3)
    cell.imshow(found.pixels)
    predicted, positive = found.classes[found.predicted], found.classes.in_words(POSITIVE)
    cell.set_title(f"predicted {predicted}, probability of {positive} {found.score:.3f}", fontsize=10)
    inside.imshow(found.pixels)
    # the larger the attribution, the less transparent; nothing is drawn outside the cell
    inside.imshow(found.attribution, cmap=_COLOR_MAP, vmin=0, vmax=1, alpha=0.65 * found.attribution * found.mask)
    inside.set_title(f"Grad-CAM for {predicted}, on the cell", fontsize=10)
    shown = everywhere.imshow(found.attribution, cmap=_COLOR_MAP, vmin=0, vmax=1)
    everywhere.contour(found.mask, levels=[0.5], colors="white", linewidths=1.2)
    figure.colorbar(shown, ax=everywhere, shrink=0.85, label="share of the largest")
    share = (
        "no attribution"
        if found.on_background is None
        else f"{found.on_background:.0%} of the attribution on the background"
    )
    everywhere.set_title(f"{share},\nwhich is {found.background:.0%} of the image", fontsize=10)
    for axes in (cell, inside, everywhere):
        axes.set_axis_off()
    figure.suptitle(printable(found.path.name), fontsize=10)
    return figure


def tile_grid(maps: np.ndarray) -> np.ndarray:
    """Arrange the channels of a layer as tiles, each scaled from its lowest (black) to its highest value (white).

    Args:
        maps: Feature maps. [shape=(height, width, channels)]

    Returns:
        The picture: about as many columns as rows, with grey lines between the tiles. [shape=(height, width), uint8]
    """
    maps = np.asarray(maps, np.float32)
    side = min(max(maps.shape[0], TILE[0]), TILE[1])
    columns = math.ceil(math.sqrt(maps.shape[2]))
    rows = math.ceil(maps.shape[2] / columns)
    picture = np.full((rows * (side + _GAP) - _GAP, columns * (side + _GAP) - _GAP), 96, np.uint8)
    method = cv2.INTER_AREA if side < maps.shape[0] else cv2.INTER_NEAREST
    for channel in range(maps.shape[2]):
        tile = cv2.resize(np.ascontiguousarray(maps[..., channel]), (side, side), interpolation=method)
        low, high = tile.min(), tile.max()
        tile = np.zeros_like(tile) if high == low else (tile - low) / (high - low) * 255
        top, left = (number * (side + _GAP) for number in divmod(channel, columns))
        picture[top : top + side, left : left + side] = np.round(tile)
    return picture


@style()
def diagram(model: keras.Model, title: str) -> Figure:
    """Draw a network: one block for each size of feature maps, then the pooling, then each layer of the head.

    The height of a block grows with the side of the maps, its width with the logarithm of their channels.
    """
    pooling = (0.0, model.get_layer(POOL).output.shape[1], pooling_of(model).replace("-", "\n"))
    blocks = [*_stages(model.get_layer(NETWORK)), pooling, *_head(model.get_layer(HEAD))]
    tallest = max(height for height, _, _ in blocks)
    figure = Figure(figsize=(1.2 + 1.15 * len(blocks), 3.6), layout="constrained")
    axes, x = figure.add_subplot(), 0.0
    for height, width, text in blocks:
        tall = 0.06 + 0.94 * height / tallest
        wide = 0.12 + 0.06 * math.log2(width + 1)
        color = COLORS[4] if height else COLORS[5]
        axes.add_patch(Rectangle((x - wide / 2, -tall / 2), wide, tall, facecolor=color, edgecolor="black"))
        axes.annotate(text, (x, -0.56), ha="center", va="top", fontsize=8)
        x += 1.25
    axes.plot([0, x - 1.25], [0, 0], color=GREY, zorder=0)
    axes.set(xlim=(-0.9, x - 0.3), ylim=(-0.8, 0.55), title=f"{title}: {model.count_params():,} parameters")
    axes.set_axis_off()
    return figure


def _stages(network: keras.Model) -> list[tuple[float, int, str]]:
    """Return side, most channels and text of each size of feature maps, in order of appearance."""
    sizes: dict[int, list[keras.layers.Layer]] = {}
    for layer in network.layers:
        shape = layer.output.shape
        if len(shape) == 4 and not isinstance(layer, _BESIDE):
            sizes.setdefault(shape[1], []).append(layer)
    side = network.input.shape[1]
    stages = [(float(side), 3, f"{side} x {side} x 3\nimage")]
    for side, layers in sizes.items():
        channels = max(layer.output.shape[3] for layer in layers)
        convolutions = sum("Conv" in type(layer).__name__ for layer in layers)
        counted = f"\n{convolutions} convolution{'s' * (convolutions > 1)}" if convolutions else ""
        stages.append((float(side), channels, f"{side} x {side} x {channels}{counted}"))
    return stages


def _head(head: keras.Model) -> list[tuple[float, int, str]]:
    blocks = []
    for layer in head.layers:
        if isinstance(layer, keras.layers.Dropout):
            blocks.append((0.0, 1, f"dropout\n{layer.rate}"))
        elif isinstance(layer, keras.layers.BatchNormalization):
            blocks.append((0.0, 1, "batch\nnormalisation"))
        else:
            blocks.append((0.0, layer.units, f"dense {layer.units}\n{layer.activation.__name__}"))
    return blocks
