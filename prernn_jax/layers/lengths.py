"""The lengths of padded sequences: what is accepted, and which steps exist."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from prernn_jax.errors import InputError

Lengths = Sequence[int] | np.ndarray | Array | None
"""Valid steps of each sequence (B,); None where all are."""


def check_lengths(lengths: Any, batch: int, steps: int, *, least: int = 1) -> Array:
    """Checks the lengths of the sequences in a padded batch.

    The values are checked where they are known. Inside `jax.jit` they are not: a length above the
    number of steps then counts as that number, and one below 0 as 0, which is no step at all.

    Args:
        lengths: (B,) whole numbers: a list, a NumPy or a JAX array.
        batch: How many sequences there are, B.
        steps: To how many steps they are padded, T.
        least: The shortest length that is accepted.

    Returns:
        The lengths (B,) in int32, between 0 and T.

    Raises:
        InputError: The batch is empty or has no steps, there are not B whole numbers, or a known
            length is outside its range.
    """
    check_sizes(batch, steps)
    expected = f"expected {batch} whole numbers from {least} to {steps}, one for each sequence"
    try:
        values = lengths if isinstance(lengths, jax.core.Tracer) else np.asarray(lengths)
    except ValueError:  # lists of unequal length
        raise InputError(f"lengths is {lengths}; {expected}") from None
    if values.shape != (batch,):
        raise InputError(f"lengths has shape {values.shape}; {expected}")
    if not jnp.issubdtype(values.dtype, jnp.integer):
        raise InputError(f"lengths has dtype {values.dtype}; {expected}")
    if isinstance(values, jax.core.Tracer):
        return jnp.clip(values, 0, steps).astype(jnp.int32)
    wrong = np.flatnonzero((values < least) | (values > steps))
    if wrong.size:
        row = int(wrong[0])
        raise InputError(f"the length of sequence {row} is {values[row]}; {expected}")
    return jnp.asarray(values, jnp.int32)


def check_sizes(batch: int, steps: int) -> None:
    """Raises an InputError for an empty batch and for sequences without steps."""
    if batch < 1 or steps < 1:
        raise InputError(
            f"a batch of {batch} sequences of {steps} steps; expected 1 or more of both"
        )


def valid_steps(lengths: Array, steps: int) -> Array:
    """True for the steps of each sequence that exist, False for padding: (B,) -> (B, T)."""
    return jnp.arange(steps, dtype=jnp.int32)[None, :] < lengths[:, None]


def without_padding(x: Array, valid: Array) -> Array:
    """Sets padded steps to zero, even NaN: x (B, T, ...), valid (B, T).

    A product cannot do this, since 0 times NaN is NaN. The same holds for gradients, so the
    inputs of an operation must be masked and not only its results.
    """
    return jnp.where(valid.reshape(valid.shape + (1,) * (x.ndim - 2)), x, 0)
