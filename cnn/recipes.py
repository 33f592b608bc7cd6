"""What a recipe of a network is: what is built, what is trained, on what pixels, for how long.

The recipes themselves are in `leukobench.cnn.published`; values of one are changed with `leukobench.cnn.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any

TRAINED = ("all", "head", "head+batchnorm")
SCHEDULES = ("constant", "cosine")
KEPT = ("val_auroc", "val_accuracy", "last")
VIEWS = (1, 8)
CLASS_WEIGHTS = ("none", "balanced", "balanced-subjects")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of each training image, drawn anew every epoch; pixels from outside repeat the nearest.

    Attributes:
        rotation: Largest rotation either way, degrees.
        shift: Largest shift either way and in both directions, as a share of the side.
        shear: Largest shear angle either way, radians.
        zoom: Scales from 1 - zoom to 1 + zoom, in both directions independently.
        flip: Whether half of the images are mirrored left to right.
        stain: Standard deviation of the logarithm of the factor that each colour channel is multiplied by.
    """

    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    flip: bool = False
    stain: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """How one network is built and trained.

    Attributes:
        name: What `--recipe` takes.
        source: The publication, or leukobench.
        description: One line for the listing.
        architecture: A name in `leukobench.cnn.architectures`.
        input_side: Side of the network's input, px.
        head: What follows the feature maps, in order: `average`, `cell-average` (of the places that are cell) or
            `flatten`; `batchnorm`, `dropout=RATE`, `dense=UNITS` (ReLU); `sigmoid` or `softmax` (of two).
        optimizer: Name of a Keras optimiser and its arguments.
        batch: Images a step.
        epochs: Passes over the training part.
        scaling: What pixels are scaled to, a name in `leukobench.cnn.scaling`.
        pretrained: Whether the base starts from ImageNet weights.
        trained: `all` layers, the `head` alone, or `head+batchnorm`: with it the batch normalisations of the base.
        loss: A loss of Keras, by name; it is given one column for `sigmoid` and two (one-hot) for `softmax`.
        schedule: `constant` learning rate, or `cosine`, down to zero at the last step.
        class_weights: `none`; `balanced`: both classes weigh the same in the loss; `balanced-subjects`: so do all
            subject groups of a class.
        keep: The epoch whose weights are kept, where there is a validation part: that of the best `val_auroc` or
            `val_accuracy`, or the `last`.
        patience: Epochs without a better one after which training stops; None for never.
        l2: Strength of the L2 penalty on the weights of the head's dense layers.
        frame: Side of the square cut from the middle of the image before resizing, px.
        augmentation: Random changes, or None.
        augmented_passes: How often the images are augmented and run through a frozen base; epochs take turns.
        enlarged: Number of images that the training part is enlarged to, once, by drawing with replacement and turning
            and mirroring by quarters; None for as it is. See `leukobench.cnn.epochs`.
        views: What is averaged to a score: 1 for the image as it is, 8 for it turned by quarters and mirrored. The head
            on a frozen base is trained on them too, unless the recipe augments; epochs take turns.
        options: Further arguments of the architecture.
        split: How the source split its images, as a command.
        reported: Figures in the source, with the split that they were measured on.
        left_open: What the source does not say, and what we chose.
    """

    name: str
    source: str
    description: str
    architecture: str
    input_side: int
    head: tuple[str, ...]
    optimizer: Mapping[str, Any]
    batch: int
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
    enlarged: int | None = None
    views: int = 1
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    split: str = ""
    reported: str = ""
    left_open: str = ""

    @property
    def frozen(self) -> bool:
        """Whether nothing of the base is trained, so that it need run only once."""
        return self.trained == "head"

    def as_json(self) -> dict[str, Any]:
        """Return every value of the recipe in types that JSON has."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {
            "head": list(self.head),
            "optimizer": dict(self.optimizer),
            "options": dict(self.options),
            "augmentation": asdict(self.augmentation) if self.augmentation else None,
        }
