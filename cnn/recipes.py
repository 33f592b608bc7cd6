"""The recipe of a network: what is built, what is trained, on which pixels, for how long.

The recipes themselves are in `leukobench.cnn.recipe_catalog`; `leukobench.cnn.recipe_changes` changes values of one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any

TRAINED = ("all", "head", "head+batchnorm", "all-but-batchnorm")
SCHEDULES = ("constant", "cosine")
KEPT = ("val_auroc", "val_accuracy", "last")
VIEWS = (1, 8)
# of the loss: name -> name in `leukobench.results.weights.cell_weights`
CLASS_WEIGHTS = {
    "none": "none",
    "balanced": "class",
    "balanced-subjects": "class-subject",
    "balanced-subjects-capped": "class-subject-capped",
}
AVERAGES = ("zero-one", "first-batch")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of each training image, drawn anew every epoch; pixels from outside repeat the nearest.

    They are those of Keras' `ImageDataGenerator`, with the same units, except for `stain`.

    Attributes:
        rotation: Largest rotation in either direction, degrees.
        shift: Largest shift in either direction, along both axes of the rotated image, as a share of the side.
        shear: Largest shear angle in either direction, degrees.
        zoom: Scales from 1 - zoom to 1 + zoom, horizontally and vertically by different factors.
        flip: Whether half of the images are flipped left to right.
        stain: Standard deviation of the logarithm of the factor that each colour channel is multiplied by.
    """

    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    flip: bool = False
    stain: float = 0.0


@dataclass(frozen=True)
class PublishedCounts:
    """Numbers of parameters and layers as the source of a recipe states them; None: not stated.

    Attributes:
        parameters: Number of parameters of the network.
        trainable: Number of those that are trained.
        base: Number of parameters of the base, without the head.
        base_not_trainable: Number of those that are not trained.
        layers: Number of layers of the base, and one for the head.
        in_millions: Whether the numbers of parameters are rounded to millions.
        outputs: Number of outputs of the network that they were counted in; None: that of the recipe.
    """

    parameters: int | None = None
    trainable: int | None = None
    base: int | None = None
    base_not_trainable: int | None = None
    layers: int | None = None
    in_millions: bool = False
    outputs: int | None = None


@dataclass(frozen=True)
class Recipe:
    """How a network is built and trained.

    Attributes:
        name: Name of the recipe.
        source: The publication, or leukobench.
        description: One line for the listing.
        architecture: A name in `leukobench.cnn.architectures`.
        input_side: Side of the network's input, px.
        head: The layers after the feature maps, in order: `average`, `cell-average` (over the places within the cell)
            or `flatten`; any of `batchnorm`, `dropout=RATE`, `dense=UNITS` (ReLU); `sigmoid`, or `softmax` of two.
        optimizer: Name of a Keras optimiser and its arguments.
        batch_size: Number of images in a batch.
        epochs: Number of passes over the training part.
        scaling: How pixels are scaled, a name in `leukobench.cnn.scaling`.
        pretrained: Whether the base starts from ImageNet weights.
        trained: `all` layers; the `head` alone, on a frozen base; `head+batchnorm`, the head and the batch
            normalisations of the base; or `all-but-batchnorm`, all layers but the batch normalisations of the base.
        loss: Name of a Keras loss. Targets have one column for `sigmoid`, two (one-hot) for `softmax`.
        schedule: `constant` learning rate, or `cosine`, which decays to zero at the last step.
        class_weights: `none`; `balanced`: both classes have the same total weight in the loss; `balanced-subjects`: so
            have, within a class, all subject groups; `balanced-subjects-capped`: the same, but groups of fewer than 25
            cells in proportion to these.
        keep: Which epoch's weights are kept where there is a validation part: that of the best `val_auroc` or
            `val_accuracy`, or the `last`.
        patience: Number of epochs without improvement after which training stops; None: it never stops early.
        l2: Strength of the L2 penalty on the weights of the head's dense layers.
        frame: Side of the square cut from the middle of the image before resizing, px.
        augmentation: Random changes of the training images, or None.
        augmented_passes: Number of augmented copies of each training image that a frozen base is run on; successive
            epochs use successive copies.
        offline_augmentation: Number of images that the training part is increased to before training, by drawing with
            replacement, rotation by multiples of 90 degrees and flipping; None: no offline augmentation. See
            `leukobench.cnn.epochs.draw_offline_augmentation`.
        views: Number of views that the score is the mean over: 1, the image itself, or 8, test-time augmentation by
            4 rotations x 2 flips. Without augmentation, the head on a frozen base is trained on these views as well;
            successive epochs use successive views.
        options: Further arguments of the architecture.
        batchnorm_averages: What the running averages of batch normalisation start with where the weights start at
            random: `zero-one`, mean 0 and variance 1, as in Keras; or `first-batch`, those of the first training batch,
            for trainings of few steps. See `leukobench.cnn.normalization.begin_averages`.
        split: How the source split its images, as a command.
        reported: Metrics in the source, and the split that they were measured on.
        left_open: What the source does not say, and what we chose.
        published: Numbers of parameters and layers in the source, or None. See `leukobench.cnn.counts`.
    """

    name: str
    source: str
    description: str
    architecture: str
    input_side: int
    head: tuple[str, ...]
    optimizer: Mapping[str, Any]
    batch_size: int
    epochs: int
    scaling: str = "unit"
    pretrained: bool = False
    trained: str = "all"
    loss: str = "BinaryCrossentropy"
    schedule: str = "constant"
    class_weights: str = "none"
    keep: str = "val_auroc"
    patience: int | None = None
    l2: float = 0.0
    frame: int = 450
    augmentation: Augmentation | None = None
    augmented_passes: int = 4
    offline_augmentation: int | None = None
    views: int = 1
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    batchnorm_averages: str = "zero-one"
    split: str = ""
    reported: str = ""
    left_open: str = ""
    published: PublishedCounts | None = None

    @property
    def frozen(self) -> bool:
        """Whether no layer of the base is trained, so that it needs to run only once."""
        return self.trained == "head"

    def from_scratch(self) -> Recipe:
        """Return the recipe with random initial weights and all layers trained; a changed recipe has another name."""
        if not self.pretrained:
            return self
        name = f"{self.name}-from-scratch"
        return dataclasses.replace(self, name=name, pretrained=False, trained="all", reported="", published=None)

    def as_json(self) -> dict[str, Any]:
        """Return every value of the recipe in types that JSON has."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {
            "head": list(self.head),
            "optimizer": dict(self.optimizer),
            "options": dict(self.options),
            "augmentation": asdict(self.augmentation) if self.augmentation else None,
            "published": asdict(self.published) if self.published else None,
        }
