"""A file of weights, whatever wrote it: its arrays by name, opened by what its bytes say."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from prernn_jax import safetensors_file
from prernn_jax.errors import InputError

_BLOCK = 2**18  # elements looked at at once: they stay in the cache


@dataclass
class Source:
    """The contents of a file.

    Attributes:
        path: the file.
        format: as `inspect` names it.
        family: which tables apply to it.
        arrays: by key; Caffe's blobs have the keys `layer[number]`. Views where possible.
        notes: what was done to the names or left out while reading.
        metadata: text that came with the arrays.
        types: Caffe's type of each layer.
    """

    path: Path
    format: str
    family: Literal["torch", "caffe"]
    arrays: dict[str, np.ndarray]
    notes: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)


def open_source(path: Path) -> Source:
    """Read a file of weights of any known format.

    Raises:
        InputError: there is no such file, or it is empty, truncated or of no known format.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if size == 0:
        raise InputError(f"{path} is empty; download or write it again")
    if start.lstrip()[:1] == b"<":
        raise InputError(
            f"{path} is an HTML or XML page, not weights: a failed download; open the address in "
            "a browser and download again"
        )
    if start[:2] == b"PK" or start[:1] == b"\x80":
        from weights_port.torch_file import read_torch

        return read_torch(path, zipped=start[:2] == b"PK")
    if start[8:9] == b"{":
        arrays, metadata = safetensors_file.read(path)
        return Source(path, "safetensors", "torch", arrays, metadata=metadata)
    from weights_port.caffe_file import read_caffe

    return read_caffe(path)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal text."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def nonfinite(arrays: dict[str, np.ndarray]) -> list[str]:
    """Names of the floating-point arrays that hold NaN or infinity."""
    return [name for name, array in arrays.items() if not _all_finite(array)]


def _all_finite(array: np.ndarray) -> bool:
    if array.dtype.kind not in "fV":  # V: bfloat16
        return True
    if array.size <= _BLOCK or array.ndim == 0:
        return bool(np.isfinite(array).all())
    rows = max(1, _BLOCK * len(array) // array.size)
    return all(
        bool(np.isfinite(array[first : first + rows]).all()) for first in range(0, len(array), rows)
    )
