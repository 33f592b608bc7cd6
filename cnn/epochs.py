"""What a network sees: images or features, which of them in which order, in batches of one and the same size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leukobench.cnn.backend import keras
from leukobench.results.weights import cell_weights

ENLARGEMENT_SEED = 7  # Mir & Un Nissa 2019


@dataclass(frozen=True)
class Inputs:
    """All images, or what a frozen base puts out for them: one row an image, each of the arrays alike.

    Attributes:
        plain: The images as they are, which a network is validated on. [shape=(m, ...)]
        taught: What is trained on; epochs take turns.
        views: What a score is the mean over: arrays, and how their images are turned yet, see `turned`.
    """

    plain: np.ndarray
    taught: Sequence[np.ndarray]
    views: Sequence[tuple[np.ndarray, int]]

    @classmethod
    def of_images(cls, pixels: np.ndarray, views: int) -> Inputs:
        """Return images as the inputs of a network that scores the mean over as many views of each."""
        return cls(pixels, [pixels], [(pixels, turn) for turn in range(views)])


@dataclass(frozen=True)
class Examples:
    """The images of a training part.

    Attributes:
        inputs: Images or features, which `rows` points into; epochs take turns with them. [shape=(m, ...) each]
        rows: Row of each example. [shape=(n,)]
        targets: What the network is to put out for each. [shape=(n, outputs)]
        weights: Weight of each in the loss, or None. [shape=(n,)]
        turns: How each image is turned and mirrored, see `turned`; None for not at all. [shape=(n,)]
    """

    inputs: Sequence[np.ndarray]
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None
    turns: np.ndarray | None = None

    def of_epoch(self, epoch: int, batch: int, seed: int) -> Batches:
        """Deal out all examples, newly shuffled.

        The order depends on seed and epoch alone, so that a resumed training sees what an unbroken one does.
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(self.rows))
        return Batches(
            self.inputs[epoch % len(self.inputs)],
            self.rows[order],
            batch,
            self.targets[order],
            None if self.weights is None else self.weights[order],
            None if self.turns is None else self.turns[order],
        )


class Batches(keras.utils.PyDataset):
    """Rows of an array in batches that all have the same size, so that nothing is compiled twice.

    The last batch is filled up with the first rows; who predicts drops the surplus.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        rows: np.ndarray,
        batch: int,
        targets: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        turns: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self._inputs, self._rows, self._targets = inputs, rows, targets
        self._batch, self._weights, self._turns = batch, weights, turns

    def __len__(self) -> int:
        return math.ceil(len(self._rows) / self._batch)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        chosen = np.arange(index * self._batch, (index + 1) * self._batch) % len(self._rows)
        pixels = self._inputs[self._rows[chosen]]
        if self._turns is not None:
            pixels = turned(pixels, self._turns[chosen])
        extra = [values[chosen] for values in (self._targets, self._weights) if values is not None]
        return (pixels, *extra)


def enlargement(count: int, enlarged: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw examples with replacement, each with one of eight turns: the off-line enlargement of Mir & Un Nissa 2019.

    Each is turned by 90 degrees with probability 1/2, by 270 with 1/2, mirrored left to right with 1/2, and top to
    bottom with 1/2, in this order.

    Args:
        count: Number of images there are.
        enlarged: Number of examples to draw.

    Returns:
        Which image each example is, and its turn, see `turned`. [shape=(enlarged,)]
    """
    rng = np.random.default_rng(ENLARGEMENT_SEED)
    drawn = rng.integers(0, count, enlarged)
    quarter, three_quarters, left_right, top_bottom = rng.integers(0, 2, (4, enlarged))
    # top to bottom is left to right after half a turn
    quarters = quarter + 3 * three_quarters + 2 * top_bottom
    return drawn, quarters % 4 + 4 * (left_right ^ top_bottom)


def turned(pixels: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Turn each image anticlockwise by `turns % 4` quarters, then mirror it left to right where `turns >= 4`.

    Args:
        pixels: Square images. [shape=(n, side, side, channels)]
        turns: 0 to 7. [shape=(n,)]
    """
    result = np.empty_like(pixels)
    for turn in np.unique(turns):
        chosen = turns == turn
        images = np.rot90(pixels[chosen], turn % 4, axes=(1, 2))
        result[chosen] = images[:, :, ::-1] if turn >= 4 else images
    return result


def turned_back(image: np.ndarray, turn: int) -> np.ndarray:
    """Undo what `turned` does to one image. [shape=(side, side, ...)]"""
    return np.rot90(image[:, ::-1] if turn >= 4 else image, -turn % 4)


def balanced_weights(positive: np.ndarray, group: np.ndarray | None = None) -> np.ndarray:
    """Return weights with which both classes weigh the same and the mean is 1. [shape=(n,)]

    Args:
        positive: Which examples are positive. [shape=(n,), bool]
        group: Subject group of each: all of a class then weigh the same. [shape=(n,)]
    """
    weight, of = ("class", np.zeros(len(positive))) if group is None else ("class-subject", group)
    return cell_weights(weight, np.asarray(positive, bool), of).astype(np.float32)
