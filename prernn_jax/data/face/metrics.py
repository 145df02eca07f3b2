"""Metrics of landmarks: pure functions on arrays, one error a frame, pooled over frames."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prernn_jax.data.face.landmarks import OUTER_EYES, bounding_box, pupils
from prernn_jax.errors import InputError

Normaliser = Literal["outer_eye", "pupil", "box_diagonal"]
NORMALISERS: tuple[Normaliser, ...] = get_args(Normaliser)
THRESHOLD = 0.08
"""Of 300VW: up to this normalised error a frame is no failure."""

Errors = NDArray[np.float64]


def distances(predicted: ArrayLike, landmarks: ArrayLike) -> Errors:
    """Mean distance of a frame's landmarks from the true ones: (N, 68, 2) twice -> (N,)."""
    away = np.asarray(predicted, np.float64) - np.asarray(landmarks, np.float64)
    mean: Errors = np.linalg.norm(away, axis=-1).mean(axis=-1)
    return mean


def normaliser_lengths(landmarks: ArrayLike, normaliser: Normaliser) -> Errors:
    """What errors are divided by, of the true landmarks (N, 68, 2): (N,).

    Args:
        landmarks: The true ones.
        normaliser: `outer_eye`: between the outer corners of the eyes (300VW's protocol);
            `pupil`: between the middles of the eyes; `box_diagonal`: of the upright box around all
            landmarks.

    Raises:
        InputError: Unknown normaliser, or a frame in which that length is zero.
    """
    points = np.asarray(landmarks, np.float64)
    if normaliser == "outer_eye":
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


def nme(predicted: ArrayLike, landmarks: ArrayLike, normaliser: Normaliser) -> Errors:
    """Normalised mean error of each frame: (N, 68, 2) twice -> (N,)."""
    return distances(predicted, landmarks) / normaliser_lengths(landmarks, normaliser)


def cumulative_errors(errors: ArrayLike, thresholds: ArrayLike) -> Errors:
    """Share of frames whose error is at most each threshold: (N,) and (M,) -> (M,)."""
    rising = np.sort(np.asarray(errors, np.float64))
    share: Errors = np.searchsorted(rising, np.asarray(thresholds), side="right") / len(rising)
    return share


def auc(errors: ArrayLike, threshold: float = THRESHOLD) -> float:
    """Area under the cumulative error curve from 0 to the threshold, over that of all frames right.

    Exact: a frame of error e adds threshold - e where that is positive.
    """
    return float(np.mean(np.maximum(threshold - np.asarray(errors, np.float64), 0)) / threshold)


def failure_rate(errors: ArrayLike, threshold: float = THRESHOLD) -> float:
    """Share of frames whose error is above the threshold."""
    return float(np.mean(np.asarray(errors) > threshold))


def vector_distance(predicted: ArrayLike, points: ArrayLike) -> float:
    """The paper's loss (`losses.landmark_loss`), mean over frames: (N, P, 2) twice.

    Of a frame it is the Euclidean distance between the vectors of all coordinates, in their unit.
    """
    away = np.asarray(predicted, np.float64) - np.asarray(points, np.float64)
    return float(np.linalg.norm(away, axis=(1, 2)).mean())


def landmark_metrics(predicted: ArrayLike, landmarks: ArrayLike) -> dict[str, float]:
    """All metrics of some frames, pooled.

    Args:
        predicted: (N, 68, 2).
        landmarks: (N, 68, 2), the true ones.

    Returns:
        `loss`: `vector_distance`; and for each normaliser `nme_*`, `auc_*` and `failure_*`.
    """
    found = {"loss": vector_distance(predicted, landmarks)}
    for normaliser in NORMALISERS:
        errors = nme(predicted, landmarks, normaliser)
        found[f"nme_{normaliser}"] = float(errors.mean())
        found[f"auc_{normaliser}"] = auc(errors)
        found[f"failure_{normaliser}"] = failure_rate(errors)
    return found
