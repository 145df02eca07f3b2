"""ONNX files: their initialisers as views of the mapped file, and their graph."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from prernn_jax.errors import InputError
from weights_port.formats.onnx_graph import make_graph, text
from weights_port.formats.protobuf_wire import Damaged, TooMany, split
from weights_port.formats.source import Source, map_file

GRAPH = 7  # of a model
_NODE, _INITIALIZER = 1, 5  # of a graph
_FLOATS, _INT32, _INT64, _RAW, _DOUBLES = 4, 5, 7, 9, 10  # of a tensor
_EXTERNAL = 1  # data_location: in a file of their own
_TYPES: dict[int, np.dtype] = {
    1: np.dtype("<f4"), 2: np.dtype("u1"), 3: np.dtype("i1"), 4: np.dtype("<u2"),
    5: np.dtype("<i2"), 6: np.dtype("<i4"), 7: np.dtype("<i8"), 9: np.dtype("?"),
    10: np.dtype("<f2"), 11: np.dtype("<f8"), 12: np.dtype("<u4"), 13: np.dtype("<u8"),
    16: np.dtype(ml_dtypes.bfloat16),
}  # fmt: skip


def read_onnx(path: Path) -> Source:
    """Reads the initialisers and the graph of an `.onnx` file; nothing in it is run.

    Raises:
        InputError: The package onnx is missing, or the file is damaged or holds no weights.
    """
    try:
        import onnx  # noqa: F401
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise InputError(
            f"{path} is an ONNX file, and the package onnx is not installed: "
            "pip install 'prernn-jax[onnx]'"
        ) from error
    try:
        return _read(path, map_file(path))
    except (DecodeError, Damaged, TooMany, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} looks like an ONNX file but cannot be read ({error or 'damaged'}): truncated "
            "or damaged; export or download it again"
        ) from error


def _read(path: Path, view: memoryview) -> Source:
    import onnx

    model = split(view, GRAPH)
    head = onnx.ModelProto.FromString(model.rest)
    if not model.pieces[GRAPH]:
        raise Damaged("no graph")
    graph = split(model.pieces[GRAPH][-1], _NODE, _INITIALIZER)
    onnx.GraphProto.FromString(graph.rest)  # says whether the rest is sound, too
    nodes = [onnx.NodeProto.FromString(bytes(piece)) for piece in graph.pieces[_NODE]]
    found: dict[str, np.ndarray] = {}
    for piece in graph.pieces[_INITIALIZER]:
        name, array = _tensor(path, piece)
        if name in found:
            raise InputError(f"{path} has two arrays named {name!r}; rename one of them")
        found[name] = array
    for node in nodes:
        if node.op_type == "Constant" and node.output and text(node.output[0]) not in found:
            for attribute in node.attribute:
                if attribute.name == "value":
                    data = attribute.t.SerializeToString()
                    found[text(node.output[0])] = _tensor(path, memoryview(data))[1]
    arrays = {key: array for key, array in found.items() if array.dtype.kind in "fV" and array.ndim}
    if not arrays:
        raise InputError(
            f"{path} is an ONNX file without weights ({len(nodes)} nodes, {len(found)} constants); "
            "export the model with its parameters"
        )
    others = [key for key in found if key not in arrays]
    layers, turned = make_graph(nodes, arrays, set(others))
    notes = []
    if turned:
        notes.append(f"matrices turned to (outputs, inputs): {_some(turned)}")
    if others:
        notes.append(f"left out, sizes and other single numbers: {_some(others)}")
    metadata = {text(entry.key): text(entry.value) for entry in head.metadata_props}
    producer = f"{text(head.producer_name)} {text(head.producer_version)}".strip() or "unknown"
    kind = f"ONNX, written by {producer}"
    return Source(path, kind, "torch", arrays, notes, metadata, graph=layers)


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _tensor(path: Path, piece: memoryview) -> tuple[str, np.ndarray]:
    """Name and array of a tensor; no size in it is trusted."""
    import onnx

    parts = split(piece, _FLOATS, _INT32, _INT64, _RAW, _DOUBLES)
    head = onnx.TensorProto.FromString(parts.rest)
    name, dims = text(head.name), list(head.dims)
    if head.data_type not in _TYPES:
        return name, np.empty(0, np.int8)  # texts and the like, which are no weights
    dtype = _TYPES[head.data_type]
    count = 1
    for size in dims:  # Python integers: no overflow
        count *= size
    if min(dims, default=0) < 0 or len(dims) > 32:
        raise InputError(f"{path}: {name!r} says shape {dims[:8]}; damaged, export it again")
    if head.data_location == _EXTERNAL:
        data: Any = _external(path, name, head, count * dtype.itemsize)
    elif _RAW in parts.pieces:
        data = _joined(parts.pieces[_RAW])
    elif dtype == "<f4" and not parts.pieces.keys() & {_INT32, _INT64}:
        data = _joined(parts.pieces[_FLOATS]) or np.array(head.float_data, "<f4").tobytes()
    elif dtype == "<f8":
        data = _joined(parts.pieces[_DOUBLES]) or np.array(head.double_data, "<f8").tobytes()
    else:
        data = _varints(parts.pieces[_INT32] + parts.pieces[_INT64], head, count, dtype)
    if len(data) != count * dtype.itemsize:
        raise InputError(
            f"{path}: {name!r} says shape {dims[:8]} of {dtype} but holds {len(data)} bytes; "
            "truncated or damaged, export or download it again"
        )
    return name, np.frombuffer(data, dtype).reshape(dims)


def _joined(pieces: list[memoryview]) -> Any:
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _varints(pieces: list[memoryview], head: Any, count: int, dtype: np.dtype) -> bytes:
    """Integers and half floats, which protobuf packs as numbers of one to ten bytes."""
    import onnx

    packed = np.frombuffer(_joined(pieces), np.uint8)
    values = [*head.int32_data, *head.int64_data]
    if int(np.count_nonzero(packed < 128)) + len(values) != count:
        return b""  # looked at before anything is unpacked
    tag = bytes([_INT64 << 3 | 2])
    length = len(packed)
    while length > 127:
        tag += bytes([length & 127 | 128])
        length >>= 7
    values += onnx.TensorProto.FromString(tag + bytes([length]) + packed.tobytes()).int64_data
    wide = np.array(values, np.int64)
    if dtype.kind in "fV":  # the bits of a half float
        return wide.astype(np.uint16).tobytes()
    return wide.astype(dtype).tobytes()


def _external(path: Path, name: str, head: Any, size: int) -> memoryview:
    """The bytes that stand in a file beside the model, and nowhere else."""
    entries = {text(entry.key): text(entry.value) for entry in head.external_data}
    location = entries.get("location", "")
    folder = path.parent.resolve()
    try:
        beside = (folder / location).resolve()
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or size)
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{path}: {name!r} says no valid place of its data; damaged") from error
    if not location or not beside.is_relative_to(folder) or beside == folder:
        raise InputError(
            f"{path}: {name!r} wants its data from {location!r}, outside the model's folder; "
            "nothing was read. Save the model with its weights inside"
        )
    if not beside.is_file():
        raise InputError(
            f"{path} keeps its weights in the file {location!r}, which is not beside it; fetch it, "
            "or save the model with its weights inside"
        )
    data = map_file(beside)
    if offset < 0 or length < 0 or offset + length > len(data):
        raise InputError(
            f"{path}: {name!r} lies at bytes {offset} to {offset + length} of {location}, which "
            f"has {len(data)}; truncated, fetch it again"
        )
    return data[offset : offset + length]
