"""The inputs of a network, and batches of them: which images or features, in which order, in which orientation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leukobench.cnn.backend import keras

OFFLINE_AUGMENTATION_SEED = 7  # Mir & Un Nissa 2019


@dataclass(frozen=True)
class Inputs:
    """All images, or the outputs of a frozen base for them: one row an image, the same rows in each array.

    Attributes:
        plain: The images as they were read; the network is validated on these. [shape=(m, ...)]
        training: What the network is trained on; successive epochs use successive arrays.
        views: What a score is the mean over: arrays, each with the orientation that its images are still to be put in,
            see `orient`.
    """

    plain: np.ndarray
    training: Sequence[np.ndarray]
    views: Sequence[tuple[np.ndarray, int]]

    @classmethod
    def of_images(cls, pixels: np.ndarray, views: int) -> Inputs:
        """Return images as the inputs of a network whose score is the mean over a number of views."""
        return cls(pixels, [pixels], [(pixels, orientation) for orientation in range(views)])


@dataclass(frozen=True)
class Examples:
    """The images of a training part.

    Attributes:
        inputs: Images or features that `rows` points into; successive epochs use successive arrays.
            [shape=(m, ...) each]
        rows: Row of each example. [shape=(n,)]
        targets: Target of each. [shape=(n, outputs)]
        weights: Weight of each in the loss, or None. [shape=(n,)]
        orientations: Orientation that each image is put in, see `orient`; None: all stay as they are. [shape=(n,)]
    """

    inputs: Sequence[np.ndarray]
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None
    orientations: np.ndarray | None = None

    def of_epoch(self, epoch: int, batch_size: int, seed: int) -> Batches:
        """Return the batches of an epoch: all examples, shuffled anew.

        The order depends only on seed and epoch, so that a resumed training uses the order of an uninterrupted one.
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(self.rows))
        return Batches(
            self.inputs[epoch % len(self.inputs)],
            self.rows[order],
            batch_size,
            self.targets[order],
            None if self.weights is None else self.weights[order],
            None if self.orientations is None else self.orientations[order],
        )


class Batches(keras.utils.PyDataset):
    """Rows of an array in batches of equal size, so that the backend compiles a network once.

    The last batch is filled up with the first rows; in prediction, the surplus outputs are dropped.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        rows: np.ndarray,
        batch_size: int,
        targets: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        orientations: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self._inputs, self._rows, self._targets = inputs, rows, targets
        self._batch_size, self._weights, self._orientations = batch_size, weights, orientations

    def __len__(self) -> int:
        return math.ceil(len(self._rows) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        chosen = np.arange(index * self._batch_size, (index + 1) * self._batch_size) % len(self._rows)
        pixels = self._inputs[self._rows[chosen]]
        if self._orientations is not None:
            pixels = orient(pixels, self._orientations[chosen])
        extra = [values[chosen] for values in (self._targets, self._weights) if values is not None]
        return (pixels, *extra)


def draw_offline_augmentation(count: int, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the examples of an offline augmentation: images with replacement, each in one of eight orientations.

    Each is rotated by 90 degrees with probability 1/2, by 270 degrees with probability 1/2, flipped left to right with
    probability 1/2, and flipped top to bottom with probability 1/2, in this order (Mir & Un Nissa 2019).

    Args:
        count: Number of images.
        total: Number of examples to draw.

    Returns:
        Which image each example is, and its orientation, see `orient`. [shape=(total,) each]
    """
    rng = np.random.default_rng(OFFLINE_AUGMENTATION_SEED)
    drawn = rng.integers(0, count, total)
    by_90, by_270, left_right, top_bottom = rng.integers(0, 2, (4, total))
    # a flip top to bottom is a rotation by 180 degrees and a flip left to right
    quarters = by_90 + 3 * by_270 + 2 * top_bottom
    return drawn, quarters % 4 + 4 * (left_right ^ top_bottom)


def orient(pixels: np.ndarray, orientations: np.ndarray) -> np.ndarray:
    """Rotate each image anticlockwise by `orientation % 4` times 90 degrees, then flip it left to right from 4 on.

    Args:
        pixels: Square images. [shape=(n, side, side, channels)]
        orientations: 0 to 7. [shape=(n,)]
    """
    result = np.empty_like(pixels)
    for orientation in np.unique(orientations):
        chosen = orientations == orientation
        images = np.rot90(pixels[chosen], orientation % 4, axes=(1, 2))
        result[chosen] = images[:, :, ::-1] if orientation >= 4 else images
    return result


def undo_orientation(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo what `orient` does to one image. [shape=(side, side, ...)]"""
    return np.rot90(image[:, ::-1] if orientation >= 4 else image, -orientation % 4)
