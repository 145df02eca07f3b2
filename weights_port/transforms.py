"""How an array of another framework becomes one of ours, and how it becomes itself again.

`apply` gives views only: the elements are moved while the file is written. `undo` is written by
itself and not derived from `apply`, so that `verify` checks one against the other.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from prernn_jax.files.safetensors import Outgoing


@dataclass(frozen=True)
class Context:
    """What a transform needs to know besides the array.

    Attributes:
        channels: C of the feature map that is flattened before the first dense layer.
        partners: Other arrays of the file that the transform needs, see `Move.partners`.
    """

    channels: int = 1
    partners: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Transform:
    """One way from an array of another framework to one of ours.

    Attributes:
        layout: What it does, for the printed table.
        apply: (array, context) -> view and shape; raises ValueError where the shape is wrong.
        undo: (our array, context) -> the original array, but for leading axes of size 1.
        ours_last: Whether the file's axes have our order: outputs last.
    """

    layout: str
    apply: Callable[[np.ndarray, Context], Outgoing]
    undo: Callable[[np.ndarray, Context], np.ndarray]
    ours_last: bool = False

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A kernel's shape in the file -> outputs, inputs, and the rest."""
        if self.layout.startswith("O") and len(shape) == 4 and shape[0] > 1:
            kernel = shape[2:]  # a convolution in the place of a matrix has one output place
            if not self.layout.startswith("OIHW"):
                return (shape[0], shape[1] * math.prod(kernel))
        return tuple(reversed(shape)) if self.ours_last else shape


def _outgoing(view: np.ndarray, shape: tuple[int, ...] | None = None) -> Outgoing:
    return Outgoing(view, view.shape if shape is None else shape, np.dtype(np.float32))


def _trailing(array: np.ndarray, count: int) -> np.ndarray:
    """Without leading axes of size 1, which Caffe's old 4-D and 5-D blobs have."""
    extra = array.ndim - count
    if extra < 0 or any(size != 1 for size in array.shape[:extra]):
        raise ValueError(f"shape {array.shape}, expected {count} axes")
    return array.reshape(array.shape[extra:])


def _convolution(axes: int) -> Transform:
    forward = (*range(2, axes), 1, 0)  # O, I, spatial... -> spatial..., I, O
    backward = (axes - 1, axes - 2, *range(axes - 2))
    letters = "DHW"[5 - axes :]
    return Transform(
        f"OI{letters} -> {letters}IO",
        lambda array, _: _outgoing(_exactly(array, axes).transpose(forward)),
        lambda array, _: array.transpose(backward),
    )


def _exactly(array: np.ndarray, axes: int) -> np.ndarray:
    if array.ndim != axes:
        raise ValueError(f"shape {array.shape}, expected {axes} axes")
    return array


def _flatten(array: np.ndarray, context: Context) -> Outgoing:
    if array.ndim == 4 and array.shape[0] > 1:  # a convolution over the whole feature map
        array = array.reshape(len(array), -1)
    array = _trailing(array, 2)
    outputs, inputs = array.shape
    if inputs % context.channels:
        raise ValueError(f"shape {array.shape}: {inputs} inputs of {context.channels} channels")
    blocks = array.reshape(outputs, context.channels, inputs // context.channels)
    return _outgoing(blocks.transpose(2, 1, 0), (inputs, outputs))


def _unflatten(array: np.ndarray, context: Context) -> np.ndarray:
    inputs, outputs = array.shape
    places = array.reshape(inputs // context.channels, context.channels, outputs)
    return places.transpose(2, 1, 0).reshape(outputs, inputs)


def _dense(array: np.ndarray, _: Context) -> Outgoing:
    if array.ndim == 4 and array.shape[0] > 1 and array.shape[2:] == (1, 1):
        array = array[:, :, 0, 0]  # a 1x1 convolution
    return _outgoing(_trailing(array, 2).T)


def _divided(array: np.ndarray, context: Context) -> Outgoing:
    """Caffe multiplies by the reciprocal in single precision, and by 0 where the factor is 0."""
    factor = np.float32(context.partners[0].reshape(-1)[0] if context.partners else 0)
    reciprocal = np.float32(0) if factor == 0 else np.float32(1) / factor
    return _less(_trailing(array, 1).astype(np.float32) * reciprocal, context.partners[1:])


def _centred(array: np.ndarray, context: Context) -> Outgoing:
    return _less(_trailing(array, 1).astype(np.float32), context.partners)


def _less(mean: np.ndarray, biases: tuple[np.ndarray, ...]) -> Outgoing:
    """A mean without the bias of the convolution before it: x + b - mean = x - (mean - b)."""
    for bias in biases:
        bias = _trailing(bias, 1)
        if bias.shape != mean.shape:
            raise ValueError(f"shape {mean.shape}, and {bias.shape} of the convolution's bias")
        mean = mean - bias.astype(np.float32)
    return _outgoing(mean)


def partner_key(transform: str, key: str) -> str | None:
    """The key of the second array that a transform needs in a table, whether it is there or not."""
    if transform == "divide":  # bn[0], bn[1] -> bn[2]
        return key.rpartition("[")[0] + "[2]"
    if transform == "less the convolution's bias":
        key = key.replace("moving_mean", "bias")
        return re.sub(r"(?<![^/])bn(?=\d|_conv1)", "res", key.replace("_bn/", "_conv/")).replace(
            "res_conv1/", "conv1/"
        )
    return None


TRANSFORMS: Mapping[str, Transform] = {
    "same": Transform(
        "as it is",
        lambda array, _: _outgoing(_trailing(array, 1)),
        lambda array, _: array,
    ),
    "conv2d": _convolution(4),
    "conv3d": _convolution(5),
    "dense": Transform("OI -> IO", _dense, lambda array, _: array.T),
    "kept": Transform("as it is", lambda array, _: _outgoing(array), lambda array, _: array, True),
    # The first dense layer: its inputs in C, (L,) H, W order become (L,) H, W, C.
    "flatten": Transform("O(C·HW) -> (HW·C)O", _flatten, _unflatten),
    # These two cannot be undone to the bit, so `verify` applies them again.
    "divide": Transform("divided by [2]", _divided, lambda array, _: array),
    "less the convolution's bias": Transform(
        "less the convolution's bias", _centred, lambda array, _: array
    ),
}
AGAIN = ("divide", "less the convolution's bias")
