"""The embedded action data: procedural clips whose class is shape x motion.

A motion is two legs with a rest before, between and after them. The kind of a leg (all the way to
one side, all the way up or down, swinging from side to side, bouncing up and down) can be seen in
a few frames; which leg came first cannot, for the rests are at least as long as a stack of flow is
short. Signs are random, so a mirrored clip keeps its class. Training, validation and test draw
objects, backgrounds and clips from different random streams.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from prernn_jax.errors import InputError

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


LEGS = ("side", "rise", "swing", "bounce")
MOTIONS = {
    "side-rise": ("side", "rise"),
    "rise-side": ("rise", "side"),
    "swing-bounce": ("swing", "bounce"),
    "bounce-swing": ("bounce", "swing"),
}
ACTION_CLASSES = tuple(f"{shape} {motion}" for shape in ACTION_SHAPES for motion in MOTIONS)
STATIC_CLASSES = tuple(f"{shape} {leg}" for shape in STATIC_SHAPES for leg in LEGS)
SPATIAL_CLASSES = tuple(STATIC_SHAPES)
"""Pre-training classes of the spatial stream: one picture shows the shape, but no leg."""
# The number of a split in the seeds; a split never shares a stream with another.
SPLITS = {"train": 1, "validation": 2, "test": 3, "static_train": 4, "static_validation": 5}


@dataclass(frozen=True)
class Difficulty:
    """How hard the embedded clips are; lengths in pixels at the size of the clips."""

    radius: float = 18.0
    deform: float = 0.06  # relative spread of an object's size, aspect, shear and bend
    speed: tuple[float, float] = (2.4, 2.8)  # of an object in a leg, a frame
    tilt: float = 0.2  # greatest angle of an object to its upright pose, in radians
    scale: float = 0.05  # spread of the logarithm of an object's size over the clips
    wobble: float = 0.1  # sd of an object's place in each frame
    jitter: float = 0.15  # sd of the camera's place in each frame
    drift: float = 0.2  # greatest speed of the background, a frame
    clutter: int = 10  # still pieces on a background's canvas
    distractors: int = 1
    distractor_speed: float = 0.8  # a frame
    occluder: float = 0.1  # probability of a bar in front of everything
    contrast: float = 0.7  # of the background
    noise: float = 0.02  # sd, full range is 1; an individual frame has 0.5 to 1.5 times that
    light: float = 0.06  # sd of the gain's change over a clip and of the side light
    dropped: float = 0.01  # probability that a frame repeats the one before
    broken: float = 0.01  # probability that a frame is very noisy
    evidence: float = 0.6  # probability that an object wears its shape's own texture


@dataclass(frozen=True)
class EmbeddedConfig:
    """Everything that decides the embedded data; its `key` names the files on disk."""

    seed: int = 2018
    size: int = 64
    frames: int = 25
    leg: int = 6  # flow pairs a leg
    stack: int = 4  # flow pairs of a stack: no rest is shorter than stack - 1 pairs
    train: int = 400
    validation: int = 100
    test: int = 200
    static_train: int = 1536
    static_validation: int = 192
    instances: int = 200  # objects a shape and split
    backgrounds: int = 240  # a split
    difficulty: Difficulty = field(default_factory=Difficulty)

    def __post_init__(self) -> None:
        if self.spare < 0:
            raise InputError(
                f"{self.frames} frames are too few for two legs of {self.leg} pairs and three "
                f"rests of {self.stack - 1}; give at least {self.frames - self.spare} frames"
            )
        for split in SPLITS:
            if self.count(split) < 1:
                raise InputError(f"the split {split} needs at least one clip, got 0")

    @property
    def spare(self) -> int:
        """Flow pairs that are left after the legs and the shortest rests."""
        return self.frames - 1 - 2 * self.leg - 3 * max(self.stack - 1, 1)

    def count(self, split: str) -> int:
        """Returns the number of clips of a split."""
        return int(getattr(self, split))

    @property
    def key(self) -> str:
        """A name that changes with every field."""
        text = json.dumps({"drawing": 4, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
