"""An ONNX graph as it grows: every method adds nodes and returns the name of their result."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prernn_jax.errors import InputError

OPSET = 17
IR = 8
Shape = Sequence[int | str]


def require_onnx() -> Any:
    """The package onnx.

    Raises:
        InputError: It is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise InputError(
            "writing ONNX needs the package onnx: pip install 'prernn-jax[onnx]'"
        ) from None
    return onnx


class Graph:
    """Nodes and constants of a graph.

    Args:
        inside: The graph around this one, whose constants the nodes may use; None for the whole.
    """

    def __init__(self, inside: "Graph | None" = None) -> None:
        self.onnx = require_onnx()
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._outer: Graph = self if inside is None else inside._outer
        if inside is None:
            self.constants: list[Any] = []
            self._names: dict[str, int] = {}

    def name(self, wanted: str) -> str:
        """A name that nothing else has."""
        count = self._outer._names.get(wanted, 0)
        self._outer._names[wanted] = count + 1
        return f"{wanted}_{count}" if count else wanted

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """An array of the file."""
        name = self.name(name)
        array = np.ascontiguousarray(value)
        self._outer.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node; returns the name of its output, or a list of names where it has several."""
        names = [self.name(kind.lower()) for _ in range(outputs)]
        node = self.onnx.helper.make_node(kind, list(inputs), names, **attributes)
        self.nodes.append(node)
        return names[0] if outputs == 1 else names

    def input(self, name: str, shape: Shape) -> str:
        """A float32 input of the graph."""
        name = self.name(name)
        self.inputs.append(self._value(name, shape))
        return name

    def output(self, name: str, value: str, shape: Shape) -> str:
        """Makes a value an output of the graph under a name of its own."""
        name = self.name(name)
        self.nodes.append(self.onnx.helper.make_node("Identity", [value], [name]))
        self.outputs.append(self._value(name, shape))
        return name

    def _value(self, name: str, shape: Shape) -> Any:
        return self.onnx.helper.make_tensor_value_info(
            name, self.onnx.TensorProto.FLOAT, list(shape)
        )

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """To a shape with at most one -1."""
        wanted = self.constant("shape", np.array(shape, np.int64))
        return str(self.add("Reshape", x, wanted))

    def dense(self, x: str, kernel: NDArray[Any], bias: NDArray[Any] | None, name: str) -> str:
        """X (..., D) times a kernel (D, F), plus a bias."""
        y = self.add("MatMul", x, self.constant(f"{name}.kernel", kernel))
        if bias is not None:
            y = self.add("Add", y, self.constant(f"{name}.bias", bias))
        return str(y)

    def affine(self, x: str, factor: NDArray[Any], offset: NDArray[Any], name: str) -> str:
        """X times a factor plus an offset; both are broadcast."""
        y = self.add("Mul", x, self.constant(f"{name}.factor", factor))
        return str(self.add("Add", y, self.constant(f"{name}.offset", offset)))

    def body(self, name: str) -> Any:
        """The finished graph, for a node that runs it at every step."""
        return self.onnx.helper.make_graph(self.nodes, name, self.inputs, self.outputs)

    def model(self, name: str) -> Any:
        """The finished model, checked; `name` is that of the graph."""
        helper = self.onnx.helper
        graph = helper.make_graph(
            self.nodes, name, self.inputs, self.outputs, initializer=self.constants
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="prernn_jax",
        )
        self.onnx.checker.check_model(model)
        return model
