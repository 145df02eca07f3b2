"""A 3-D convolution, channels last, built of a 2-D one; for a CPU.

XLA's 3-D convolution is several times slower on a CPU than its 2-D one (docs/performance.md).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

Convolve = Callable[[Array, Array], Array]  # (N, H, W, I), (kh, kw, I, O) -> (N, h, w, O)

_STACKED_CHANNELS = 64  # up to here frames stacked as channels measure better than a sum


def convolve_frames(
    convolve: Convolve, x: Array, kernel: Array, stride: int, pads: tuple[int, int]
) -> Array:
    """Convolves over the frames too.

    Args:
        convolve: The convolution of one plane, (N, H, W, I) with (kh, kw, I, O).
        x: (N, L, H, W, I).
        kernel: (kl, kh, kw, I, O).
        stride: Step over the frames.
        pads: Frames of zeros (before, after); negative ones crop.

    Returns:
        (N, l, h, w, O).
    """
    depth, length = kernel.shape[0], x.shape[1]
    count = (length + sum(pads) - depth) // stride + 1
    meetings = [
        meeting
        for k in range(depth)
        if (meeting := _meeting(k, k - pads[0], length, count, stride)) is not None
    ]
    if meetings and (length < depth or x.shape[-1] > _STACKED_CHANNELS):
        return _summed(convolve, x, kernel, count, stride, meetings)
    return _stacked(convolve, x, kernel, count, stride, pads)


class _Meeting(NamedTuple):
    """The outputs that meet a frame, and no zeros, with plane k of the kernel."""

    k: int
    first: int  # output
    stop: int
    frame: int  # that the first one meets


def _meeting(k: int, shift: int, length: int, count: int, stride: int) -> _Meeting | None:
    """Output j meets frame j * stride + shift."""
    first = max(0, math.ceil(-shift / stride))
    stop = min(count, (length - 1 - shift) // stride + 1)
    return _Meeting(k, first, stop, first * stride + shift) if first < stop else None


def _stacked(
    convolve: Convolve, x: Array, kernel: Array, count: int, stride: int, pads: tuple[int, int]
) -> Array:
    """One convolution; the frames that an output meets lie side by side as its channels."""
    depth, *window, inputs, outputs = kernel.shape
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (*pads, 0), *[(0, 0, 0)] * 3])
    last = (count - 1) * stride + 1
    met = [lax.slice_in_dim(x, k, k + last, stride, axis=1) for k in range(depth)]
    frames = jnp.concatenate(met, axis=-1)  # (N, l, H, W, kl*I)
    kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(*window, depth * inputs, outputs)
    y = convolve(frames.reshape(-1, *frames.shape[2:]), kernel)
    return y.reshape(x.shape[0], count, *y.shape[1:])


def _summed(
    convolve: Convolve,
    x: Array,
    kernel: Array,
    count: int,
    stride: int,
    meetings: Sequence[_Meeting],
) -> Array:
    """A convolution for each plane of the kernel; none for frames of zeros."""

    def part(meeting: _Meeting) -> Array:
        number = meeting.stop - meeting.first
        last = meeting.frame + (number - 1) * stride
        met = lax.slice_in_dim(x, meeting.frame, last + 1, stride, axis=1)
        y = convolve(met.reshape(-1, *met.shape[2:]), kernel[meeting.k])
        y = y.reshape(x.shape[0], number, *y.shape[1:])
        around = (meeting.first, count - meeting.stop, 0)
        return lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), around, *[(0, 0, 0)] * 3])

    first, *others = map(part, meetings)
    return sum(others, first)
