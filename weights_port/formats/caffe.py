"""Files of Caffe without Caffe: caffemodels (V2, V1 and V0 layers) and single blobs.

A blob's fields have one of two numberings: that of BVLC's Caffe or that of the C3D-v1.0 fork. The
wire type of field 5 tells which (bytes: BVLC's data; a number: the fork's width). The arrays are
views of the mapped file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from prernn_jax.errors import InputError
from weights_port.formats.caffe_graph import V1_TYPES, Layer, make_graph
from weights_port.formats.protobuf_wire import Damaged, Parts, TooMany, split
from weights_port.formats.source import Source, map_file

_MOST_ENDS = 1_000  # inputs and outputs of one layer
_BVLC, _C3D = "BVLC", "C3D-v1.0"


def read_caffe(path: Path) -> Source:
    """Reads a `.caffemodel`, or a `.binaryproto` (one blob, with the key `blob[0]`).

    Raises:
        InputError: No Caffe file, truncated, or shapes and contents that do not agree.
    """
    from google.protobuf.message import DecodeError

    view = map_file(path)
    try:
        return _read(path, view)
    except (DecodeError, Damaged, TooMany) as error:
        raise InputError(
            f"{path} is no file of weights that is known here, or it is truncated: it is neither "
            "PyTorch's, Keras's, numpy's, safetensors nor ONNX, and as a Caffe file it does not "
            "parse. Convert it to one of these where it comes from"
        ) from error


def _read(path: Path, view: memoryview) -> Source:
    layers = _layers(view)
    filled = [layer for layer in layers if layer.blobs]
    if not filled:
        return _single_blob(path, view, len(layers))
    arrays: dict[str, np.ndarray] = {}
    dialects: set[str] = set()
    for layer in filled:
        for number, blob in enumerate(layer.blobs):
            key = f"{layer.name}[{number}]"
            if key in arrays:
                raise InputError(f"{path} has two layers named {layer.name!r}; rename one of them")
            arrays[key], dialect = _blob(path, key, blob)
            dialects.add(dialect)
    versions = "/".join(sorted({layer.version for layer in filled}))
    fork = f"{_C3D} Caffe" if _C3D in dialects else "BVLC Caffe"
    notes = [f"{len(layers) - len(filled)} layers without weights"]
    kind = f"{fork}, {versions} layers"
    return Source(path, kind, "caffe", arrays, notes, graph=make_graph(layers))


def _layers(view: memoryview) -> list[Layer]:
    from weights_port.formats import caffe_schema as schema

    net = split(view, schema.OLD_LAYERS, schema.LAYERS)
    schema.message("Net").FromString(net.rest)  # says whether it is a protobuf message at all
    layers = []
    for data in net.pieces[schema.OLD_LAYERS]:
        old = split(data, schema.OLD_V0, schema.OLD_BLOBS)
        outer = schema.message("OldLayer").FromString(old.rest)
        if inner := old.pieces[schema.OLD_V0]:
            v0 = split(inner[-1], schema.V0_BLOBS)
            head = schema.message("V0Layer").FromString(v0.rest)
            layers.append(_layer("V0", _text(head.type), v0.pieces[schema.V0_BLOBS], head, outer))
        else:
            kind = V1_TYPES.get(outer.type, f"type {outer.type}")
            layers.append(_layer("V1", kind, old.pieces[schema.OLD_BLOBS], outer, outer))
    for data in net.pieces[schema.LAYERS]:
        new = split(data, schema.BLOBS)
        head = schema.message("Layer").FromString(new.rest)
        layers.append(_layer("V2", _text(head.type), new.pieces[schema.BLOBS], head, head))
    return layers


def _layer(version: str, kind: str, blobs: list[memoryview], head: Any, ends: Any) -> Layer:
    """A layer of a version; `ends` holds its bottoms and tops."""
    if len(ends.bottom) + len(ends.top) > _MOST_ENDS:
        raise Damaged(f"a layer with more than {_MOST_ENDS} inputs and outputs")
    bottoms, tops = [[_text(name) for name in names] for names in (ends.bottom, ends.top)]
    return Layer(version, _text(head.name), kind, blobs, bottoms, tops, head)


def _single_blob(path: Path, view: memoryview, layers: int) -> Source:
    if layers == 0:
        array, dialect = _blob(path, "blob[0]", view)
        if array.size:
            kind = f"{dialect} Caffe, a single blob"
            return Source(path, kind, "caffe", {"blob[0]": array})
    raise InputError(
        f"{path} holds no weights ({layers} Caffe layers, none with a blob): a definition, a "
        "solver's state or another kind of file; expected a .caffemodel or a .binaryproto"
    )


def _blob(path: Path, key: str, view: memoryview) -> tuple[np.ndarray, str]:
    """Array (float32 or float64) and dialect of a blob."""
    from weights_port.formats import caffe_schema as schema

    try:
        parts = split(view, schema.DATA, schema.FORK_DATA, schema.SHAPE, schema.DOUBLES)
    except TooMany:  # floats one by one: protobuf collects them
        parts = Parts({}, bytes(view))
    head = schema.message("Blob").FromString(parts.rest)

    def numbers(field: int, unpacked: str, dtype: str = "<f4") -> np.ndarray:
        pieces = parts.pieces.get(field, [])
        if pieces:
            return _packed(path, key, pieces, dtype)
        values = schema.message(unpacked).FromString(parts.rest).values
        return np.fromiter(values, np.float32, len(values))

    if head.HasField("width"):
        dims = [head.dim1, head.dim2, max(head.dim3, 1), head.dim4, head.width]
        return _shaped(path, key, numbers(schema.FORK_DATA, "Unpacked6"), dims), _C3D
    if schema.DOUBLES in parts.pieces and schema.DATA not in parts.pieces:
        flat = numbers(schema.DOUBLES, "Unpacked5", "<f8")
    else:
        flat = numbers(schema.DATA, "Unpacked5")
    dims = [head.dim1, head.dim2, head.dim3, head.dim4]
    if shape := parts.pieces.get(schema.SHAPE) or list(head.shape):
        dims = _shape(path, key, b"".join(shape), schema.message("Shape").FromString)
    return _shaped(path, key, flat, dims), _BVLC


def _packed(path: Path, key: str, pieces: list[memoryview], dtype: DTypeLike) -> np.ndarray:
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if len(data) % np.dtype(dtype).itemsize:
        raise InputError(f"{path}: {key} has {len(data)} bytes, no whole number of {dtype}")
    return np.frombuffer(data, dtype)


def _shape(path: Path, key: str, data: bytes, parse: Callable[[bytes], Any]) -> list[int]:
    from google.protobuf.message import DecodeError

    try:
        return list(parse(data).dim)
    except DecodeError as error:
        raise InputError(f"{path}: the shape of {key} cannot be read; damaged") from error


def _shaped(path: Path, key: str, flat: np.ndarray, dims: list[int]) -> np.ndarray:
    """The array of these dimensions, none of which is trusted."""
    count = 1
    for size in dims:  # Python integers: no overflow
        count *= size
    if min(dims, default=0) < 0 or len(dims) > 32 or count != flat.size:
        raise InputError(
            f"{path}: {key} says shape {dims[:8]} but holds {flat.size} numbers; truncated or "
            "damaged, download it again"
        )
    return flat.reshape(dims)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
