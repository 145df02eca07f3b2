"""The contents of a file of weights, whatever wrote it: its arrays by name."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

_BLOCK = 2**18  # elements looked at at once: they stay in the cache


@dataclass
class Source:
    """The contents of a file.

    Attributes:
        path: The file.
        format: As `inspect` names it.
        family: Which tables apply to it.
        arrays: By key; Caffe's blobs have the keys `layer[number]`. Views where possible.
        notes: What was done to the names or left out while reading.
        metadata: Text that came with the arrays.
        types: Caffe's type of each layer.
    """

    path: Path
    format: str
    family: Literal["torch", "caffe"]
    arrays: dict[str, np.ndarray]
    notes: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)


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
