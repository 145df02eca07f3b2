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


def landmark_distances(predicted: Array, landmarks: Array) -> Array:
    """Euclidean distance of each predicted landmark from the true one.

    The gradient is 0 where they are equal.

    Args:
        predicted: (..., P, 2), of any float type; computed in float32 or better.
        landmarks: (..., P, 2).

    Returns:
        (..., P), in the unit of the coordinates.
    """
    square = jnp.sum(jnp.square(at_least_float32(predicted) - landmarks), axis=-1)
    away = square > 0
    return jnp.where(away, jnp.sqrt(jnp.where(away, square, 1)), 0)


def landmark_loss(predicted: Array, landmarks: Array, lengths: Array) -> Array:
    """Euclidean distance between predicted and true landmarks (SPEC, Table 1), mean over steps.

    The distance is that of single landmarks, averaged over them, and not that of the vector of all
    coordinates, so that it does not depend on how many there are.

    Args:
        predicted: (B, T, P, 2).
        landmarks: (B, T, P, 2).
        lengths: (B,) integers, 1 .. T; later steps do not count.

    Returns:
        (B,) in the unit of the coordinates.
    """
    frame = jnp.mean(landmark_distances(predicted, landmarks), axis=-1)  # (B, T)
    mask = valid_steps(lengths, frame.shape[1], frame.dtype)  # (B, T)
    return jnp.sum(jnp.where(mask > 0, frame, 0), axis=1) / lengths.astype(frame.dtype)
