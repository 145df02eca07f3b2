"""Losses and metrics of sequences: pure functions on arrays.

A row of scores with a NaN or an infinity in it is never right: such a model has diverged, and
`argmax` would take its output for a guess. Nothing is left out of a mean in silence.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from prernn_jax.errors import InputError
from prernn_jax.layers.lengths import check_lengths, valid_steps, without_padding


def at_least_float32(x: Array) -> Array:
    """Float64 stays; half precision becomes float32."""
    return x if x.dtype == jnp.float64 else x.astype(jnp.float32)


def _mean_over_steps(values: Array, lengths: Array) -> Array:
    """Sum over axis 1 of values (B, T, ...), padding already zero, over the number of steps."""
    counts = jnp.maximum(lengths, 1).astype(values.dtype)
    return jnp.sum(values, axis=1) / counts.reshape(-1, *(1,) * (values.ndim - 2))


def sequence_nll(logits: Array, labels: Array, lengths: Array) -> Array:
    """Negative log likelihood of a sequence's class, mean over its steps.

    Args:
        logits: (B, T, K), of any float type; computed in float32 or better.
        labels: (B,) integers, 0 .. K - 1. Inside `jax.jit` a sequence with another label has the
            loss NaN.
        lengths: (B,) integers, 1 .. T. Later steps do not count and have no gradient, whatever
            stands there. Inside `jax.jit` a length above T counts as T, and a sequence of length
            0 or less has loss 0.

    Returns:
        (B,) in nats.

    Raises:
        InputError: The batch is empty or has no steps, or lengths or labels are not as described.
    """
    batch, steps, classes = logits.shape
    lengths = check_lengths(lengths, batch, steps)
    labels = _known(labels, classes)
    valid = valid_steps(lengths, steps)  # (B, T)
    log_p = jax.nn.log_softmax(without_padding(at_least_float32(logits), valid), axis=-1)
    taken = jnp.take_along_axis(log_p, labels[:, None, None], axis=-1)[..., 0]  # (B, T)
    return -_mean_over_steps(without_padding(taken, valid), lengths)


def _known(labels: Array, classes: int) -> Array:
    """The labels; indexing would count those below 0 from the last class on."""
    if not jnp.issubdtype(jnp.asarray(labels).dtype, jnp.integer):
        raise InputError(f"labels of type {labels.dtype}; expected integers")
    if isinstance(labels, jax.core.Tracer):
        return jnp.where(labels < 0, classes, labels)
    if (wrong := np.asarray((labels < 0) | (labels >= classes))).any():
        raise InputError(
            f"the label of sequence {int(wrong.argmax())} is {int(labels[wrong.argmax()])}; "
            f"expected 0 to {classes - 1}"
        )
    return labels


def landmark_loss(predicted: Array, landmarks: Array, lengths: Array) -> Array:
    """Euclidean distance between predicted and true landmarks (docs/paper.md), mean over steps.

    The distance of a frame is the length of the difference between its two vectors of all 2 P
    coordinates. Its gradient is 0 where they are equal.

    Args:
        predicted: (B, T, P, 2), of any float type; computed in float32 or better.
        landmarks: (B, T, P, 2).
        lengths: (B,) integers, 1 .. T, with the meaning that they have in `sequence_nll`.

    Returns:
        (B,) in the unit of the coordinates.

    Raises:
        InputError: The batch is empty or has no steps, or the lengths are not as described.
    """
    batch, steps = predicted.shape[:2]
    lengths = check_lengths(lengths, batch, steps)
    valid = valid_steps(lengths, steps)  # (B, T)
    away = without_padding(at_least_float32(predicted) - landmarks, valid)
    square = jnp.sum(jnp.square(away), axis=(-2, -1))  # (B, T)
    # The root has no gradient at 0. A NaN is not equal to 0 and stays a NaN.
    zero = square == 0
    distance = jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))
    return _mean_over_steps(distance, lengths)


def sequence_scores(logits: Array, lengths: Array) -> Array:
    """Class probabilities of a sequence: the mean over its steps of their softmax.

    Args:
        logits: (B, T, K).
        lengths: (B,) integers, 1 .. T. Later steps do not count, whatever stands there. Inside
            `jax.jit` a length above T counts as T, and a sequence of length 0 or less has scores 0.

    Returns:
        (B, K), each row sums to 1. A NaN in a valid step makes its whole row NaN.

    Raises:
        InputError: The batch is empty or has no steps, or the lengths are not as described.
    """
    batch, steps, _ = logits.shape
    lengths = check_lengths(lengths, batch, steps)
    valid = valid_steps(lengths, steps)  # (B, T)
    p = jax.nn.softmax(without_padding(at_least_float32(logits), valid), axis=-1)  # (B, T, K)
    return _mean_over_steps(without_padding(p, valid), lengths)


def are_right(scores: Array, labels: Array) -> Array:
    """Whether the highest score of a row is that of its class.

    Args:
        scores: (N, K). A row with a NaN or an infinity in it is not right.
        labels: (N,) integers, 0 .. K - 1.

    Returns:
        (N,) of bool.
    """
    finite = jnp.isfinite(scores).all(axis=-1)
    return finite & (jnp.argmax(scores, axis=-1) == labels)


def video_scores(scores: ArrayLike, video: ArrayLike) -> tuple[NDArray, NDArray]:
    """Scores of videos from those of their clips: the mean.

    Args:
        scores: (N, K), one row for each clip. A NaN in one clip makes the score of its video NaN.
        video: (N,) integers, the number of each clip's video.

    Returns:
        The videos' numbers in rising order (V,), and their scores (V, K).

    Raises:
        InputError: There are no clips, or the shapes do not fit together.
    """
    scores, video = _checked(scores, video, "video numbers")
    if video.dtype.kind not in "iu":
        raise InputError(f"video numbers of type {video.dtype}; expected integers")
    numbers, place, counts = np.unique(video, return_inverse=True, return_counts=True)
    total = np.zeros((len(numbers), scores.shape[1]))
    with np.errstate(invalid="ignore"):  # inf - inf is NaN: that video has no score
        np.add.at(total, place, scores)
    return numbers, total / counts[:, None]


def top1(scores: ArrayLike, labels: ArrayLike) -> float:
    """Share of rows whose highest score is that of their class.

    Args:
        scores: (N, K). A row with a NaN or an infinity in it counts as wrong.
        labels: (N,) integers, 0 .. K - 1.

    Raises:
        InputError: There are no rows, or the labels do not fit the scores.
    """
    rows, classes = _labelled(scores, labels)
    finite = np.isfinite(rows).all(axis=1)
    return float(np.mean(finite & (np.argmax(rows, axis=1) == classes)))


def confusion_matrix(scores: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    """Counts (K, K): rows are the true class, columns the one with the highest score.

    Raises:
        InputError: There are no rows, the labels do not fit the scores, or a row has a NaN or an
            infinity in it: no column stands for that, and without it the row sums would be wrong.
    """
    rows, classes = _labelled(scores, labels)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise InputError(
            f"the scores of {bad.sum()} of {len(rows)} rows hold NaN or infinity (the first is row "
            f"{int(np.argmax(bad))}); expected finite scores: the model has diverged, train it "
            "with a lower learning rate"
        )
    counts = np.zeros((rows.shape[1],) * 2, np.int64)
    np.add.at(counts, (classes, np.argmax(rows, axis=1)), 1)
    return counts


def _checked(scores: ArrayLike, numbers: ArrayLike, what: str) -> tuple[NDArray, NDArray]:
    """Both as arrays, (N, K) in float64 and (N,)."""
    if np.iscomplexobj(scores):
        raise InputError("the scores are complex; expected real numbers")
    rows, column = np.asarray(scores, np.float64), np.asarray(numbers)
    if rows.ndim != 2 or 0 in rows.shape:
        raise InputError(
            f"scores of shape {rows.shape}; expected (N, K), at least one row and one class"
        )
    if column.shape != rows.shape[:1]:
        raise InputError(f"{what} of shape {column.shape}; expected {rows.shape[:1]}")
    return rows, column


def _labelled(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray]:
    rows, classes = _checked(scores, labels, "labels")
    last = rows.shape[1] - 1
    if not np.issubdtype(classes.dtype, np.integer) or classes.min() < 0 or classes.max() > last:
        raise InputError(
            f"labels of type {classes.dtype} from {classes.min()} to {classes.max()}; expected "
            f"integers from 0 to {last}"
        )
    return rows, classes
