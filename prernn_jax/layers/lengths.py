"""The lengths of padded sequences: what is accepted, and which steps exist."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from prernn_jax.errors import InputError


def check_lengths(lengths: Any, batch: int, steps: int, least: int = 0) -> Array:
    """Checks the lengths of the sequences in a padded batch.

    The values are checked only where they are known. Inside `jax.jit` they are not: a length above
    the number of steps then counts as that number, and one below 0 as 0.

    Args:
        lengths: (B,) integers.
        batch: How many sequences there are, B.
        steps: To how many steps they are padded, T.
        least: The shortest length that is accepted.

    Returns:
        The lengths (B,) in int32, between 0 and T.

    Raises:
        InputError: The batch is empty or has no steps, the shape or the type is wrong, or a known
            length is outside its range.
    """
    check_sizes(batch, steps)
    if not hasattr(lengths, "dtype"):
        lengths = np.asarray(lengths)
    if lengths.shape != (batch,):
        raise InputError(f"lengths has shape {lengths.shape}; expected ({batch},)")
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise InputError(
            f"lengths has type {lengths.dtype}; expected integers, the number of valid steps of "
            "each sequence"
        )
    if not isinstance(lengths, jax.core.Tracer):
        known = np.asarray(lengths)
        wrong = (known < least) | (known > steps)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(
                f"sequence {row} has length {known[row]}; expected {least} to {steps}, the number "
                "of steps in the batch"
            )
    return jnp.clip(jnp.asarray(lengths), 0, steps).astype(jnp.int32)


def check_sizes(batch: int, steps: int) -> None:
    """Raises an InputError for an empty batch and for sequences without steps."""
    if batch < 1 or steps < 1:
        raise InputError(
            f"a batch of {batch} sequences of {steps} steps; expected at least one of each"
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
