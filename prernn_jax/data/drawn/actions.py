"""The embedded action data: procedural clips whose class is shape x motion after the cue.

An object moves in legs: to the right, down, left or up. After each leg it is put elsewhere, which
a viewer sees as a cut. One leg is the cue: the object swells and glows. The motion of a clip is the
leg that follows the cue; the legs before it and all later ones are drawn at random and may be the
same or another. So the class is not in any frame, stack or mean of them: it needs a memory.

A clip that is turned by a quarter or mirrored is again a clip of this kind, with another motion
(`TURNED_ACTIONS`). Objects stand in each of the four quarter turns equally often, so the shape
stays what it is. Training, validation and test draw objects, backgrounds and clips from different
random streams.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field

from prernn_jax.data.drawn.shapes import ACTION_SHAPES, STATIC_SHAPES
from prernn_jax.data.media.square import SYMMETRIES, turned_direction
from prernn_jax.errors import InputError

DIRECTIONS = ("right", "down", "left", "up")
"""In the order of quarter turns, clockwise on the screen."""
CUE = "swell"
LEGS = (*DIRECTIONS, CUE)
BLURS = ("level", "upright", CUE)
"""What one picture shows of a leg: the axis of its blur, or the cue's glow."""

ACTION_CLASSES = tuple(f"{shape} {motion}" for shape in ACTION_SHAPES for motion in DIRECTIONS)
STATIC_CLASSES = tuple(f"{shape} {leg}" for shape in STATIC_SHAPES for leg in LEGS)
SPATIAL_CLASSES = tuple(f"{shape} {blur}" for shape in STATIC_SHAPES for blur in BLURS)
"""Pre-training classes of the spatial stream: one picture shows no direction."""


def blur_of(leg: int) -> int:
    """The number of the blur of a leg: those of opposite directions are alike."""
    return BLURS.index(CUE) if LEGS[leg] == CUE else leg % 2


def _turned(shapes: int, kinds: int) -> tuple[tuple[int, ...], ...]:
    """For each symmetry of the square: label -> label of the turned clip."""

    def kind_after(kind: int, symmetry: int) -> int:
        if kinds == len(BLURS):
            return kind if BLURS[kind] == CUE else turned_direction(kind, symmetry) % 2
        return kind if kind >= len(DIRECTIONS) else turned_direction(kind, symmetry)

    return tuple(
        tuple(
            shape * kinds + kind_after(kind, symmetry)
            for shape in range(shapes)
            for kind in range(kinds)
        )
        for symmetry in range(SYMMETRIES)
    )


TURNED_ACTIONS = _turned(len(ACTION_SHAPES), len(DIRECTIONS))
TURNED_STILLS = _turned(len(STATIC_SHAPES), len(LEGS))
TURNED_SPATIAL = _turned(len(STATIC_SHAPES), len(BLURS))
"""[symmetry][label]: the label of a clip that is turned by a symmetry of the square."""

# The number of a split in the seeds; a split never shares a stream with another.
SPLITS = {"train": 1, "validation": 2, "test": 3, "static_train": 4, "static_validation": 5}


@dataclass(frozen=True)
class Difficulty:
    """How hard the embedded clips are; lengths in pixels at the size of the clips."""

    radius: float = 16.0
    deform: float = 0.06  # relative spread of an object's size, aspect, shear and bend
    speed: tuple[float, float] = (2.4, 2.8)  # of an object in a leg, a frame
    swell: float = 0.07  # growth of an object in the cue, a frame
    glow: float = 0.5  # how much of an object's colour is white in the cue
    blur: int = 5  # pixels over which a moving object is smeared, odd
    tilt: float = 0.2  # greatest angle of an object to its quarter turn, in radians
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
    frames: int = 33
    leg: tuple[int, int] = (3, 4)  # flow pairs a leg, least and most
    before: int = 3  # greatest number of legs before the cue
    stack: int = 2  # flow pairs of a stack: no leg is shorter than stack + 1 pairs
    train: int = 400
    validation: int = 100
    test: int = 200
    static_train: int = 1536
    static_validation: int = 192
    instances: int = 200  # objects a shape and split
    backgrounds: int = 240  # a split
    difficulty: Difficulty = field(default_factory=Difficulty)

    def __post_init__(self) -> None:
        low, high = self.leg
        if not self.stack < low <= high:
            raise InputError(
                f"legs of {low} to {high} flow pairs; expected more than a stack of {self.stack}, "
                "and the first number not above the second"
            )
        needed = 1 + (self.before + 2) * (high + self.rest + 1)
        if self.frames < needed:
            raise InputError(
                f"{self.frames} frames are too few for {self.before} legs, the cue and the motion "
                f"after it; give at least {needed} frames"
            )
        for split in SPLITS:
            if self.count(split) < 1:
                raise InputError(f"the split {split} needs at least one clip, got 0")

    @property
    def rest(self) -> int:
        """The fewest flow pairs between two legs: no stack sees both."""
        return max(self.stack - 1, 1)

    def count(self, split: str) -> int:
        """Returns the number of clips of a split."""
        return int(getattr(self, split))

    @property
    def key(self) -> str:
        """A name that changes with every field."""
        text = json.dumps({"drawing": 5, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
