"""Convolutions with 3 x 3 taps and stride 1, and both gradients, by Winograd's method; for a CPU.

A tile of 4 x 4 outputs takes 36 products for each pair of channels in place of 144, one of 2 x 2
takes 16 in place of 36 (`winograd_transforms.py`). Over the frames of a clip the kernel may have
any length: the sum over its planes is taken between the transforms, so each frame is transformed
once, and each output once. All works in blocks of tiles, most of which stay in the processor's
cache. `winograd_choice.py` says where it is worth it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from prernn_jax.cpu.winograd_transforms import (
    gradient_tiles,
    input_tiles,
    kernel_gradient,
    output_pixels,
    transformed_kernel,
)

Pads = Sequence[tuple[int, int]]

_BLOCK = 256  # tiles; their values and products stay in the cache
# With so many pairs of channels YNNPACK leaves a second core idle in products of fewer tiles.
_LONG_BLOCK, _LONG = 800, range(64 * 128, 256 * 256)


class _Meeting(NamedTuple):
    """The outputs from `first` to `stop` that meet frames from `frame` on with plane `k`."""

    k: int
    first: int
    stop: int
    frame: int


def convolve(
    x: Array, kernel: Array, pads: Pads, m: int, precision: lax.PrecisionLike = None
) -> Array:
    """Convolves with stride 1.

    Args:
        x: (N, H, W, I) or (N, L, H, W, I).
        kernel: (3, 3, I, O) or (kl, 3, 3, I, O).
        pads: Zeros (before, after) along each of these, none negative.
        m: Outputs of a tile along one side, 2 or 4.
        precision: The precision of the products.

    Returns:
        (N, h, w, O) or (N, l, h, w, O).
    """
    if x.ndim == 4:
        return convolve(x[:, None], kernel[None], [(0, 0), *pads], m, precision)[:, 0]
    depth, length = kernel.shape[0], x.shape[1]
    meetings = _meetings(depth, length, pads[0])
    return _convolved(
        x, kernel, meetings, length + sum(pads[0]) - depth + 1, pads[1:], m, 1, precision
    )


def input_gradient(
    grad: Array, kernel: Array, pads: Pads, m: int, precision: lax.PrecisionLike = None
) -> Array:
    """Gradient of the input; the products take the kernel as it lies, with no transposed copy.

    Args:
        grad: Cotangent of the output, (N, h, w, O) or (N, l, h, w, O).
        kernel: (3, 3, I, O) or (kl, 3, 3, I, O).
        pads: Those of the convolution; along H and W at most 2.
        m: Inputs of a tile along one side, 2 or 4.
        precision: The precision of the products.

    Returns:
        (N, H, W, I) or (N, L, H, W, I).
    """
    if grad.ndim == 4:
        return input_gradient(grad[:, None], kernel[None], [(0, 0), *pads], m, precision)[:, 0]
    depth, length = kernel.shape[0], grad.shape[1] + kernel.shape[0] - 1 - sum(pads[0])
    # An output meets a frame with plane k where the frame's gradient meets the output.
    meetings = [
        _Meeting(k, frame, frame + stop - first, first)
        for k, first, stop, frame in _meetings(depth, length, pads[0])
    ]
    around = [(2 - before, 2 - after) for before, after in pads[1:]]
    return _convolved(grad, kernel, meetings, length, around, m, 2, precision)


def weight_gradient(
    x: Array, grad: Array, pads: Pads, m: int, precision: lax.PrecisionLike = None
) -> Array:
    """Gradient of the kernel.

    Args:
        x: The convolution's input, (N, H, W, I) or (N, L, H, W, I).
        grad: Cotangent of its output, (N, h, w, O) or (N, l, h, w, O).
        pads: Those of the convolution.
        m: Outputs of a tile along one side, 2 or 4.
        precision: The precision of the products.

    Returns:
        (3, 3, I, O) or (kl, 3, 3, I, O).
    """
    if x.ndim == 4:
        return weight_gradient(x[:, None], grad[:, None], [(0, 0), *pads], m, precision)[0]
    depth = x.shape[1] + sum(pads[0]) - grad.shape[1] + 1
    meetings = _meetings(depth, x.shape[1], pads[0])
    x, height, width = _padded(x, pads[1:], m)
    around = [(0, height * m - grad.shape[2], 0), (0, width * m - grad.shape[3], 0)]
    grad = lax.pad(grad, jnp.zeros((), grad.dtype), [(0, 0, 0)] * 2 + around + [(0, 0, 0)])
    images, length = x.shape[:2]
    blocks = _Blocks(images, max(length, grad.shape[1]), height, width, _BLOCK)

    def sums(index: Array) -> list[Array]:
        tiles = input_tiles(blocks.take(x, index, m, 2), m)  # (a*a, n, L, r, w, I)
        slopes = gradient_tiles(blocks.take(grad, index, m, 0), m)  # (a*a, n, l, r, w, O)

        def plane(meeting: _Meeting) -> Array:
            number = meeting.stop - meeting.first
            left = _rows(tiles[:, :, meeting.frame : meeting.frame + number])
            right = _rows(slopes[:, :, meeting.first : meeting.stop])
            numbers = (((1,), (1,)), ((0,), (0,)))
            return lax.dot_general(left, right, numbers, precision=precision)  # (a*a, I, O)

        return [plane(meeting) for meeting in meetings]

    planes = jnp.stack([kernel_gradient(total, m) for total in blocks.summed(sums)])
    # The other planes meet only zeros.
    others = (meetings[0].k, depth - 1 - meetings[-1].k, 0)
    return lax.pad(planes, jnp.zeros((), planes.dtype), [others] + [(0, 0, 0)] * 4)


def _convolved(
    x: Array,
    kernel: Array,
    meetings: Sequence[_Meeting],
    count: int,
    pads: Pads,
    m: int,
    summed: Literal[1, 2],
    precision: lax.PrecisionLike,
) -> Array:
    """Tiles of x times the transformed kernel, summed over its axis 1 (I) or flipped over 2 (O)."""
    shape = [size + sum(pad) - 2 for size, pad in zip(x.shape[2:4], pads, strict=True)]
    x, height, width = _padded(x, pads, m)
    images, length = x.shape[:2]
    limit = _LONG_BLOCK if math.prod(kernel.shape[-2:]) in _LONG else _BLOCK
    blocks = _Blocks(images, max(length, count), height, width, limit)
    none = meetings[0].k  # planes that meet only zeros are not transformed
    kernel = kernel[none : meetings[-1].k + 1]
    weights = transformed_kernel(kernel, m, flipped=summed == 2)  # (a*a, kl, I, O)

    def pixels(index: Array) -> Array:
        tiles = input_tiles(blocks.take(x, index, m, 2), m)  # (a*a, n, L, r, w, C)
        outer = tiles.shape[1], tiles.shape[3], tiles.shape[4]

        def part(meeting: _Meeting) -> Array:
            number = meeting.stop - meeting.first
            met = _rows(tiles[:, :, meeting.frame : meeting.frame + number])
            product = lax.dot_general(
                met, weights[:, meeting.k - none], (((2,), (summed,)), ((0,), (0,))),
                precision=precision,
            )  # fmt: skip
            product = product.reshape(len(tiles), outer[0], number, *outer[1:], -1)
            if number == count:
                return product
            around = [(0, 0, 0)] * 6
            around[2] = (meeting.first, count - meeting.stop, 0)
            return lax.pad(product, jnp.zeros((), product.dtype), around)

        first, *others = map(part, meetings)
        return output_pixels(sum(others, first), m)  # (n, l, r*m, w*m, O)

    return blocks.joined(pixels)[:, :, : shape[0], : shape[1]]


def _rows(tiles: Array) -> Array:
    """(a*a, n, l, h, w, C) -> (a*a, n*l*h*w, C)."""
    return tiles.reshape(tiles.shape[0], -1, tiles.shape[-1])


def _meetings(depth: int, length: int, pads: tuple[int, int]) -> list[_Meeting]:
    """Which outputs meet frames, and no zeros, with each plane of the kernel."""
    count = length + sum(pads) - depth + 1
    found = []
    for k in range(depth):
        shift = k - pads[0]
        first, stop = max(0, -shift), min(count, length - shift)
        if first < stop:
            found.append(_Meeting(k, first, stop, first + shift))
    return found


def _padded(x: Array, pads: Pads, m: int) -> tuple[Array, int, int]:
    """Pads to whole tiles; returns the rows and columns of tiles too."""
    counts = [-(-(size + sum(pad) - 2) // m) for size, pad in zip(x.shape[2:4], pads, strict=True)]
    around = [
        (before, count * m + 2 - size - before, 0)
        for size, (before, _), count in zip(x.shape[2:4], pads, counts, strict=True)
    ]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0)] * 2 + around + [(0, 0, 0)])
    return x, counts[0], counts[1]


class _Blocks:
    """Images, or rows of tiles of one image, that are worked on at a time."""

    def __init__(self, images: int, length: int, height: int, width: int, limit: int) -> None:
        self.rows = _largest_divisor(height, limit // (length * width))
        whole = self.rows == height
        self.images = _largest_divisor(images, limit // (length * height * width)) if whole else 1
        self.per_image = height // self.rows
        self.shape = images, height
        self.number = images // self.images * self.per_image

    def take(self, x: Array, index: Array, m: int, overlap: int) -> Array:
        """A block of x (N, L, h m + overlap, W, C): (n, L, r m + overlap, W, C)."""
        if self.number == 1:
            return x
        none = index * 0
        start = index // self.per_image * self.images, none, index % self.per_image * self.rows * m
        sizes = self.images, x.shape[1], self.rows * m + overlap, *x.shape[3:]
        return lax.dynamic_slice(x, (*start, none, none), sizes)

    def joined(self, function: Callable[[Array], Array]) -> Array:
        """Blocks (n, l, r m, w m, O) -> (N, l, h m, w m, O)."""
        if self.number == 1:
            return function(jnp.int32(0))
        blocks = lax.map(function, jnp.arange(self.number, dtype=jnp.int32))
        if self.per_image == 1:
            return blocks.reshape(-1, *blocks.shape[2:])
        blocks = blocks.reshape(self.shape[0], self.per_image, *blocks.shape[2:])
        blocks = blocks.swapaxes(1, 2)  # (N, l, blocks, r m, w m, O)
        return blocks.reshape(*blocks.shape[:2], -1, *blocks.shape[4:])

    def summed(self, function: Callable[[Array], list[Array]]) -> list[Array]:
        """Sums over the blocks."""
        if self.number == 1:
            return function(jnp.int32(0))

        def body(totals: list[Array], index: Array) -> tuple[list[Array], None]:
            return [total + new for total, new in zip(totals, function(index), strict=True)], None

        start = [jnp.zeros_like(total) for total in jax.eval_shape(function, jnp.int32(0))]
        return lax.scan(body, start, jnp.arange(self.number, dtype=jnp.int32))[0]


def _largest_divisor(number: int, limit: int) -> int:
    return max((d for d in range(1, number + 1) if number % d == 0 and d <= limit), default=1)
