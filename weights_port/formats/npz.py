"""numpy's `.npz`: a zip file with one array in each member."""

import io
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from prernn_jax.errors import InputError
from weights_port.formats.limits import most_unpacked, read_limited
from weights_port.formats.source import Source, map_file

_LOCAL_HEADER = 30  # bytes before the name of a member
_FAULTS = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError, TypeError,
    SyntaxError, NotImplementedError, RuntimeError, MemoryError, OverflowError,
    tokenize.TokenError,
)  # fmt: skip


def read_npz(path: Path) -> Source:
    """Reads the arrays of a `.npz`; those that are stored as they are stay in the mapped file.

    Raises:
        InputError: The file is damaged, or it holds pickled objects or no weights.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = _arrays(path, archive)
    except InputError:
        raise
    except _FAULTS as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(
            f"{path} looks like a .npz file but cannot be read ({what}): truncated or damaged; "
            "write or download it again"
        ) from error
    family = judged_family(arrays)
    axes = "(H, W, I, O), as in Keras" if family == "keras" else "(O, I, H, W), as in PyTorch"
    notes = [f"judged by their shapes, kernels are {axes}"]
    return Source(path, "numpy .npz", family, arrays, notes)


def judged_family(arrays: Mapping[str, np.ndarray]) -> Literal["torch", "keras"]:
    """Whose axes the arrays have; kernels are square, and so are seen to begin or end with H, W."""
    kernels = [array.shape for array in arrays.values() if array.ndim in (4, 5)]
    last = sum(shape[-1] == shape[-2] for shape in kernels)
    first = sum(shape[-4] == shape[-3] for shape in kernels)
    if last != first:
        return "torch" if last > first else "keras"
    return "keras" if any("kernel" in key for key in arrays) else "torch"


def _arrays(path: Path, archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    view = map_file(path)
    left = most_unpacked(path)
    arrays: dict[str, np.ndarray] = {}
    for entry in archive.infolist():
        key = entry.filename.removesuffix(".npy")
        if key in arrays:
            raise InputError(f"{path} has two arrays named {key!r}; rename one of them")
        data: Any = _stored(view, entry)
        if data is None:
            with archive.open(entry) as packed:
                data = memoryview(read_limited(packed, left, f"{path}: {key}"))
            left -= len(data)
        arrays[key] = _array(path, key, data)
    if not arrays:
        raise InputError(f"{path} is an empty .npz; expected arrays by name")
    return arrays


def _stored(view: memoryview, entry: zipfile.ZipInfo) -> memoryview | None:
    """The bytes of a member that is not compressed."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        return None
    head = view[entry.header_offset : entry.header_offset + _LOCAL_HEADER]
    if len(head) < _LOCAL_HEADER or head[:4] != b"PK\3\4":
        raise zipfile.BadZipFile(f"no member at byte {entry.header_offset}")
    name, extra = (int.from_bytes(head[at : at + 2], "little") for at in (26, 28))
    start = entry.header_offset + _LOCAL_HEADER + name + extra
    if start + entry.file_size > len(view):
        raise EOFError(f"{entry.filename} is cut off")
    return view[start : start + entry.file_size]


def _array(path: Path, key: str, data: Any) -> np.ndarray:
    """An array in numpy's format; neither shape nor size is trusted."""
    file: IO[bytes] = io.BytesIO(bytes(data[: 2**16]))
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of numpy's format")
    shape, by_columns, dtype = read(file)
    if dtype.kind not in "fiub":
        raise InputError(
            f"{path}: {key} holds {dtype}: pickled objects, texts or records; nothing was run. "
            "Save arrays of numbers (numpy.savez)"
        )
    count = 1
    for size in shape:
        count *= size
    flat = data[file.tell() :]
    if min(shape, default=0) < 0 or len(shape) > 32 or count * dtype.itemsize != len(flat):
        raise InputError(
            f"{path}: {key} says shape {shape[:8]} of {dtype} but holds {len(flat)} bytes; "
            "truncated or damaged, write or download it again"
        )
    array = np.frombuffer(flat, dtype)
    return array.reshape(shape[::-1]).T if by_columns else array.reshape(shape)
