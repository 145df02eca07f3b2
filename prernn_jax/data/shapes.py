"""Silhouettes of the embedded data: five for the actions, ten others for the pre-training.

Each is a function of object coordinates (u, v), in which the shape fills about the unit disc,
to a value that is negative inside and grows by about one a unit of length outside, so that an
anti-aliased edge is a clipped ramp of it. Only +, -, *, /, square root, minimum and maximum are
used: those give the same bits on every machine.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating]  # float32 throughout
Shape = Callable[[Plane, Plane], Plane]


def _box(u: Plane, v: Plane, x: float, y: float, half_x: float, half_y: float) -> Plane:
    return np.maximum(np.abs(u - x) - half_x, np.abs(v - y) - half_y)


def _disc(u: Plane, v: Plane, x: float, y: float, radius: float) -> Plane:
    return np.sqrt((u - x) ** 2 + (v - y) ** 2) - np.float32(radius)


def _bar(u: Plane, v: Plane) -> Plane:
    return _box(u, v, 0, 0, 1.1, 0.3)


def _ring(u: Plane, v: Plane) -> Plane:
    return np.abs(_disc(u, v, 0, 0, 0.75)) - 0.24


def _cross(u: Plane, v: Plane) -> Plane:
    return np.minimum(_box(u, v, 0, 0, 1.0, 0.28), _box(u, v, 0, 0, 0.28, 1.0))


def _elbow(u: Plane, v: Plane) -> Plane:
    return np.minimum(_box(u, v, 0, 0.6, 0.9, 0.3), _box(u, v, -0.6, 0, 0.3, 0.9))


def _pair(u: Plane, v: Plane) -> Plane:
    return np.minimum(_disc(u, v, -0.68, 0, 0.45), _disc(u, v, 0.68, 0, 0.45))


def _ball(u: Plane, v: Plane) -> Plane:
    return _disc(u, v, 0, 0, 0.85)


def _triangle(u: Plane, v: Plane) -> Plane:
    return np.maximum(v - 0.6, 0.87 * np.abs(u) - 0.5 * v - 0.55)


def _half(u: Plane, v: Plane) -> Plane:
    return np.maximum(_disc(u, v, 0, -0.4, 1.0), -0.4 - v)


def _crescent(u: Plane, v: Plane) -> Plane:
    return np.maximum(_disc(u, v, 0, 0, 1.0), -_disc(u, v, 0.55, 0, 0.8))


def _tee(u: Plane, v: Plane) -> Plane:
    return np.minimum(_box(u, v, 0, -0.6, 1.0, 0.3), _box(u, v, 0, 0.1, 0.3, 0.9))


def _cup(u: Plane, v: Plane) -> Plane:
    return np.maximum(_box(u, v, 0, 0, 0.85, 0.85), -_box(u, v, 0, -0.5, 0.35, 0.9))


def _zed(u: Plane, v: Plane) -> Plane:
    return np.minimum(_box(u, v, -0.4, -0.35, 0.65, 0.3), _box(u, v, 0.4, 0.35, 0.65, 0.3))


def _aitch(u: Plane, v: Plane) -> Plane:
    sides = np.minimum(_box(u, v, -0.7, 0, 0.24, 0.95), _box(u, v, 0.7, 0, 0.24, 0.95))
    return np.minimum(sides, _box(u, v, 0, 0, 0.8, 0.24))


def _chevron(u: Plane, v: Plane) -> Plane:
    return np.maximum(np.abs(v + 0.35 - 0.75 * np.abs(u)) - 0.36, np.abs(u) - 1.0)


def _trio(u: Plane, v: Plane) -> Plane:
    lower = np.minimum(_disc(u, v, -0.62, 0.42, 0.4), _disc(u, v, 0.62, 0.42, 0.4))
    return np.minimum(lower, _disc(u, v, 0, -0.65, 0.4))


ACTION_SHAPES: dict[str, Shape] = {
    "bar": _bar,
    "ring": _ring,
    "cross": _cross,
    "elbow": _elbow,
    "pair": _pair,
}
STATIC_SHAPES: dict[str, Shape] = {
    "ball": _ball,
    "triangle": _triangle,
    "half": _half,
    "crescent": _crescent,
    "tee": _tee,
    "cup": _cup,
    "zed": _zed,
    "aitch": _aitch,
    "chevron": _chevron,
    "trio": _trio,
}
