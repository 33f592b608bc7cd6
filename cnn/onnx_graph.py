"""A trained network as an ONNX graph, built from its Keras layers, whichever backend trained it.

Feature maps have their channels second in the graph, as ONNX has it, and last in Keras. Numbers are of 32 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from leukobench.cnn.backend import keras
from leukobench.cnn.epochs import orient
from leukobench.core.errors import InputError
from leukobench.results.calibration import Calibration
from leukobench.results.onnx_graph import Graph, axes

_TO_ONNX, _TO_KERAS = (0, 3, 1, 2), (0, 2, 3, 1)  # orders of the axes of feature maps


def add_network(
    graph: Graph, network: keras.Model, images: str, views: int, calibration: Calibration | None
) -> tuple[str, str]:
    """Add a network to a graph; return the names of its raw score and of its score. [shape=(n,) each, 64 bits]

    Args:
        graph: The graph.
        network: The network.
        images: Name of the pixels. [shape=(n, side, side, 3), uint8]
        views: Number of views that the score is the mean over, see `leukobench.cnn.epochs.orient`.
        calibration: Calibration on validation.

    Raises:
        InputError: the network has a layer that none of leukobench has.
    """
    side = network.input.shape[1]
    pixels = graph.add("Cast", _oriented(graph, images, side, views), to=graph.onnx.TensorProto.FLOAT)
    outputs = add_model(graph, network, graph.add("Transpose", pixels, perm=_TO_ONNX))
    last = graph.constant(np.array(network.output.shape[-1] - 1))
    wide = graph.add("Cast", graph.add("Gather", outputs, last, axis=1), to=graph.onnx.TensorProto.DOUBLE)
    by_view = graph.add("Reshape", wide, axes(graph, [views, -1]))
    raw_score = graph.add("ReduceMean", by_view, axes(graph, [0]), keepdims=0)
    return raw_score, graph.calibrate(raw_score, calibration)


def add_model(graph: Graph, model: keras.Model, value: str) -> str:
    """Add a Keras model of one input and one output to a graph, and return the name of its output."""
    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            value = _add(graph, layer, [value])
        return value
    config = model.get_config()
    operations = {operation.name: operation for operation in model.operations}
    values: dict[str, str] = {}
    waiting = list(config["layers"])
    while waiting:
        for entry in list(waiting):
            name = entry["name"]
            if not entry["inbound_nodes"]:
                values[name] = value
            else:
                call = entry["inbound_nodes"][0]
                given = _arguments([*call["args"], *call["kwargs"].values()])
                if any(isinstance(each, _Output) and each.layer not in values for each in given):
                    continue
                known = [values[each.layer] if isinstance(each, _Output) else each for each in given]
                values[name] = _add(graph, operations[name], known)
            waiting.remove(entry)
    return values[model.output._keras_history.operation.name]


class _Output:
    """The output of a layer, as an argument of another."""

    def __init__(self, layer: str) -> None:
        self.layer = layer


def _arguments(arguments: Sequence[Any]) -> list[Any]:
    """Return the outputs and numbers among the arguments of a layer, lists in the order of their values."""
    found: list[Any] = []
    for each in arguments:
        if isinstance(each, dict) and each.get("class_name") == "__keras_tensor__":
            found.append(_Output(each["config"]["keras_history"][0]))
        elif isinstance(each, list | tuple):
            found += _arguments(each)
        elif isinstance(each, int | float) and not isinstance(each, bool):
            found.append(each)
    return found


def _oriented(graph: Graph, images: str, side: int, views: int) -> str:
    """Add the views of images, all images of the first view first."""
    if views == 1:
        return images
    places = np.arange(side * side).reshape(1, side, side, 1)
    flat = graph.add("Reshape", images, axes(graph, [-1, side * side, 3]))
    seen = [
        graph.add("Gather", flat, graph.constant(orient(places, np.array([view])).ravel()), axis=1)
        for view in range(views)
    ]
    return graph.add("Reshape", graph.add("Concat", *seen, axis=0), axes(graph, [-1, side, side, 3]))


def _add(graph: Graph, layer: Any, values: list[Any]) -> str:
    if isinstance(layer, keras.Model):
        return add_model(graph, layer, values[0])
    kind = type(layer).__name__
    if kind not in LAYERS:
        raise InputError(f"the network has a layer {kind}, which cannot be written as ONNX")
    return LAYERS[kind](graph, layer, values)


def _float(graph: Graph, value: Any) -> str:
    return graph.constant(np.asarray(value), np.float32)


def _channels(graph: Graph, layer: Any, value: Any) -> str:
    """Add a constant that is a number, or one number a channel, for the rank of the layer's output."""
    array = np.asarray(value, np.float32)
    return _float(graph, array.reshape(-1, 1, 1) if array.size > 1 and len(layer.output.shape) == 4 else array)


def _activated(graph: Graph, name: str, value: str, rank: int) -> str:
    if name == "linear":
        return value
    if name == "relu6":
        return graph.add("Clip", value, _float(graph, 0.0), _float(graph, 6.0))
    if name in ("silu", "swish"):
        return graph.add("Mul", value, graph.add("Sigmoid", value))
    if name == "softmax":
        return graph.add("Softmax", value, axis=1 if rank == 4 else -1)
    if name in ("relu", "sigmoid", "tanh"):
        return graph.add(name.capitalize(), value)
    raise InputError(f"the network has the activation {name}, which cannot be written as ONNX")


def _activation(graph: Graph, layer: Any, value: str) -> str:
    return _activated(graph, layer.activation.__name__, value, len(layer.output.shape))


def _pads(layer: Any, size: Sequence[int], strides: Sequence[int], dilation: Sequence[int] = (1, 1)) -> list[int]:
    """Return the padding of a convolution or pooling: top, left, bottom, right."""
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    given = layer.input.shape[1:3]
    totals = [
        max((math.ceil(of / step) - 1) * step + (kernel - 1) * apart + 1 - of, 0)
        for of, kernel, step, apart in zip(given, size, strides, dilation, strict=True)
    ]
    return [*(total // 2 for total in totals), *(total - total // 2 for total in totals)]


def _convolved(graph: Graph, layer: Any, value: str, kernel: np.ndarray, bias: Any, group: int = 1) -> str:
    """Add a convolution. kernel: [shape=(outputs, inputs of a group, height, width)]"""
    inputs = [value, _float(graph, kernel)] + ([] if bias is None else [_float(graph, bias)])
    strides, dilations = list(layer.strides), list(layer.dilation_rate)
    pads = _pads(layer, kernel.shape[2:], strides, dilations)
    return graph.add("Conv", *inputs, group=group, pads=pads, strides=strides, dilations=dilations)


def _numbers(variable: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).astype(np.float32)


def _bias(layer: Any) -> np.ndarray | None:
    return _numbers(layer.bias) if layer.use_bias else None


def _conv(graph: Graph, layer: Any, values: list[Any]) -> str:
    kernel = _numbers(layer.kernel).transpose(3, 2, 0, 1)
    return _activation(graph, layer, _convolved(graph, layer, values[0], kernel, _bias(layer), layer.groups))


def _depthwise_kernel(kernel: Any) -> np.ndarray:
    height, width, channels, multiplier = kernel.shape
    return _numbers(kernel).transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)


def _depthwise(graph: Graph, layer: Any, values: list[Any]) -> str:
    kernel = _depthwise_kernel(layer.kernel)
    return _activation(graph, layer, _convolved(graph, layer, values[0], kernel, _bias(layer), layer.kernel.shape[2]))


def _separable(graph: Graph, layer: Any, values: list[Any]) -> str:
    kernel = _depthwise_kernel(layer.depthwise_kernel)
    value = _convolved(graph, layer, values[0], kernel, None, layer.depthwise_kernel.shape[2])
    inputs = [value, _float(graph, _numbers(layer.pointwise_kernel).transpose(3, 2, 0, 1))]
    bias = _bias(layer)
    return _activation(graph, layer, graph.add("Conv", *inputs, *([] if bias is None else [_float(graph, bias)])))


def _dense(graph: Graph, layer: Any, values: list[Any]) -> str:
    value, bias = graph.add("MatMul", values[0], _float(graph, _numbers(layer.kernel))), _bias(layer)
    return _activation(graph, layer, value if bias is None else graph.add("Add", value, _float(graph, bias)))


def _batch_normalization(graph: Graph, layer: Any, values: list[Any]) -> str:
    mean, variance = _numbers(layer.moving_mean), _numbers(layer.moving_variance)
    scale = _numbers(layer.gamma) if layer.scale else np.ones_like(mean)
    shift = _numbers(layer.beta) if layer.center else np.zeros_like(mean)
    constants = [_float(graph, each) for each in (scale, shift, mean, variance)]
    return graph.add("BatchNormalization", values[0], *constants, epsilon=float(layer.epsilon))


def _normalization(graph: Graph, layer: Any, values: list[Any]) -> str:
    mean, variance = (np.ravel(keras.ops.convert_to_numpy(each)) for each in (layer.mean, layer.variance))
    deviation = np.maximum(np.sqrt(variance), keras.backend.epsilon())
    centred = graph.add("Sub", values[0], _channels(graph, layer, mean))
    return graph.add("Div", centred, _channels(graph, layer, deviation))


def _relu(graph: Graph, layer: Any, values: list[Any]) -> str:
    if layer.negative_slope or layer.threshold:
        raise InputError("the network has a ReLU with a slope or a threshold, which cannot be written as ONNX")
    value = graph.add("Relu", values[0])
    return value if layer.max_value is None else graph.add("Min", value, _float(graph, layer.max_value))


def _rescaling(graph: Graph, layer: Any, values: list[Any]) -> str:
    scaled = graph.add("Mul", values[0], _channels(graph, layer, layer.scale))
    return graph.add("Add", scaled, _channels(graph, layer, layer.offset))


def _pooling(operator: str) -> Callable[[Graph, Any, list[Any]], str]:
    def add(graph: Graph, layer: Any, values: list[Any]) -> str:
        size, strides = list(layer.pool_size), list(layer.strides)
        return graph.add(operator, values[0], kernel_shape=size, strides=strides, pads=_pads(layer, size, strides))

    return add


def _global_average(graph: Graph, layer: Any, values: list[Any]) -> str:
    return graph.add("ReduceMean", values[0], axes(graph, [2, 3]), keepdims=int(layer.keepdims))


def _reshaped(graph: Graph, layer: Any, values: list[Any]) -> str:
    """Add Flatten or Reshape, in Keras' order of the axes."""
    value, shape = values[0], layer.output.shape[1:]
    if len(layer.input.shape) == 4:
        value = graph.add("Transpose", value, perm=_TO_KERAS)
    value = graph.add("Reshape", value, axes(graph, [-1, *shape]))
    return graph.add("Transpose", value, perm=_TO_ONNX) if len(shape) == 3 else value


def _padded(graph: Graph, layer: Any, values: list[Any]) -> str:
    (top, bottom), (left, right) = layer.padding
    return graph.add("Pad", values[0], axes(graph, [0, 0, top, left, 0, 0, bottom, right]))


def _cropped(graph: Graph, layer: Any, values: list[Any]) -> str:
    (top, bottom), (left, right) = layer.cropping
    height, width = layer.input.shape[1:3]
    ends = axes(graph, [height - bottom, width - right])
    return graph.add("Slice", values[0], axes(graph, [top, left]), ends, axes(graph, [2, 3]))


def _axes_of(layer: Any) -> list[int]:
    """Return the axes of an operation on feature maps, in the order that ONNX has."""
    given = [layer.axis] if isinstance(layer.axis, int) else layer.axis
    return [_TO_KERAS[axis % 4] for axis in given]


def _any(graph: Graph, layer: Any, values: list[Any]) -> str:
    number = graph.add("Cast", values[0], to=graph.onnx.TensorProto.FLOAT)
    found = graph.add("ReduceMax", number, axes(graph, _axes_of(layer)), keepdims=int(layer.keepdims))
    return graph.add("Cast", found, to=graph.onnx.TensorProto.BOOL)


def _mean(graph: Graph, layer: Any, values: list[Any]) -> str:
    return graph.add("ReduceMean", values[0], axes(graph, _axes_of(layer)), keepdims=int(layer.keepdims))


def _flip(graph: Graph, layer: Any, values: list[Any]) -> str:
    (axis,) = _axes_of(layer)
    size = layer.output.shape[layer.axis]
    return graph.add("Gather", values[0], graph.constant(np.arange(size)[::-1]), axis=axis)


def _resized(graph: Graph, layer: Any, values: list[Any]) -> str:
    """Add a resizing, which is linear along each axis, as two matrix products."""
    matrices = []
    for axis in (1, 2):
        before, after = layer.input.shape[axis], layer.output.shape[axis]
        rows = keras.ops.image.resize(
            np.eye(before, dtype=np.float32)[None, :, :, None], (after, before), antialias=layer.antialias
        )
        matrices.append(keras.ops.convert_to_numpy(rows)[0, :, :, 0])
    down = graph.add("MatMul", _float(graph, matrices[0]), values[0])
    return graph.add("MatMul", down, _float(graph, matrices[1].T))


def _with_numbers(operator: str) -> Callable[[Graph, Any, list[Any]], str]:
    def add(graph: Graph, layer: Any, values: list[Any]) -> str:
        return graph.add(operator, *(each if isinstance(each, str) else _float(graph, each) for each in values))

    return add


def _folded(operator: str) -> Callable[[Graph, Any, list[Any]], str]:
    def add(graph: Graph, layer: Any, values: list[Any]) -> str:
        result = values[0]
        for each in values[1:]:
            result = graph.add(operator, result, each)
        return result

    return add


def _same(graph: Graph, layer: Any, values: list[Any]) -> str:
    return values[0]


# of every layer and operation that `leukobench.cnn.stored` allows
LAYERS: Mapping[str, Callable[[Graph, Any, list[Any]], str]] = {
    "Activation": lambda graph, layer, values: _activation(graph, layer, values[0]),
    "Add": _folded("Add"),
    "Any": _any,
    "AveragePooling2D": _pooling("AveragePool"),
    "BatchNormalization": _batch_normalization,
    "Cast": lambda graph, layer, values: graph.add("Cast", values[0], to=graph.onnx.TensorProto.FLOAT),
    "Concatenate": lambda graph, layer, values: graph.add("Concat", *values, axis=1),
    "Conv2D": _conv,
    "Cropping2D": _cropped,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Dropout": _same,
    "Flatten": _reshaped,
    "Flip": _flip,
    "GlobalAveragePooling2D": _global_average,
    "Greater": _with_numbers("Greater"),
    "Identity": _same,
    "InputLayer": _same,
    "MaxPooling2D": _pooling("MaxPool"),
    "Maximum": _with_numbers("Max"),
    "Mean": _mean,
    "Multiply": _folded("Mul"),
    "Normalization": _normalization,
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Reshape": _reshaped,
    "Resize": _resized,
    "SeparableConv2D": _separable,
    "TrueDivide": _with_numbers("Div"),
    "ZeroPadding2D": _padded,
}
