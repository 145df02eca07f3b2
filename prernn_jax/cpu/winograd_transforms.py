"""The linear maps of Winograd's convolutions with 3 x 3 taps, channels last.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016): a tile of
m x m outputs is AT [(G k GT) * (BT d B)] A, where d are the (m + 2) x (m + 2) inputs that it
meets. The matrices of 4 x 4 outputs come from other points than the usual 0, 1, -1, 2, -2: with
those the rounding errors are two to four times as large.

Each map is taken along the columns and then along the rows. Either half is one stacked array. So
XLA's CPU compiler writes it to memory once, and does not compute it anew for each of the values
that read it; and it compiles one function in place of (m + 2)^2.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax


class _Matrices(NamedTuple):
    inputs: np.ndarray  # BT (m + 2, m + 2)
    kernel: np.ndarray  # G (m + 2, 3)
    outputs: np.ndarray  # AT (m, m + 2)


_R = 2**-0.5
_MATRICES = {  # of the points 0, 1, -1, and of 0, _R, -_R, 2 _R, -2 _R, each with infinity
    2: _Matrices(
        np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
        np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
        np.array([[1, 1, 1, 0], [0, 1, -1, -1]]),
    ),
    4: _Matrices(
        np.array([
            [1, 0, -5 / 2, 0, 1, 0],
            [0, -2 * _R, -2, _R, 1, 0], [0, 2 * _R, -2, -_R, 1, 0],
            [0, -_R, -1 / 2, 2 * _R, 1, 0], [0, _R, -1 / 2, -2 * _R, 1, 0],
            [0, 1, 0, -5 / 2, 0, 1],
        ]),
        np.array([
            [1, 0, 0],
            [-2 / 3, -2 * _R / 3, -1 / 3], [-2 / 3, 2 * _R / 3, -1 / 3],
            [1 / 6, _R / 3, 1 / 3], [1 / 6, -_R / 3, 1 / 3],
            [0, 0, 1],
        ]),
        np.array([
            [1, 1, 1, 1, 1, 0],
            [0, _R, -_R, 2 * _R, -2 * _R, 0],
            [0, 1 / 2, 1 / 2, 2, 2, 0],
            [0, _R / 2, -_R / 2, 4 * _R, -4 * _R, 1],
        ]),
    ),
}  # fmt: skip


def input_tiles(x: Array, m: int) -> Array:
    """BT d B of every tile.

    Args:
        x: (N, L, h m + 2, w m + 2, C), padded.
        m: Outputs of a tile along one side, 2 or 4.

    Returns:
        ((m + 2)^2, N, L, h, w, C).
    """
    return _tiles(_MATRICES[m].inputs, x, m)


def gradient_tiles(grad: Array, m: int) -> Array:
    """A dy AT of every tile: (N, L, h m, w m, O) -> ((m + 2)^2, N, L, h, w, O)."""
    return _tiles(_MATRICES[m].outputs.T, grad, m)


def transformed_kernel(kernel: Array, m: int, flipped: bool = False) -> Array:
    """G k GT.

    Args:
        kernel: (kl, 3, 3, I, O).
        m: Outputs of a tile along one side.
        flipped: Take the kernel's rows and columns from the end.

    Returns:
        ((m + 2)^2, kl, I, O).
    """
    matrix = _MATRICES[m].kernel[:, :: -1 if flipped else 1]
    rows = _combined(matrix, [kernel[:, r] for r in range(3)])  # (a, kl, 3, I, O)
    both = _combined(matrix, [rows[:, :, s] for s in range(3)])  # (a, a, kl, I, O)
    return both.reshape(-1, *both.shape[2:])


def kernel_gradient(sums: Array, m: int) -> Array:
    """GT s G, what `transformed_kernel` does to a cotangent.

    Args:
        sums: ((m + 2)^2, I, O).
        m: Outputs of a tile along one side.

    Returns:
        (3, 3, I, O).
    """
    side, matrix = m + 2, _MATRICES[m].kernel.T
    sums = sums.reshape(side, side, *sums.shape[1:])
    columns = _combined(matrix, list(sums))  # (3, a, I, O)
    return _combined(matrix, [columns[:, i] for i in range(side)])  # (3, 3, I, O)


def output_pixels(products: Array, m: int) -> Array:
    """AT p A of every tile: ((m + 2)^2, N, L, h, w, O) -> (N, L, h m, w m, O)."""
    side, matrix = m + 2, _MATRICES[m].outputs
    products = products.reshape(side, side, *products.shape[1:])
    columns = _combined(matrix, list(products))  # (m, a, N, L, h, w, O)
    parts = [
        jnp.stack([_combination(row, list(columns[b])) for b in range(m)], axis=4) for row in matrix
    ]
    pixels = jnp.stack(parts, axis=3)  # (N, L, h, m, w, m, O)
    images, length, height, _, width, _, outputs = pixels.shape
    return pixels.reshape(images, length, height * m, width * m, outputs)


def _tiles(matrix: np.ndarray, x: Array, m: int) -> Array:
    side, met = matrix.shape
    overlap = met - m

    def shifted(array: Array, axis: int) -> list[Array]:
        last = array.shape[axis] - overlap - m + 1
        return [lax.slice_in_dim(array, i, i + last, m, axis=axis) for i in range(met)]

    rows = _combined(matrix, shifted(x, 2))  # (a, N, L, h, W, C)
    both = _combined(matrix, shifted(rows, 4))  # (a, a, N, L, h, w, C)
    return both.reshape(side * side, *both.shape[2:])


def _combined(matrix: np.ndarray, parts: Sequence[Array]) -> Array:
    """The matrix times a column of equal arrays: one array for each of its rows, stacked."""
    return jnp.stack([_combination(row, parts) for row in matrix])


def _combination(row: np.ndarray, parts: Sequence[Array]) -> Array:
    terms = [
        part if factor == 1 else -part if factor == -1 else part * np.array(factor, part.dtype)
        for factor, part in zip(row, parts, strict=True)
        if factor != 0
    ]
    return sum(terms[1:], terms[0])
