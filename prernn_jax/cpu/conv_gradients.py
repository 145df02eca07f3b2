"""The two gradients of a 2-D convolution, channels last, in forms that are fast on a CPU.

XLA computes a weight gradient as a convolution whose window is the whole image, and a strided
input gradient as one over a zero-stuffed image; neither has a fast path on a CPU.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

Pads = Sequence[tuple[int, int]]

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_CHUNK = 128_000  # elements of a piece of the larger operand: it and a shifted copy stay in cache
_POSITIONS = 1024  # of a piece with many channels: fewer, and adding up the sums costs too much
_FEW_CHANNELS = 16  # below, all taps' slices are joined: one product instead of many narrow ones
_JOINED_CHANNELS = 256  # up to here those of a row of taps are
_JOINED_POSITIONS = 1600  # of a piece then, and ...
_JOINED_CHUNK = 307_200  # ... elements of its input
_NARROW = 32  # up to so many channels on both sides ...
_BATCH = 8  # ... and from so many images on, XLA's own weight gradient is the faster one


def xla_has_fast_weight_gradient(lhs: Array, rhs: Array) -> bool:
    """Whether XLA's own form measures better: it vectorises over the batch."""
    return lhs.shape[0] >= _BATCH and max(rhs.shape[2:]) <= _NARROW


def weight_gradient(
    lhs: Array,
    grad: Array,
    window: tuple[int, ...],
    strides: Sequence[int],
    padding: Pads,
    precision: lax.PrecisionLike = None,
) -> Array:
    """Gradient of a convolution's kernel as products over shifted slices of its input.

    The output's cotangent is transposed once a piece (some images, or some rows of one, which
    stay in cache) and multiplies, for each row of the window, the slices of the input that its
    taps meet, side by side; with many channels each tap by itself, with few all taps together.

    Args:
        lhs: The convolution's input (N, H, W, I).
        grad: Cotangent of its output (N, h, w, O).
        window: Size of the kernel, (kh, kw).
        strides: Strides of the convolution, two.
        padding: (before, after) of H and of W; negative ones crop.
        precision: The precision of the products.

    Returns:
        (kh, kw, I, O).
    """
    zero = jnp.zeros((), lhs.dtype)
    lhs = lax.pad(lhs, zero, [(0, 0, 0), *((a, b, 0) for a, b in padding), (0, 0, 0)])
    images, height, width, outputs = grad.shape
    inputs = lhs.shape[-1]
    wide = jnp.float64 if grad.dtype == jnp.float64 else jnp.float32
    if inputs < _FEW_CHANNELS:
        joined = window[0] * window[1]
    else:
        joined = window[1] if inputs <= _JOINED_CHANNELS else 1

    def products(piece: Array, grad: Array) -> list[Array]:
        rows = grad.shape[1]
        stop = (rows - 1) * strides[0] + 1, (width - 1) * strides[1] + 1
        # Without the barrier XLA folds the transpose back into every product.
        grad = lax.optimization_barrier(grad.reshape(-1, outputs).T)  # (O, n*h*w)

        def columns(j: int) -> Array:
            return lax.slice_in_dim(piece, j, j + stop[1], strides[1], axis=2)

        def rows_of(array: Array, i: int) -> Array:  # (n, H', w, C) -> (n*h*w, C)
            part = lax.slice_in_dim(array, i, i + stop[0], strides[0], axis=1)
            return part.reshape(-1, array.shape[-1])

        shifted = [columns(j) for j in range(window[1])]
        if joined == window[1]:
            # Side by side once for all rows of taps: (n, H', w, kw*I)
            shifted = [lax.optimization_barrier(jnp.concatenate(shifted, axis=-1))]
        slices = [rows_of(array, i) for i in range(window[0]) for array in shifted]
        if joined > window[1]:
            slices = [jnp.concatenate(slices, axis=1)]  # (n*h*w, kh*kw*I)
        return [
            jnp.matmul(grad, part, precision=precision, preferred_element_type=wide)
            for part in slices
        ]

    if joined == window[1] > 1:
        limit = min(_JOINED_POSITIONS, _JOINED_CHUNK // inputs)
    else:
        limit = max(_CHUNK, _POSITIONS * min(inputs, outputs)) // max(inputs, outputs)
    number, rows = _piece(images, height, width, limit)
    if (number, rows) == (images, height):
        blocks = products(lhs, grad)
    else:
        extent = (rows - 1) * strides[0] + window[0]
        per_image = height // rows

        def body(sums: list[Array], index: Array) -> tuple[list[Array], None]:
            image, row, none = index // per_image * number, index % per_image * rows, index * 0
            piece = lax.dynamic_slice(
                lhs, (image, row * strides[0], none, none), (number, extent, *lhs.shape[2:])
            )
            part = lax.dynamic_slice(grad, (image, row, none, none), (number, rows, width, outputs))
            parts = products(piece, part)
            return [old + new for old, new in zip(sums, parts, strict=True)], None

        taps = window[0] * window[1]
        start = [jnp.zeros((outputs, joined * inputs), wide) for _ in range(taps // joined)]
        indices = jnp.arange(images // number * per_image, dtype=jnp.int32)
        blocks, _ = lax.scan(body, start, indices)
    kernel = jnp.concatenate(blocks, axis=1).reshape(outputs, *window, inputs)
    return kernel.transpose(1, 2, 3, 0).astype(lhs.dtype)  # (kh, kw, I, O)


def _piece(images: int, height: int, width: int, limit: int) -> tuple[int, int]:
    """How many images and how many rows of each make a piece of at most `limit` positions."""
    if height * width <= limit:
        size = height * width
        return max(d for d in range(1, images + 1) if images % d == 0 and d * size <= limit), height
    fits = [d for d in range(1, height + 1) if height % d == 0 and d * width <= limit]
    return 1, max(fits, default=1)


def input_gradient(
    grad: Array,
    kernel: Array,
    shape: tuple[int, ...],
    strides: Sequence[int],
    padding: Pads,
    precision: lax.PrecisionLike = None,
) -> Array:
    """Gradient of a strided convolution's input, one dense convolution for each phase.

    The input's places at one distance from a multiple of the stride meet only every stride-th
    row and column of the kernel.

    Args:
        grad: Cotangent of the output (N, h, w, O).
        kernel: (kh, kw, I, O).
        shape: Shape of the input, (N, H, W, I).
        strides: Strides of the convolution, two.
        padding: (before, after) of H and of W, none negative.
        precision: The precision of the products.

    Returns:
        (N, H, W, I).
    """
    images, *_, inputs = shape
    sizes = [size + sum(pads) for size, pads in zip(shape[1:3], padding, strict=True)]
    counts = [math.ceil(size / stride) for size, stride in zip(sizes, strides, strict=True)]
    flipped = lax.rev(kernel, (0, 1)).swapaxes(2, 3)  # (kh, kw, O, I)

    def phase(row: int, column: int) -> Array:
        offsets = row, column
        # The flipped kernel's rows at phase r are those whose distance from its end is r mod s.
        starts = [
            (size - 1 - offset) % stride
            for size, offset, stride in zip(kernel.shape[:2], offsets, strides, strict=True)
        ]
        if row >= kernel.shape[0] or column >= kernel.shape[1]:
            return jnp.zeros((images, *counts, inputs), grad.dtype)
        part = flipped[starts[0] :: strides[0], starts[1] :: strides[1]]
        pads = [
            (taps - 1, count - size)
            for taps, count, size in zip(part.shape[:2], counts, grad.shape[1:3], strict=True)
        ]
        return lax.conv_general_dilated(
            grad, part, (1, 1), pads, dimension_numbers=DIMENSIONS, precision=precision
        )  # (N, H'/s, W'/s, I)

    rows = [
        jnp.stack([phase(i, j) for j in range(strides[1])], axis=3)  # (N, H'/s, W'/s, s, I)
        for i in range(strides[0])
    ]
    full = jnp.stack(rows, axis=2)  # (N, H'/s, s, W'/s, s, I)
    full = full.reshape(images, counts[0] * strides[0], counts[1] * strides[1], inputs)
    (top, _), (left, _) = padding
    return full[:, top : top + shape[1], left : left + shape[2]]
