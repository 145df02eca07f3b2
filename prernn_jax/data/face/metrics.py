"""Metrics of landmarks: one error for each frame, pooled over frames.

A prediction with a NaN or an infinity in it has an infinite error. It fails at every threshold,
adds nothing to the area under the curve, and makes every mean infinite that includes it. No frame
is left out in silence.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prernn_jax.data.face.landmarks import OUTER_EYES, POINTS, bounding_box, pupils
from prernn_jax.errors import InputError

Normaliser = Literal["outer_eye", "pupil", "box_diagonal"]
NORMALISERS: tuple[Normaliser, ...] = get_args(Normaliser)
TwoPoints = tuple[int, int]
"""Numbers of two landmarks, from 0, whose distance divides the error."""
THRESHOLD = 0.08
"""A frame with a larger normalised error is a failure (the protocol of 300VW)."""

Errors = NDArray[np.float64]


def _away(predicted: ArrayLike, landmarks: ArrayLike) -> NDArray[np.float64]:
    """Returns the differences (N, P, 2); they are infinite where the prediction is not finite."""
    guess, true = np.asarray(predicted, np.float64), np.asarray(landmarks, np.float64)
    if guess.shape != true.shape or true.ndim != 3 or 0 in true.shape:
        raise InputError(
            f"predicted landmarks of shape {guess.shape} and true ones of shape {true.shape}; "
            "expected (N, P, 2) twice, at least one frame"
        )
    _check_finite(true)
    diverged = ~np.isfinite(guess).all(axis=(1, 2), keepdims=True)
    return np.where(diverged, np.inf, np.where(diverged, 0, guess) - true)


def _check_finite(landmarks: NDArray[np.float64]) -> None:
    bad = ~np.isfinite(landmarks).all(axis=(1, 2))
    if bad.any():
        raise InputError(
            f"frame {int(np.argmax(bad))}: the true landmarks hold NaN or infinity; leave out "
            "frames without annotation"
        )


def distances(predicted: ArrayLike, landmarks: ArrayLike) -> Errors:
    """Returns the mean distance of each frame's landmarks (N, P, 2) from the true ones, (N,).

    Raises:
        InputError: There are no frames, the shapes differ, or a true landmark is not finite.
    """
    mean: Errors = np.linalg.norm(_away(predicted, landmarks), axis=-1).mean(axis=-1)
    return mean


def normaliser_lengths(landmarks: ArrayLike, normaliser: Normaliser | TwoPoints) -> Errors:
    """Returns the length by which the error of each frame is divided, (N,).

    Args:
        landmarks: The true landmarks (N, P, 2).
        normaliser: `outer_eye` is the distance of the outer corners of the eyes (300VW's
            protocol), `pupil` that of the middles of the eyes; both are of iBUG's 68 landmarks.
            `box_diagonal` is the diagonal of the upright box around all landmarks. Two numbers are
            the distance of these two landmarks.

    Raises:
        InputError: The normaliser is unknown, a true landmark is not finite, or that length is
            zero in a frame.
    """
    points = np.asarray(landmarks, np.float64)
    _check_finite(points)
    if normaliser in ("outer_eye", "pupil") and points.shape[1:] != (POINTS, 2):
        raise InputError(
            f"landmarks of shape {points.shape}; {normaliser} needs (N, {POINTS}, 2): give "
            "box_diagonal or the numbers of two landmarks"
        )
    if not isinstance(normaliser, str):
        first, second = points[:, normaliser[0]], points[:, normaliser[1]]
    elif normaliser == "outer_eye":
        first, second = points[:, OUTER_EYES[0]], points[:, OUTER_EYES[1]]
    elif normaliser == "pupil":
        first, second = (np.asarray(eye, np.float64) for eye in pupils(points))
    elif normaliser == "box_diagonal":
        box = bounding_box(points)
        first, second = np.asarray(box[:, :2], np.float64), np.asarray(box[:, 2:], np.float64)
    else:
        raise InputError(f"normaliser {normaliser!r}; expected one of {', '.join(NORMALISERS)}")
    lengths: Errors = np.linalg.norm(first - second, axis=-1)
    if not (lengths > 0).all():
        frame = int(np.argmin(lengths > 0))
        raise InputError(f"frame {frame}: the true landmarks' {normaliser} length is zero")
    return lengths


def nme(predicted: ArrayLike, landmarks: ArrayLike, normaliser: Normaliser | TwoPoints) -> Errors:
    """Returns the normalised mean error of each frame (N,) from landmarks (N, P, 2)."""
    return distances(predicted, landmarks) / normaliser_lengths(landmarks, normaliser)


def cumulative_errors(errors: ArrayLike, thresholds: ArrayLike) -> Errors:
    """Returns the share of frames (N,) whose error is at most each threshold, (M,).

    A frame with the error NaN or infinity is above every threshold.

    Raises:
        InputError: There are no frames, or a threshold is NaN.
    """
    values, places = _errors(errors), np.asarray(thresholds, np.float64)
    if np.isnan(places).any():
        raise InputError("a threshold is NaN; expected numbers")
    rising = np.sort(values[np.isfinite(values)])
    share: Errors = np.searchsorted(rising, places, side="right") / len(values)
    return share


def auc(errors: ArrayLike, threshold: float = THRESHOLD) -> float:
    """Returns the area under the cumulative error curve up to the threshold, divided by it.

    It is 1 if all errors are 0. It is exact: a frame of error e adds threshold - e where that is
    positive. A frame with the error NaN or infinity adds nothing.

    Raises:
        InputError: There are no frames, or the threshold is not a positive number.
    """
    _check_threshold(threshold)
    return float(np.mean(np.maximum(threshold - _errors(errors), 0)) / threshold)


def failure_rate(errors: ArrayLike, threshold: float = THRESHOLD) -> float:
    """Returns the share of frames whose error is above the threshold, NaN or infinite.

    Raises:
        InputError: There are no frames, or the threshold is not a positive number.
    """
    _check_threshold(threshold)
    return float(np.mean(_errors(errors) > threshold))


def _errors(errors: ArrayLike) -> Errors:
    """Returns the errors (N,), with infinity for those that are not finite."""
    values = np.asarray(errors, np.float64)
    if values.ndim != 1 or not len(values):
        raise InputError(f"errors of shape {values.shape}; expected (N,), at least one frame")
    below = np.isfinite(values) & (values < 0)
    if below.any():
        raise InputError(f"frame {int(np.argmax(below))}: an error below 0; expected distances")
    return np.where(np.isfinite(values), values, np.inf)


def _check_threshold(threshold: float) -> None:
    if not (np.isfinite(threshold) and threshold > 0):
        raise InputError(f"threshold {threshold}; expected a finite number above 0")


def vector_distance(predicted: ArrayLike, points: ArrayLike) -> float:
    """Returns the paper's loss (`prernn_jax.metrics.landmark_loss`) of points (N, P, 2).

    It is the Euclidean distance between the vectors of all coordinates of a frame, in their unit,
    averaged over frames. It is infinite if the prediction of any frame is not finite.

    Raises:
        InputError: There are no frames, the shapes differ, or a true landmark is not finite.
    """
    return float(np.linalg.norm(_away(predicted, points), axis=(1, 2)).mean())


def landmark_metrics(
    predicted: ArrayLike,
    landmarks: ArrayLike,
    normalisers: Mapping[str, Normaliser | TwoPoints] | None = None,
) -> dict[str, float]:
    """Returns all metrics, pooled over frames.

    Args:
        predicted: The predicted landmarks (N, P, 2).
        landmarks: The true landmarks (N, P, 2).
        normalisers: What the errors are divided by, by name; by default all that iBUG's 68
            landmarks have.

    Returns:
        `loss` is the `vector_distance`; for each normaliser there are `nme_*`, `auc_*` and
        `failure_*`.

    Raises:
        InputError: There are no frames, or the true landmarks cannot be used.
    """
    found = {"loss": vector_distance(predicted, landmarks)}
    chosen = {name: name for name in NORMALISERS} if normalisers is None else normalisers
    for name, normaliser in chosen.items():
        errors = nme(predicted, landmarks, normaliser)
        found[f"nme_{name}"] = float(errors.mean())
        found[f"auc_{name}"] = auc(errors)
        found[f"failure_{name}"] = failure_rate(errors)
    return found
