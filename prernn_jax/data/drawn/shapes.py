"""The silhouettes of the embedded clips, as signed distances in units of an object's radius."""

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
    return np.abs(_disc(u, v, 0, 0, 0.75)) - 0.25


def _cross(u: Plane, v: Plane) -> Plane:
    return np.minimum(_box(u, v, 0, 0, 1.0, 0.28), _box(u, v, 0, 0, 0.28, 1.0))


def _dot(u: Plane, v: Plane) -> Plane:
    return _disc(u, v, 0, 0, 0.45)


def _pair(u: Plane, v: Plane) -> Plane:
    return np.minimum(_disc(u, v, -0.72, 0, 0.42), _disc(u, v, 0.72, 0, 0.42))


def _ball(u: Plane, v: Plane) -> Plane:
    return _disc(u, v, 0, 0, 0.85)


def _spot(u: Plane, v: Plane) -> Plane:
    return _box(u, v, 0, 0, 0.3, 0.3)


def _slab(u: Plane, v: Plane) -> Plane:
    return _box(u, v, 0, 0, 0.35, 1.05)


def _triangle(u: Plane, v: Plane) -> Plane:
    return np.maximum(v - 0.6, 0.87 * np.abs(u) - 0.5 * v - 0.55)


def _elbow(u: Plane, v: Plane) -> Plane:
    return np.minimum(_box(u, v, 0, 0.6, 0.9, 0.3), _box(u, v, -0.6, 0, 0.3, 0.9))


def _frame(u: Plane, v: Plane) -> Plane:
    return np.maximum(_box(u, v, 0, 0, 0.95, 0.95), -_box(u, v, 0, 0, 0.45, 0.45))


def _trio(u: Plane, v: Plane) -> Plane:
    lower = np.minimum(_disc(u, v, -0.65, 0.45, 0.38), _disc(u, v, 0.65, 0.45, 0.38))
    return np.minimum(lower, _disc(u, v, 0, -0.65, 0.38))


def _quad(u: Plane, v: Plane) -> Plane:
    return _disc(np.abs(u), np.abs(v), 0.62, 0.62, 0.36)


ACTION_SHAPES: dict[str, Shape] = {
    "bar": _bar,
    "ring": _ring,
    "cross": _cross,
    "dot": _dot,
    "pair": _pair,
}
STATIC_SHAPES: dict[str, Shape] = {
    "ball": _ball,
    "spot": _spot,
    "slab": _slab,
    "triangle": _triangle,
    "elbow": _elbow,
    "frame": _frame,
    "trio": _trio,
    "quad": _quad,
}
