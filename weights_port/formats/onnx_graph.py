"""The graph of an ONNX file in our words, and its matrices in PyTorch's order."""

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from weights_port.formats.source import Kind, Node

_KINDS: dict[str, Kind] = {
    "Conv": "conv", "Gemm": "dense", "MatMul": "dense", "BatchNormalization": "batch_norm",
    "MaxPool": "pool", "AveragePool": "pool", "GlobalAveragePool": "pool", "GlobalMaxPool": "pool",
    "ReduceMean": "pool", "Relu": "relu", "Flatten": "flatten", "Reshape": "flatten",
    "Concat": "concat",
}  # fmt: skip
_INT, _FLOAT, _STRING, _INTS = 2, 1, 3, 7  # types of an attribute


def make_graph(
    nodes: Iterable[Any], arrays: dict[str, np.ndarray], constants: Collection[str]
) -> tuple[tuple[Node, ...], list[str]]:
    """The nodes in our words.

    Matrices that the file keeps as (inputs, outputs) are turned in `arrays`. A bias that the file
    adds in a node of its own joins the layer before it.

    Args:
        nodes: Of the file.
        arrays: Its weights by key.
        constants: Its other constants, which are no inputs of a layer.

    Returns:
        The nodes, and the keys of the arrays that were turned.
    """
    same: dict[str, str] = {}  # what an Identity hands on -> the array
    turned: list[str] = []
    graph: list[Node] = []
    writer: dict[str, int] = {}  # value -> place of its node in the graph
    for node in nodes:
        word, outputs = text(node.op_type), tuple(text(name) for name in node.output)
        keys = [same.get(text(name), text(name)) for name in node.input]
        if word == "Identity" and keys and keys[0] in arrays:
            same |= dict.fromkeys(outputs, keys[0])
            continue
        if word == "Constant":
            continue
        own = tuple(key for key in keys if key in arrays)
        inputs = tuple(k for k in keys if k and k not in arrays and k not in constants)
        attributes = {"type": word} | _plain(node)
        if word == "Add" and len(own) == len(inputs) == 1:
            before = writer.get(inputs[0])
            if before is not None and _takes_bias(graph[before], arrays, own[0]):
                old = graph[before]
                graph[before] = old._replace(arrays=(*old.arrays, *own), outputs=outputs)
                writer |= dict.fromkeys(outputs, before)
                continue
        kind = _kind(word, own, inputs, attributes)
        matrix = kind == "dense" and _is_turned(arrays[own[0]], attributes)
        if matrix and own[0] not in turned:
            turned.append(own[0])
            arrays[own[0]] = arrays[own[0]].T
        writer |= dict.fromkeys(outputs, len(graph))
        attributes = _normal(kind, attributes, own, arrays)
        graph.append(Node(text(node.name), kind, inputs, outputs, own, attributes))
    return tuple(graph), turned


def text(value: str | bytes) -> str:
    """A text of the file; what is no UTF-8 comes as bytes."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _plain(node: Any) -> dict[str, Any]:
    """The attributes that are numbers, lists of numbers or texts."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.type == _INT:
            found[text(attribute.name)] = attribute.i
        elif attribute.type == _FLOAT:
            found[text(attribute.name)] = attribute.f
        elif attribute.type == _STRING:
            found[text(attribute.name)] = attribute.s.decode("utf-8", "replace")
        elif attribute.type == _INTS:
            found[text(attribute.name)] = tuple(attribute.ints[:16])
    return found


def _kind(
    word: str, own: tuple[str, ...], inputs: tuple[str, ...], attributes: dict[str, Any]
) -> Kind:
    if word in ("Add", "Sum") and not own and len(inputs) > 1:
        return "add"
    kind = _KINDS.get(word, "other")
    return "other" if kind in ("conv", "dense", "batch_norm") and not own else kind


def _is_turned(matrix: np.ndarray, attributes: dict[str, Any]) -> bool:
    """Whether a layer's matrix stands as (inputs, outputs) in the file."""
    if matrix.ndim != 2:
        return False
    return attributes["type"] == "MatMul" or not attributes.get("transB", 0)


def _takes_bias(node: Node, arrays: dict[str, np.ndarray], bias: str) -> bool:
    """Whether a layer has a kernel only, to whose outputs this array fits as a bias."""
    if node.kind not in ("conv", "dense") or len(node.arrays) != 1:
        return False
    outputs, array = arrays[node.arrays[0]].shape[0], arrays[bias]
    if array.size != outputs or max(array.shape) != outputs:
        return False
    arrays[bias] = array.reshape(-1)
    return True


def _normal(
    kind: Kind, found: dict[str, Any], own: tuple[str, ...], arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    """ONNX's attributes under the names and with the defaults that `Node` has."""
    word = found["type"]
    if kind == "batch_norm":
        return {"type": word, "eps": found.get("epsilon", 1e-5)}
    if kind in ("concat", "flatten"):
        return {"type": word, "axis": found.get("axis", 1)}
    if kind not in ("conv", "pool"):
        return found
    kernel = arrays[own[0]].shape[2:] if kind == "conv" else found.get("kernel_shape", ())
    axes = len(kernel)
    pads = found.get("pads", (0,) * (2 * axes))
    even = pads[: len(pads) // 2] == pads[len(pads) // 2 :]
    result = {
        "type": word,
        "kernel": kernel,
        "stride": found.get("strides", (1,) * axes),
        "pad": pads[: len(pads) // 2] if even else pads,
        "dilation": found.get("dilations", (1,) * axes),
        "group": found.get("group", 1),
    }
    if found.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        result["auto_pad"] = found["auto_pad"]
    if kind == "pool":
        result["operation"] = "max" if "Max" in word else "average"
        result["ceil_mode"] = bool(found.get("ceil_mode", 0))
        result["global"] = "Global" in word or word == "ReduceMean"
    return result
