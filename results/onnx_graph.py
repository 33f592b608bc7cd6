"""Building ONNX models: nodes by name, the calibration as operators, and what the file says of itself.

Only standard operators are used, so that any ONNX runtime can run the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import leukobench
from leukobench.core.errors import InputError
from leukobench.core.files import whole_file
from leukobench.results.calibration import DECIMALS, Calibration

OPSET, IR = 18, 9  # ONNX Runtime 1.16 and later read them


class Graph:
    """A graph under construction; a value is known by its name."""

    def __init__(self) -> None:
        """Begin an empty graph.

        Raises:
            InputError: the package onnx is not installed.
        """
        try:
            import onnx
        except ImportError:
            raise InputError("export to ONNX needs an extra: pip install 'leukobench[onnx]'") from None
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Add a constant, and return its name."""
        array = np.ascontiguousarray(value, dtype)
        array = array.reshape(np.shape(value))
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add an operator, and return the name of its output."""
        name = name or f"{operator}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [name], name=f"node_{name}", **attributes))
        return name

    def apply(self, operator: str, value: str, other: Any) -> str:
        """Add an operator of a value of 64 bits and a constant."""
        return self.add(operator, value, self.constant(other, np.float64))

    def calibrate(self, raw_score: str, calibration: Calibration | None) -> str:
        """Add `leukobench.results.calibration.calibrated` of a probability of 64 bits."""
        if calibration is None:
            return raw_score
        least, scale = 10.0**-DECIMALS / 2, 10.0**DECIMALS
        rounded = self.apply("Div", self.add("Round", self.apply("Mul", raw_score, scale)), scale)
        limits = self.constant(least, np.float64), self.constant(1 - least, np.float64)
        clipped = self.add("Clip", rounded, *limits)
        odds = self.add("Div", clipped, self.add("Sub", self.constant(1.0, np.float64), clipped))
        logits = self.apply("Mul", self.add("Log", odds), calibration.slope)
        return self.add("Sigmoid", self.apply("Add", logits, calibration.intercept))

    def write(self, path: Path, given: Any, raw_score: str, score: str, facts: Mapping[str, Any]) -> None:
        """Write the model: one input, the outputs `score` and `raw_score`, and facts as metadata.

        Args:
            path: The file.
            given: Name, element type and shape of the input.
            raw_score: The probability of `all` before calibration, of 64 bits. [shape=(n,)]
            score: The calibrated one. [shape=(n,)]
            facts: Metadata by name; what is not text is written as JSON.
        """
        helper, double = self.onnx.helper, self.onnx.TensorProto.DOUBLE
        for name, value in (("score", score), ("raw_score", raw_score)):
            self.add("Identity", value, name=name)
        name, kind, shape = given
        model = helper.make_model(
            helper.make_graph(
                self.nodes,
                "leukobench",
                [helper.make_tensor_value_info(name, kind, ["n", *shape])],
                [helper.make_tensor_value_info(each, double, ["n"]) for each in ("score", "raw_score")],
                self.constants,
            ),
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="leukobench",
            producer_version=leukobench.__version__,
        )
        model.ir_version = IR
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
        helper.set_model_props(model, texts)
        self.onnx.checker.check_model(model)
        with whole_file(path) as partial:
            partial.write_bytes(model.SerializeToString())


def axes(graph: Graph, numbers: Sequence[int]) -> str:
    """Add a list of axes."""
    return graph.constant(np.array(numbers, np.int64))
