"""The recipes of the networks, as data: what is built, what is trained, on what pixels, for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any

from study.errors import StudyError

_CLINTON = "Clinton, Somes, Chu & Javed 2020, SMU Data Science Review 3(2) art. 4"
_DHURI = "Dhuri & Guinde 2020, Goa College of Engineering"


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
        architecture: A name in `cnn.architectures`.
        input_side: Side of the network's input, px.
        head: What follows the feature maps, in order: `average` or `flatten`, `dropout=RATE`, `dense=UNITS` (ReLU),
            and `sigmoid` or `softmax` for the output.
        optimizer: Name of a Keras optimiser and its arguments.
        batch: Images a step.
        epochs: Passes over the training part.
        pretrained: Whether the base starts from ImageNet weights.
        frozen: Whether the base is left as it is and only the head trained.
        frame: Side of the square cut from the middle of the image before resizing, px.
        augmentation: Random changes, or None.
        options: Further arguments of the architecture.
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
    pretrained: bool = False
    frozen: bool = False
    frame: int = 450
    augmentation: Augmentation | None = None
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    reported: str = ""
    left_open: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return every value of the recipe in types that JSON has."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        augmentation = asdict(self.augmentation) if self.augmentation else None
        return values | {
            "head": list(self.head),
            "optimizer": dict(self.optimizer),
            "options": dict(self.options),
            "augmentation": augmentation,
        }


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="clinton-lightxception",
            source=_CLINTON,
            description="light Xception from scratch, 1,248,060 parameters",
            architecture="lightxception",
            input_side=450,
            head=("average", "dropout=0.2", "sigmoid"),
            optimizer={"name": "SGD", "learning_rate": 0.02, "momentum": 0.4, "nesterov": True},
            batch=32,
            epochs=10,
            augmentation=Augmentation(rotation=30, shift=0.2, shear=0.2, zoom=0.2),
            reported="accuracy 91.07% in training, 82.53% in validation (15% of the images, split by image)",
            left_open="loss: binary cross-entropy; shear 0.2: radians; fill: nearest pixel",
        ),
        Recipe(
            name="dhuri-mobilenet",
            source=_DHURI,
            description="MobileNet from ImageNet, frozen; a head of 2048 units is trained",
            architecture="mobilenet",
            input_side=224,
            head=("average", "dropout=0.5", "dense=2048", "dropout=0.5", "softmax"),
            optimizer={"name": "SGD", "learning_rate": 1e-4, "momentum": 0.9},
            batch=32,
            epochs=100,
            pretrained=True,
            frozen=True,
            reported="accuracy 91.4% in test (70 images, balanced, split by image)",
            left_open="dropout: 0.5; which layers are trained: the head",
        ),
        Recipe(
            name="small-lightxception",
            source="leukobench",
            description="light Xception at 96 px for a few epochs: what a laptop trains in a minute; for the demo",
            architecture="lightxception",
            input_side=96,
            frame=320,
            head=("average", "dropout=0.2", "sigmoid"),
            optimizer={"name": "Adam", "learning_rate": 3e-4},
            batch=16,
            epochs=10,
            augmentation=Augmentation(rotation=180, flip=True, stain=0.2),
            options=MappingProxyType({"batch_norm_momentum": 0.9}),
        ),
    )
}


def recipe_named(name: str) -> Recipe:
    """Return a recipe.

    Raises:
        StudyError: no recipe of that name.
    """
    if name not in RECIPES:
        raise StudyError(f"no network recipe {name!r}; there is {', '.join(RECIPES)}")
    return RECIPES[name]
