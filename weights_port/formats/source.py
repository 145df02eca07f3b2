"""The contents of a file of weights, whatever wrote it: its arrays by name, and its graph."""

import hashlib
import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from prernn_jax.errors import InputError

_BLOCK = 2**18  # elements looked at at once: they stay in the cache

Kind = Literal[
    "conv", "dense", "batch_norm", "scale", "pool", "relu", "add", "flatten", "concat", "other"
]


class Node(NamedTuple):
    """One layer of a file's graph.

    Attributes:
        name: The layer's name in the file; it may be empty, or two layers may share it.
        kind: What the layer does. `other` covers dropout, softmax, data layers and what is unknown.
        inputs: Names of the values that it reads, without its arrays.
        outputs: Names of the values that it writes. Every value has one writer: where a Caffe
            layer works in place, its output gets a name of its own.
        arrays: Keys of the source's arrays that belong to it, in the order of the file.
        attributes: What the file says, as far as it is known. `type` (always): the file's own
            word. conv and pool: `kernel`, `stride`, `pad` (tuples, one number for each axis; with
            two numbers for each axis, all the first sides come before all the last ones), `group`,
            `dilation`. pool: `operation` (`max` or `average`), `ceil_mode`, `global`.
            batch_norm: `eps`. concat and flatten: `axis`. add: `coefficients`, if not all one.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arrays: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass
class Source:
    """The contents of a file.

    Attributes:
        path: The file.
        format: As `inspect` names it.
        family: Whose axes and names the arrays have, which decides the tables that apply.
            torch: kernels (O, I, H, W), matrices (O, I); ONNX files belong to it, and their
            matrices are turned if need be. caffe: the same axes under Caffe's names. keras:
            kernels (H, W, I, O), matrices (I, O).
        arrays: By key; Caffe's blobs have the keys `layer[number]`. Views where possible.
        notes: What was done to the names or left out while reading.
        metadata: Text that came with the arrays.
        graph: The layers in the order of the file; None where the format has no graph.
        member: Name of the file inside the archive `path`; "" where `path` is no archive.
    """

    path: Path
    format: str
    family: Literal["torch", "caffe", "keras"]
    arrays: dict[str, np.ndarray]
    notes: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    graph: tuple[Node, ...] | None = None
    member: str = ""


def map_file(path: Path) -> memoryview:
    """The bytes of a file, mapped and not read.

    Raises:
        InputError: There is no such file, or it is empty.
    """
    try:
        with open(path, "rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise InputError(f"cannot read {path}: {error}") from error


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
