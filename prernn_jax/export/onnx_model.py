"""A sequence model as an ONNX file: one step with its carry, or a whole sequence."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from prernn_jax.backbones.resnet import ResNet
from prernn_jax.errors import InputError
from prernn_jax.export.onnx_graph import Graph, Shape
from prernn_jax.export.onnx_networks import average, folded_norm, resnet_features, trunk
from prernn_jax.layers.cells import get_cell
from prernn_jax.layers.recurrent import Recurrent
from prernn_jax.layers.recurrent_conv import RecurrentConv
from prernn_jax.module_path import get_layer
from prernn_jax.preprocess import Preprocessing
from prernn_jax.sequence import SequenceModel

Kind = Literal["step", "sequence"]
_RELU = (nnx.relu, jax.nn.relu)


class Names(NamedTuple):
    """What the inputs and outputs of a file are called.

    Attributes:
        frames: The pictures: (B, H, W, C) of a step, (B, T, H, W, C) of a sequence, and an axis L
            before H for C3D.
        outputs: (B, K) or (B, T, K).
        carry: For each part of the carry its name as an input; (B, F). The output has `next_`
            before it.
        gates: Where asked for, one of each gate, (B, F) at a step.
    """

    frames: str
    outputs: str
    carry: tuple[str, ...]
    gates: tuple[str, ...]


def to_onnx(
    model: SequenceModel, frame_shape: Sequence[int], kind: Kind, *, gates: bool = False
) -> tuple[Any, Names]:
    """Writes the inference form of a model as an ONNX graph.

    The pictures come at the network's size, with the values 0 to 255 where the model has a
    preprocessing; the graph normalises them. Without one they come prepared.

    Args:
        model: A model made from one of our backbones, for evaluation.
        frame_shape: (H, W, C) of a picture, or (L, H, W, C).
        kind: One step, or a whole sequence of any length. The batch may have any size.
        gates: A step also gives out its gates.

    Returns:
        The `onnx.ModelProto` and its names.

    Raises:
        InputError: The package onnx is missing, or the model is of a kind that is not written.
    """
    if not isinstance(model, SequenceModel):
        raise InputError(
            f"--format=onnx writes models of VGG, C3D and ResNet; got a {type(model).__name__}: "
            "use --format=stablehlo"
        )
    graph = Graph()
    axes: Shape = ["batch"] if kind == "step" else ["batch", "time"]
    frames = graph.input("frames", [*axes, *frame_shape])
    carries = [_carry_inputs(graph, layer, i) for i, layer in enumerate(model.recurrent_layers)]
    writer = _Writer(graph, kind, frames, frame_shape, gates)
    x = graph.reshape(frames, [-1, *frame_shape])
    preprocess = getattr(model.backbone, "preprocess", None)
    if preprocess is not None:
        x = _normalised(graph, preprocess, x, frame_shape)
    y = _head(writer, model, trunk(graph, model.backbone, x), carries)
    last = get_layer(model.backbone, model.backbone.head[-1].name)
    outputs = graph.output("outputs", y, [*axes, last.out_features])
    names = [name for parts in carries for name in parts]
    for name, value, size in zip(names, writer.after, writer.sizes, strict=True):
        graph.output(f"next_{name}", value, ["batch", size])
    found = [graph.output(name, value, ["batch", size]) for name, value, size in writer.gates]
    return graph.model(f"prernn_{kind}"), Names(frames, outputs, tuple(names), tuple(found))


def _carry_inputs(graph: Graph, layer: Recurrent, number: int) -> list[str]:
    parts = ("h", "c")[: get_cell(layer.cell).carry_parts]
    return [graph.input(f"carry_{number}_{part}", ["batch", layer.features]) for part in parts]


def _normalised(graph: Graph, preprocess: Preprocessing, x: str, shape: Sequence[int]) -> str:
    """What `preprocess.normalise` does with frames of the network's size."""
    if preprocess.channels == "bgr":
        order = graph.constant("order", np.arange(shape[-1])[::-1].astype(np.int64))
        x = graph.add("Gather", x, order, axis=-1)
    x = graph.add("Mul", x, graph.constant("scale", np.array(preprocess.scale, np.float32)))
    mean: NDArray[Any] = np.asarray(preprocess.mean, np.float32)
    if preprocess.mean_volume is not None:
        zeros = np.zeros((1, *shape), np.float32)
        # The preprocessing alone knows which part of the volume belongs to pictures of this size.
        plain = Preprocessing(channels="flow", mean_volume=preprocess.mean_volume)
        mean = -np.asarray(plain.normalise(zeros))[0]
    x = graph.add("Sub", x, graph.constant("mean", mean))
    return str(graph.add("Div", x, graph.constant("std", np.asarray(preprocess.std, np.float32))))


class _Writer:
    """Recurrent layers of a graph, and what they leave behind."""

    def __init__(
        self, graph: Graph, kind: Kind, frames: str, frame_shape: Sequence[int], gates: bool
    ) -> None:
        self.graph, self.kind, self.wants_gates = graph, kind, gates and kind == "step"
        self.after: list[str] = []
        self.sizes: list[int] = []
        self.gates: list[tuple[str, str, int]] = []
        if kind == "sequence":
            start, stop, axis = (
                graph.constant(name, np.array([value], np.int64))
                for name, value in (("start", 0), ("stop", 2), ("axis", 0))
            )
            self._batch_time = graph.add("Slice", graph.add("Shape", frames), start, stop, axis)

    def unfold(self, x: str, features: int) -> str:
        """(B T, F) -> (B, T, F); a step stays as it is."""
        if self.kind == "step":
            return x
        size = self.graph.constant("size", np.array([features], np.int64))
        shape = self.graph.add("Concat", self._batch_time, size, axis=0)
        return str(self.graph.add("Reshape", x, shape))

    def fold(self, x: str, features: int) -> str:
        """(B, T, F) -> (B T, F)."""
        return x if self.kind == "step" else self.graph.reshape(x, [-1, features])

    def recurrent(self, layer: Recurrent, projected: str, carry: Sequence[str], name: str) -> str:
        """A layer over time, from its input-to-hidden product (B T, G F).

        Args:
            layer: The layer.
            projected: The product, bias included.
            carry: The names of its state.
            name: What its weights are called.

        Returns:
            What it hands on: (B, T, F), or (B, F) at a step.
        """
        graph = self.graph
        cell = get_cell(layer.cell)
        if layer.readout is not None and layer.readout not in _RELU:
            raise InputError(f"the readout of {name} is {layer.readout}; --format=onnx knows ReLU")
        kernel = np.asarray(layer.recurrent_kernel[...], np.float32)  # (G, F, F)
        groups = [(0, 2), (2, 3)] if cell.name.startswith("gru") else [(0, cell.gates)]
        weights = [
            graph.constant(
                f"{name}.recurrent_kernel",
                kernel[a:b].transpose(2, 0, 1).reshape(layer.features, -1),
            )
            for a, b in groups
        ]
        self.sizes += [layer.features] * len(carry)
        if self.kind == "step":
            after, gates = _cell(graph, layer, projected, carry, weights)
            if self.wants_gates:
                self.gates += [(f"gate_{name}_{k}", v, layer.features) for k, v in gates.items()]
            y = after[0]
        else:
            y, after = self._scan(layer, projected, carry, weights)
        self.after += after
        return y if layer.readout is None else str(graph.add("Relu", y))

    def _scan(
        self, layer: Recurrent, projected: str, carry: Sequence[str], weights: Sequence[str]
    ) -> tuple[str, list[str]]:
        size, width = layer.features, layer.blocks * layer.features
        body = Graph(inside=self.graph)
        state = [body.input("state", ["batch", size]) for _ in carry]
        row = body.input("row", ["batch", width])
        after, _ = _cell(body, layer, row, state, weights)
        for value in [*after, after[0]]:
            body.output("after", value, ["batch", size])
        *last, y = self.graph.add(
            "Scan",
            *carry,
            self.unfold(projected, width),
            outputs=len(carry) + 1,
            body=body.body(self.graph.name("step_of_scan")),
            num_scan_inputs=1,
            scan_input_axes=[1],
            scan_output_axes=[1],
        )
        return y, last


def _cell(
    graph: Graph, layer: Recurrent, projected: str, carry: Sequence[str], weights: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """One step of a cell (`prernn_jax.layers.cells`); the next carry, and the gates by name."""
    cell, size = get_cell(layer.cell), layer.features

    def split(x: str, parts: int) -> list[str]:
        if parts == 1:
            return [x]
        sizes = graph.constant("sizes", np.full(parts, size, np.int64))
        names: list[str] = graph.add("Split", x, sizes, outputs=parts, axis=-1)
        return names

    def sums(gates: Sequence[int], value: str, kernel: str) -> list[str]:
        products = split(graph.add("MatMul", value, kernel), len(gates))
        return [graph.add("Add", rows[g], u) for g, u in zip(gates, products, strict=True)]

    rows = split(projected, cell.gates) if not layer.shared else [projected] * cell.gates
    h = carry[0]
    if cell.name == "vrnn":
        (row,) = sums([0], h, weights[0])
        return [graph.add("Relu", row)], {}
    if cell.name == "lstm":
        raw = sums([0, 1, 2, 3], h, weights[0])
        i, f, o = (graph.add("Sigmoid", raw[place]) for place in (0, 1, 3))
        g = graph.add("Tanh", raw[2])
        c = graph.add("Add", graph.add("Mul", f, carry[1]), graph.add("Mul", i, g))
        return [graph.add("Mul", o, graph.add("Tanh", c)), c], {"i": i, "f": f, "o": o}
    r, z = (graph.add("Sigmoid", row) for row in sums([0, 1], h, weights[0]))
    (row,) = sums([2], graph.add("Mul", r, h), weights[1])
    n = graph.add("Tanh", row)
    new, old = (n, h) if cell.name == "gru" else (h, n)
    one = graph.constant("one", np.array(1, np.float32))
    kept = graph.add("Mul", graph.add("Sub", one, z), old)
    return [graph.add("Add", kept, graph.add("Mul", z, new))], {"r": r, "z": z}


def _project(graph: Graph, layer: Recurrent, x: Any, name: str) -> str:
    """The input-to-hidden map: (N, D), or a ResNet's pair -> (N, G F)."""
    kernel = np.asarray(layer.kernel[...], np.float32)
    if not isinstance(layer, RecurrentConv):
        return graph.dense(x, kernel, np.asarray(layer.bias[...], np.float32), name)
    inputs, shortcut = x
    y = graph.dense(average(graph, inputs), kernel, None, name)
    y = graph.affine(y, *folded_norm(layer.norm), f"{name}.norm")
    beside = average(graph, shortcut)
    if layer.blocks > 1:
        beside = graph.add("Concat", *[beside] * layer.blocks, axis=-1)
    return str(graph.add("Add", y, beside))


def _head(writer: _Writer, model: SequenceModel, x: Any, carries: Sequence[Sequence[str]]) -> str:
    """From what the trunk gave to the outputs, (B, K) or (B, T, K)."""
    graph, backbone = writer.graph, model.backbone
    *hidden, output = backbone.head
    states = iter(carries)
    if isinstance(backbone, ResNet) and not model.converted:
        x, hidden = resnet_features(graph, backbone, *x), []
    for entry in hidden:
        layer = get_layer(backbone, entry.name)
        if entry.name in model.converted:
            y = writer.recurrent(
                layer, _project(graph, layer, x, entry.name), next(states), entry.name
            )
            x = writer.fold(y, layer.features)
            continue
        x = _linear(graph, layer, x, entry.name)
        if entry.activation is not None:
            if entry.activation not in _RELU:
                raise InputError(
                    f"{entry.name} is followed by {entry.activation}, which is no ReLU"
                )
            x = graph.add("Relu", x)
    for number, layer in enumerate(model.extra):
        name = f"extra.{number}"
        y = writer.recurrent(layer, _project(graph, layer, x, name), next(states), name)
        x = writer.fold(y, layer.features)
    last = get_layer(backbone, output.name)
    return writer.unfold(_linear(graph, last, x, output.name), last.out_features)


def _linear(graph: Graph, layer: nnx.Linear, x: str, name: str) -> str:
    bias = None if layer.bias is None else np.asarray(layer.bias[...], np.float32)
    return graph.dense(x, np.asarray(layer.kernel[...], np.float32), bias, name)
