"""Products of rows with a weight matrix, with gradients that are fast on CPU.

A few rows times a large matrix is bound by how the matrix lies in memory: XLA multiplies the
cotangents' rows with the transposed matrix two to three times more slowly than it multiplies the
matrix, as it lies, with their columns. On a GPU everything is XLA's own (cuBLAS).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

_FEW_ROWS = 128  # up to so many, products with their columns measure better


def dot_general(
    lhs: Array,
    rhs: Array,
    dimension_numbers: Any,
    precision: lax.PrecisionLike = None,
    preferred_element_type: Any = None,
    **others: Any,
) -> Array:
    """Multiplies as `jax.lax.dot_general` does; takes the same arguments.

    Products of rows (..., D) with a matrix (D, F), such as those of `nnx.Linear`, have their own
    gradients. These can be differentiated again, in either mode; forward mode without a gradient
    inside (`jax.jvp`, `jax.jacfwd`) is a TypeError. All others go to XLA as they come.

    Args:
        lhs: (..., D) on the fast path.
        rhs: (D, F) on the fast path.
        dimension_numbers: As in `jax.lax`.
        precision: As in `jax.lax`.
        preferred_element_type: As in `jax.lax`.
        **others: Passed on.

    Returns:
        (..., F) on the fast path.
    """
    (left, right), (batch, _) = dimension_numbers
    plain = (
        rhs.ndim == 2
        and lhs.dtype == rhs.dtype
        and preferred_element_type in (None, lhs.dtype)
        and (tuple(left), tuple(right), tuple(batch)) == ((lhs.ndim - 1,), (0,), ())
        and all(value is None for value in others.values())
    )
    if not plain:
        return lax.dot_general(
            lhs, rhs, dimension_numbers, precision, preferred_element_type, **others
        )
    return dense(lhs, rhs, precision)


def dense(x: Array, kernel: Array, precision: lax.PrecisionLike = None) -> Array:
    """X (..., D) times kernel (D, F) -> (..., F), both of one floating type."""
    rows = x.reshape(-1, x.shape[-1])  # (M, D)
    hashable = tuple(precision) if isinstance(precision, list) else precision
    return _product(hashable, rows, kernel).reshape(*x.shape[:-1], kernel.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(precision: Any, rows: Array, matrix: Array) -> Array:
    return jnp.matmul(rows, matrix, precision=precision)


def _forward(precision: Any, rows: Array, matrix: Array) -> tuple[Array, tuple[Array, Array]]:
    # Not `_product`: derivatives of this are second derivatives, also in forward mode.
    return jnp.matmul(rows, matrix, precision=precision), (rows, matrix)


def _backward(precision: Any, saved: tuple[Array, Array], grad: Array) -> tuple[Array, Array]:
    rows, matrix = saved
    times = partial(jnp.matmul, precision=precision)

    def plain(matrix: Array, grad: Array) -> Array:
        return times(grad, matrix.T)

    def columns(matrix: Array, grad: Array) -> Array:
        # Without the barriers XLA turns the product round again.
        product = times(matrix, lax.optimization_barrier(grad.T))  # (D, M)
        return lax.optimization_barrier(product).T

    def transposed(rows: Array, grad: Array) -> Array:
        return times(lax.optimization_barrier(rows.T), grad)  # (D, F)

    def as_they_lie(rows: Array, grad: Array) -> Array:
        return lax.dot_general(rows, grad, (((0,), (0,)), ((), ())), precision)  # (D, F)

    # Each gradient is a branch of its own, so that XLA drops the one that nobody asks for.
    return (
        lax.platform_dependent(
            matrix, grad, cpu=columns if len(rows) <= _FEW_ROWS else plain, default=plain
        ),
        lax.platform_dependent(rows, grad, cpu=transposed, default=as_they_lie),
    )


_product.defvjp(_forward, _backward)
