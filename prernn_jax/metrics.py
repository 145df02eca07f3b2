"""Metrics of classification: pure functions on arrays."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from prernn_jax.losses import at_least_float32, valid_steps


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
