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
        function: The function that builds it.
        scaling: Scaling of the pixels that its ImageNet weights expect, a name in `leukobench.cnn.scaling`.
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
    "efficientnetb1": Application(keras.applications.EfficientNetB1, "none"),  # has a scaling layer of its own
}


def application(
    name: str, side: int, weights: str | None = None, *, until: str | Sequence[str] | None = None
) -> keras.Model:
    """Build a network of `TABLE` without its top.

    Args:
        name: Its name there.
        side: Side of the input, px.
        weights: A file, "imagenet" (downloaded by Keras), or None for random ones.
        until: Name of the layer that the network ends with; by default its last. Later layers are specific to the
            objects in photographs and transfer less to cells (Raghu et al. 2019, arXiv 1902.07208). The maps of several
            layers are concatenated, larger ones averaged down to the size of the smallest.

    Raises:
        InputError: the weights are not available, or there is no such layer.
    """
    network = with_weights(TABLE[name].function, weights, input_shape=(side, side, 3), include_top=False, name=name)
    if until is None:
        return network
    found = {layer.name: layer.output for layer in network.layers if len(layer.output.shape) == 4}
    ends = [until] if isinstance(until, str) else [*until]
    for end in ends:
        if end not in found:
            raise InputError(
                f"options.until={end}: {name} has no such layer; its last layers are {', '.join([*found][-3:])}"
            )
    return keras.Model(network.input, _concatenated([found[end] for end in ends]), name=name)


def _concatenated(maps: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
    """Concatenate feature maps, the larger ones averaged down to the size of the smallest."""
    smallest = min(of.shape[1] for of in maps)
    resized = [averaged_down(of, smallest) for of in maps]
    return keras.layers.Concatenate()(resized) if len(resized) > 1 else resized[0]


APPLICATIONS = {name: partial(application, name) for name in TABLE}
