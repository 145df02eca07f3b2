"""Loss functions: pure functions on arrays, one value a sequence."""

import jax
import jax.numpy as jnp
from jax import Array


def valid_steps(lengths: Array, steps: int, dtype: jnp.dtype) -> Array:
    """1 for the steps of each sequence that exist, 0 for padding: (B,) -> (B, T)."""
    return (jnp.arange(steps)[None, :] < lengths[:, None]).astype(dtype)


def at_least_float32(x: Array) -> Array:
    """Float64 stays; half precision becomes float32."""
    return x if x.dtype == jnp.float64 else x.astype(jnp.float32)


def sequence_nll(logits: Array, labels: Array, lengths: Array) -> Array:
    """Negative log likelihood of a sequence's class, mean over its steps.

    Args:
        logits: (B, T, K), of any float type; computed in float32 or better.
        labels: (B,) integers, 0 .. K - 1.
        lengths: (B,) integers, 1 .. T.

    Returns:
        (B,) in nats.
    """
    wide = at_least_float32(logits)
    log_p = jax.nn.log_softmax(wide, axis=-1)  # (B, T, K)
    taken = jnp.take_along_axis(log_p, labels[:, None, None], axis=-1)[..., 0]  # (B, T)
    mask = valid_steps(lengths, logits.shape[1], wide.dtype)  # (B, T)
    # `where` and not a product: a padded step may hold anything, also NaN.
    return -jnp.sum(jnp.where(mask > 0, taken, 0), axis=1) / lengths.astype(wide.dtype)


def landmark_loss(predicted: Array, landmarks: Array, lengths: Array) -> Array:
    """Euclidean distance between predicted and true landmarks (SPEC, Table 1), mean over steps.

    The distance of a frame is that of its vectors of all 2 P coordinates. Its gradient is 0 where
    they are equal.

    Args:
        predicted: (B, T, P, 2), of any float type; computed in float32 or better.
        landmarks: (B, T, P, 2).
        lengths: (B,) integers, 1 .. T; later steps do not count.

    Returns:
        (B,) in the unit of the coordinates.
    """
    away = at_least_float32(predicted) - landmarks
    mask = valid_steps(lengths, away.shape[1], away.dtype)  # (B, T)
    # Padding may hold anything, also NaN, and the root has no gradient at 0.
    away = jnp.where(mask[:, :, None, None] > 0, away, 0)
    square = jnp.sum(jnp.square(away), axis=(-2, -1))  # (B, T)
    distance = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return jnp.sum(distance, axis=1) / lengths.astype(distance.dtype)
