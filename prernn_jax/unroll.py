"""A cell unrolled over time: the scan in which only the hidden-to-hidden weights work."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from prernn_jax.cells import Carry, Cell


def unroll(
    cell: Cell,
    projected: Array,
    recurrent_kernel: Array,
    carry: Carry | None = None,
    lengths: Array | None = None,
    *,
    reverse: bool = False,
    unroll: int = 1,
    remat: bool = False,
) -> tuple[Array, Carry]:
    """Runs `cell` over the time axis of `projected`.

    Args:
        cell: From `prernn_jax.cells`.
        projected: Inputs times input-to-hidden weights, plus bias: (B, T, G*F), one block of F a
            gate, or (B, T, F) where all gates share one (SIH).
        recurrent_kernel: (G, F, F), indexed [gate, output, input].
        carry: Arrays (B, F), as many as the cell has; None for zeros.
        lengths: (B,) integers; steps at and beyond a sequence's length change neither state nor
            gradients, and y is 0 there.
        reverse: Go from the last step to the first.
        unroll: Steps in one turn of the loop.
        remat: Keep less for the backward pass and compute the gates anew.

    Returns:
        y (B, T, F), the h after every step, and the last carry.
    """
    gates, features, _ = recurrent_kernel.shape
    state = jnp.float64 if projected.dtype == jnp.float64 else jnp.float32
    batch, steps, width = projected.shape
    if carry is None:
        carry = tuple(jnp.zeros((batch, features), state) for _ in range(cell.carry_parts))
    valid = jnp.ones((steps, batch), bool)
    if lengths is not None:
        valid = jnp.arange(steps, dtype=lengths.dtype)[:, None] < lengths[None, :]

    def product(value: Array, start: int, stop: int) -> Sequence[Array]:
        out = jnp.einsum(
            "bi,goi->gbo",
            value.astype(recurrent_kernel.dtype),
            recurrent_kernel[start:stop],
            preferred_element_type=state,
        )
        return list(out)

    def body(carry: Carry, inputs: tuple[Array, Array]) -> tuple[Carry, Array]:
        p, m = inputs
        m = m[:, None]
        blocks = jnp.split(jnp.where(m, p, 0).astype(state), width // features, axis=-1)
        blocks = blocks if len(blocks) == gates else blocks * gates
        after = cell.step(carry, blocks, product)
        after = tuple(jnp.where(m, new, old) for new, old in zip(after, carry, strict=True))
        return after, jnp.where(m, after[0], 0).astype(projected.dtype)

    body = jax.checkpoint(body) if remat else body
    carry, y = jax.lax.scan(
        body,
        tuple(c.astype(state) for c in carry),
        (projected.swapaxes(0, 1), valid),
        reverse=reverse,
        unroll=unroll,
    )
    return y.swapaxes(0, 1), carry
