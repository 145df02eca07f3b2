"""The graph of a Caffe network: what each layer does, what it reads and what it writes."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from weights_port.formats.source import Kind, Node

# BVLC's numbers of V1 types; 30 is C3D-v1.0's (BVLC's ARGMAX has no weights).
V1_TYPES = {
    3: "Concat", 4: "Convolution", 5: "Data", 6: "Dropout", 8: "Flatten", 14: "InnerProduct",
    15: "LRN", 17: "Pooling", 18: "ReLU", 20: "Softmax", 21: "SoftmaxWithLoss", 22: "Split",
    25: "Eltwise", 30: "Convolution3D", 33: "Slice", 39: "Deconvolution",
}  # fmt: skip
_V0_TYPES = {
    "concat": "Concat", "conv": "Convolution", "flatten": "Flatten", "innerproduct": "InnerProduct",
    "pool": "Pooling", "relu": "ReLU", "eltwise": "Eltwise",
}  # fmt: skip
_KINDS: dict[str, Kind] = {
    "Convolution": "conv", "Convolution3D": "conv", "InnerProduct": "dense", "ReLU": "relu",
    "BatchNorm": "batch_norm", "Scale": "scale", "Pooling": "pool", "Pooling3D": "pool",
    "Flatten": "flatten", "Concat": "concat",
}  # fmt: skip
# Type: the layer's field with its parameters, and our schema of them.
_PARAMETERS = {
    "Convolution": ("convolution", "Window"), "Pooling": ("pooling", "Pooling"),
    "BatchNorm": ("batch_norm", "BatchNorm"), "Eltwise": ("eltwise", "Eltwise"),
    "Concat": ("concat", "Concat"), "Flatten": ("flatten", "Flatten"),
}  # fmt: skip
_SUM = 1  # Eltwise's operations: 0 multiplies, 1 adds, 2 takes the larger
_AXES = 8  # Caffe's arrays have few: more entries are damage


class Layer(NamedTuple):
    """One layer as it stands in the file.

    Attributes:
        version: V0, V1 or V2: which of Caffe's three forms it has.
        name: Its name.
        kind: Its type, under V2's name where there is one.
        blobs: Its arrays, not yet read.
        bottoms: What it reads.
        tops: What it writes.
        head: The message without its blobs.
    """

    version: str
    name: str
    kind: str
    blobs: list[memoryview]
    bottoms: list[str]
    tops: list[str]
    head: Any


def make_graph(layers: Iterable[Layer]) -> tuple[Node, ...]:
    """The layers as nodes; a value that a layer changes in place gets a new name."""
    current: dict[str, str] = {}  # blob -> the name of the value that it holds now
    nodes = []
    for layer in layers:
        inputs = tuple(current.get(name, name) for name in layer.bottoms)
        for name in layer.tops:
            current[name] = f"{name}@{layer.name}" if name in current else name
        outputs = tuple(current[name] for name in layer.tops)
        arrays = tuple(f"{layer.name}[{number}]" for number in range(len(layer.blobs)))
        kind = _V0_TYPES.get(layer.kind, layer.kind)
        attributes = {"type": layer.kind} | _attributes(kind, layer)
        word: Kind = _KINDS.get(kind, "other")
        if kind == "Eltwise" and attributes.pop("operation", _SUM) == _SUM:
            word = "add"
        nodes.append(Node(layer.name, word, inputs, outputs, arrays, attributes))
    return tuple(nodes)


def _attributes(kind: str, layer: Layer) -> dict[str, Any]:
    """What the layer's parameters say; nothing where they cannot be read."""
    from google.protobuf.message import DecodeError

    from weights_port.formats import caffe_schema as schema

    if kind not in _PARAMETERS:
        return {}
    field, name = _PARAMETERS[kind]
    if layer.version == "V0":  # the parameters stand in the layer itself
        if kind not in ("Convolution", "Pooling"):
            return {}
        found = layer.head
    else:
        try:
            data = getattr(layer.head, field, b"")
            found = schema.message(name).FromString(data)
        except DecodeError:  # a fork's own parameters under the same number
            return {}
    if kind == "Convolution":
        return _window(found) | {
            "group": found.group if found.HasField("group") else 1,
            "dilation": _pair(_numbers(found, "dilation"), 1),
        }
    if kind == "Pooling":
        return _window(found) | {
            "operation": {0: "max", 1: "average"}.get(found.pool, "other"),
            "ceil_mode": getattr(found, "round_mode", 0) == 0,
            "global": bool(getattr(found, "global_pooling", False)),
        }
    if kind == "BatchNorm":
        return {"eps": found.eps if found.HasField("eps") else 1e-5}
    if kind == "Eltwise":
        coefficients = {"coefficients": tuple(found.coeff)} if set(found.coeff) - {1.0} else {}
        operation = found.operation if found.HasField("operation") else _SUM
        return {"operation": operation, **coefficients}
    return {"axis": found.axis if found.HasField("axis") else 1}


def _window(found: Any) -> dict[str, tuple[int, ...]]:
    """Kernel, stride and pad, which Caffe gives for all axes at once, or for height and width."""
    result = {}
    for name, default in (("kernel", 0), ("stride", 1), ("pad", 0)):
        values = _numbers(found, name)
        if not values:
            values = [getattr(found, f"{name}_{axis}", 0) for axis in "hw"]
            values = values if any(values) else []
        result[name] = _pair(values, default)
    return result


def _numbers(found: Any, name: str) -> list[int]:
    value = getattr(found, name, ())
    if isinstance(value, int):
        return [value] if found.HasField(name) else []
    return list(value[:_AXES])


def _pair(values: Sequence[int], default: int) -> tuple[int, ...]:
    """One number for each axis; a single one holds for height and width."""
    return tuple(values) if len(values) > 1 else (values[0] if values else default,) * 2
