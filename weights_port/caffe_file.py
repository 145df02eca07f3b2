"""Files of Caffe without Caffe: caffemodels (V2, V1 and V0 layers) and single blobs.

Two numberings of a blob's fields are about, those of BVLC's Caffe and those of the C3D-v1.0 fork;
which one a blob has is told by the wire type of its field 5 (bytes: BVLC's data; a number: the
fork's width).
"""

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from prernn_jax.errors import InputError
from weights_port.source import Source

_BVLC, _C3D = "BVLC", "C3D-v1.0"
# Enumerated types of V1 layers that carry weights; 30 is the fork's (ARGMAX in BVLC, no weights).
_TYPES = {4: "Convolution", 14: "InnerProduct", 30: "Convolution3D", 39: "Deconvolution"}


def read_caffe(path: Path) -> Source:
    """Read a `.caffemodel`, or a `.binaryproto` (one blob, with the key `blob[0]`).

    Raises:
        InputError: no Caffe file, truncated, or shapes and contents that do not agree.
    """
    from weights_port.caffe_schema import message

    net = _decode(path, message("Net"))
    layers: list[tuple[str, str, str, Any]] = []  # version, name, type, blobs
    for old in net.layers:
        if old.HasField("v0"):
            layers.append(("V0", _text(old.v0.name), _text(old.v0.type), old.v0.blobs))
        else:
            kind = _TYPES.get(old.type, f"type {old.type}")
            layers.append(("V1", _text(old.name), kind, old.blobs))
    layers += [("V2", _text(new.name), _text(new.type), new.blobs) for new in net.layer]
    filled = [layer for layer in layers if len(layer[3])]
    if not filled:
        return _single_blob(path, len(layers))
    arrays: dict[str, np.ndarray] = {}
    dialects: set[str] = set()
    for _, name, _, blobs in filled:
        for number, blob in enumerate(blobs):
            key = f"{name}[{number}]"
            if key in arrays:
                raise InputError(f"{path} has two layers named {name!r}; rename one of them")
            arrays[key], dialect = _blob(path, key, blob)
            dialects.add(dialect)
    versions = "/".join(sorted({version for version, *_ in filled}))
    fork = f"{_C3D} Caffe" if _C3D in dialects else "BVLC Caffe"
    types = {name: kind for _, name, kind, _ in filled}
    notes = [f"{len(layers) - len(filled)} layers without weights"]
    return Source(path, f"{fork}, {versions} layers", "caffe", arrays, notes, types=types)


def _decode(path: Path, kind: Any) -> Any:
    """Parse the mapped file; protobuf itself refuses lengths beyond its end."""
    from google.protobuf.message import DecodeError

    try:
        with (
            open(path, "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as view,
        ):
            return kind.FromString(view)
    except DecodeError as error:
        raise InputError(
            f"{path} is no weights file that is known here, or it is truncated: neither PyTorch, "
            "nor safetensors, and as a Caffe file it does not parse; download it again"
        ) from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _single_blob(path: Path, layers: int) -> Source:
    from weights_port.caffe_schema import message

    if layers == 0:
        array, dialect = _blob(path, "blob[0]", _decode(path, message("Blob")))
        if array.size:
            kind = f"{dialect} Caffe, a single blob"
            return Source(path, kind, "caffe", {"blob[0]": array})
    raise InputError(
        f"{path} holds no weights ({layers} Caffe layers, none with a blob): a definition, a "
        "solver's state or another kind of file; expected a .caffemodel or a .binaryproto"
    )


def _blob(path: Path, key: str, blob: Any) -> tuple[np.ndarray, str]:
    """Array (float32 or float64) and dialect of a blob, which is emptied of its large fields."""
    from weights_port.caffe_schema import message

    shape = b"".join(blob.field7)
    dims = [blob.dim1, blob.dim2, blob.dim3, blob.dim4]
    five, six, doubles = list(blob.field5), list(blob.field6), list(blob.doubles)
    if not five:
        for field in ("field6", "field7", "doubles"):
            blob.ClearField(field)  # what remains is small, unless the floats are not packed
        rest = blob.SerializeToString()
        head = message("ForkHead").FromString(rest)
        if head.HasField("width"):
            dims = [blob.dim1, blob.dim2, max(blob.dim3, 1), blob.dim4, head.width]
            flat = _packed(path, key, six) if six else _unpacked("Unpacked6", rest)
            return _shaped(path, key, flat, dims), _C3D
    if five:
        flat = _packed(path, key, five)
    elif doubles:
        flat = _packed(path, key, doubles, "<f8")
    else:
        flat = _unpacked("Unpacked5", rest)
    return _shaped(path, key, flat, _shape(path, key, shape) if shape else dims), _BVLC


def _packed(path: Path, key: str, pieces: list[bytes], dtype: str = "<f4") -> np.ndarray:
    data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if len(data) % np.dtype(dtype).itemsize:
        raise InputError(f"{path}: {key} has {len(data)} bytes, no whole number of {dtype}")
    return np.frombuffer(data, dtype)


def _unpacked(kind: str, data: bytes) -> np.ndarray:
    """Floats that were written one field a number, which protobuf itself collects."""
    from weights_port.caffe_schema import message

    values = message(kind).FromString(data).values
    return np.fromiter(values, np.float32, len(values))


def _shape(path: Path, key: str, data: bytes) -> list[int]:
    from google.protobuf.message import DecodeError

    from weights_port.caffe_schema import message

    try:
        return list(message("Shape").FromString(data).dim)
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
