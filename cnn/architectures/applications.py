"""The networks that come from Keras Applications, ImageNet weights included, as one table.

| name           | source                                         |
|----------------|------------------------------------------------|
| vgg16, vgg19   | Simonyan & Zisserman 2014, arXiv 1409.1556     |
| resnet50       | He et al. 2015, arXiv 1512.03385               |
| inceptionv3    | Szegedy et al. 2015, arXiv 1512.00567          |
| xception       | Chollet 2016, arXiv 1610.02357                 |
| nasnetlarge    | Zoph et al. 2017, arXiv 1707.07012             |
| mobilenet      | Howard et al. 2017, arXiv 1704.04861           |
| efficientnetb1 | Tan & Le 2019, arXiv 1905.11946                |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from leukobench.cnn.architectures.pretrained import with_weights
from leukobench.cnn.backend import keras
from leukobench.cnn.pooling import averaged_down
from leukobench.core.errors import InputError


@dataclass(frozen=True)
class Application:
    """A network of Keras Applications.

    Attributes:
        function: What builds it.
        scaling: What its ImageNet weights expect of the pixels, a name in `leukobench.cnn.scaling`.
    """

    function: Callable[..., keras.Model]
    scaling: str


TABLE = {
    "vgg16": Application(keras.applications.VGG16, "caffe"),
    "vgg19": Application(keras.applications.VGG19, "caffe"),
    "resnet50": Application(keras.applications.ResNet50, "caffe"),
    "inceptionv3": Application(keras.applications.InceptionV3, "symmetric"),
    "xception": Application(keras.applications.Xception, "symmetric"),
    "nasnetlarge": Application(keras.applications.NASNetLarge, "symmetric"),
    "mobilenet": Application(keras.applications.MobileNet, "symmetric"),
    "efficientnetb1": Application(keras.applications.EfficientNetB1, "none"),  # scales by itself
}


def application(
    name: str, side: int, weights: str | None = None, *, until: str | Sequence[str] | None = None
) -> keras.Model:
    """Build a network of `TABLE` without its top.

    Args:
        name: Its name there.
        side: Side of the input, px.
        weights: A file, "imagenet" (downloaded by Keras), or None for random ones.
        until: Name of the layer that the network ends with; by default its last. What comes after the middle was
            learned for the things in photographs, and is worth less on cells (Raghu et al. 2019, arXiv 1902.07208). Of
            several layers the maps are put one behind the other, larger ones averaged down to the smallest.

    Raises:
        InputError: the weights cannot be had, or there is no such layer.
    """
    network = with_weights(TABLE[name].function, weights, input_shape=(side, side, 3), include_top=False, name=name)
    if until is None:
        return network
    found = {layer.name: layer.output for layer in network.layers if len(layer.output.shape) == 4}
    ends = [until] if isinstance(until, str) else [*until]
    for end in ends:
        if end not in found:
            raise InputError(f"options.until={end}: {name} has no such layer; its last are {', '.join([*found][-3:])}")
    return keras.Model(network.input, _side_by_side([found[end] for end in ends]), name=name)


def _side_by_side(maps: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
    """Return feature maps one behind the other, the larger ones averaged down to the size of the smallest."""
    smallest = min(of.shape[1] for of in maps)
    alike = [averaged_down(of, smallest) for of in maps]
    return keras.layers.Concatenate()(alike) if len(alike) > 1 else alike[0]


APPLICATIONS = {name: partial(application, name) for name in TABLE}
