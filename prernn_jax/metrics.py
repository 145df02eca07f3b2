"""Metrics of classification: pure functions on arrays."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray


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


def sequence_scores(logits: Array, lengths: Array) -> Array:
    """Class probabilities of a sequence: the mean over its steps of their softmax.

    Args:
        logits: (B, T, K).
        lengths: (B,) integers, 1 .. T; later steps do not count.

    Returns:
        (B, K), each row sums to 1.
    """
    wide = at_least_float32(logits)
    mask = valid_steps(lengths, logits.shape[1], wide.dtype)[..., None]  # (B, T, 1)
    p = jnp.where(mask > 0, jax.nn.softmax(wide, axis=-1), 0)  # (B, T, K)
    return jnp.sum(p, axis=1) / lengths.astype(wide.dtype)[:, None]


def video_scores(scores: ArrayLike, video: ArrayLike) -> tuple[NDArray, NDArray]:
    """Scores of videos from those of their clips: the mean.

    Args:
        scores: (N, K), one row a clip.
        video: (N,) integers, which video a clip comes from.

    Returns:
        The videos' numbers in rising order (V,), and their scores (V, K).
    """
    scores = np.asarray(scores, np.float64)
    numbers, place, counts = np.unique(np.asarray(video), return_inverse=True, return_counts=True)
    total = np.zeros((len(numbers), scores.shape[1]))
    np.add.at(total, place, scores)
    return numbers, total / counts[:, None]


def top1(scores: ArrayLike, labels: ArrayLike) -> float:
    """Share of rows whose highest score is that of their class; (N, K) and (N,)."""
    return float(np.mean(np.argmax(np.asarray(scores), axis=1) == np.asarray(labels)))


def confusion_matrix(scores: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    """Counts (K, K): rows are the true class, columns the one with the highest score."""
    scores = np.asarray(scores)
    counts = np.zeros((scores.shape[1],) * 2, np.int64)
    np.add.at(counts, (np.asarray(labels), np.argmax(scores, axis=1)), 1)
    return counts
