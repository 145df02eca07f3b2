"""The embedded action data: procedural clips whose class is shape x motion.

A motion is two legs with a rest before, between and after them. The kind of a leg (to the side,
up or down, a turn, a change of size) can be seen in a few frames; which leg came first cannot,
for the rests are at least as long as a stack of flow is short. Signs are random, so a mirrored
clip keeps its class. Training, validation and test draw objects, backgrounds and clips from
different random streams.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.render import (
    TEXTURES,
    Instance,
    Numbers,
    Track,
    draw_background,
    draw_instance,
    paste_object,
    view_background,
)
from prernn_jax.data.shapes import ACTION_SHAPES, STATIC_SHAPES
from prernn_jax.errors import InputError

LEGS = ("side", "rise", "turn", "zoom")
MOTIONS = {
    "side-rise": ("side", "rise"),
    "rise-side": ("rise", "side"),
    "turn-zoom": ("turn", "zoom"),
    "zoom-turn": ("zoom", "turn"),
}
ACTION_CLASSES = tuple(f"{shape} {motion}" for shape in ACTION_SHAPES for motion in MOTIONS)
STATIC_CLASSES = tuple(f"{shape} {leg}" for shape in STATIC_SHAPES for leg in LEGS)
# The number of a split in the seeds; a split never shares a stream with another.
SPLITS = {"train": 1, "validation": 2, "test": 3, "static_train": 4, "static_validation": 5}
_INSTANCE, _BACKGROUND, _CLIP = 1, 2, 3
_MARGIN = 20  # pixels of canvas on each side of the window


@dataclass(frozen=True)
class Difficulty:
    """How hard the embedded clips are; lengths in pixels at the size of the clips."""

    radius: float = 13.0
    deform: float = 0.12  # relative spread of an object's size, aspect, shear and bend
    travel: tuple[float, float] = (12.0, 17.0)  # of a leg to the side or up and down
    turn: tuple[float, float] = (1.4, 2.2)  # radians of a leg that turns
    zoom: tuple[float, float] = (1.5, 1.8)  # factor of a leg that grows or shrinks
    wobble: float = 0.2  # sd of an object's place in each frame
    jitter: float = 0.5  # sd of the camera's place in each frame
    drift: float = 0.4  # greatest speed of the background, a frame
    clutter: int = 5  # still pieces on a background's canvas
    distractors: int = 2
    distractor_speed: float = 1.2  # a frame
    occluder: float = 0.5  # probability of a bar in front of everything
    contrast: float = 0.35  # of the background
    noise: float = 0.06  # sd, full range is 1; an individual frame has 0.5 to 1.5 times that
    light: float = 0.12  # sd of the gain's change over a clip and of the side light
    dropped: float = 0.04  # probability that a frame repeats the one before
    broken: float = 0.04  # probability that a frame is very noisy
    evidence: float = 0.6  # probability that an object wears its shape's own texture


@dataclass(frozen=True)
class EmbeddedConfig:
    """Everything that decides the embedded data; its `key` names the files on disk."""

    seed: int = 2018
    size: int = 64
    frames: int = 25
    leg: int = 6  # flow pairs a leg
    stack: int = 4  # flow pairs of a stack: no rest is shorter than stack - 1 pairs
    train: int = 480
    validation: int = 200
    test: int = 300
    static_train: int = 4000
    static_validation: int = 400
    instances: int = 24  # objects a shape and split
    backgrounds: int = 80  # a split
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
        """Return the number of clips of a split."""
        return int(getattr(self, split))

    @property
    def key(self) -> str:
        """A name that changes with every field."""
        text = json.dumps({"drawing": 1, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Clip:
    """One generated clip: (N, S, S, 3) RGB frames, its class, and where it comes from."""

    frames: NDArray[np.uint8]
    label: int
    origin: dict[str, Any]


def _stream(config: EmbeddedConfig, *numbers: int) -> tuple[list[int], np.random.Generator]:
    entropy = [config.seed, *numbers]
    return entropy, np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def make_clip(config: EmbeddedConfig, split: str, index: int) -> Clip:
    """Draw clip `index` of a split; classes take turns, so every class is equally frequent.

    Args:
      config: the data set's parameters.
      split: one of SPLITS; the two static ones give stack + 1 frames of one leg.
      index: 0 .. config.count(split) - 1.
    """
    level = config.difficulty
    number = SPLITS[split]
    static = split.startswith("static")
    shapes = STATIC_SHAPES if static else ACTION_SHAPES
    motions = {leg: (leg,) for leg in LEGS} if static else MOTIONS
    label = index % (len(shapes) * len(motions))
    shape_index, motion_index = divmod(label, len(motions))
    shape, motion = list(shapes)[shape_index], list(motions)[motion_index]
    clip_seed, rng = _stream(config, _CLIP, number, index)

    which = int(rng.integers(config.instances))
    instance_seed, own = _stream(config, _INSTANCE, number, shape_index, which)
    wears = shape_index if own.random() < level.evidence else int(own.integers(len(TEXTURES)))
    texture = TEXTURES[wears % len(TEXTURES)]
    instance = draw_instance(own, shapes[shape], texture, level.radius, level.deform)

    scene = int(rng.integers(config.backgrounds))
    background_seed, own = _stream(config, _BACKGROUND, number, scene)
    canvas_size = config.size + 2 * _MARGIN
    clutter = list(shapes.values())
    canvas = draw_background(own, canvas_size, level.clutter, level.contrast, clutter)

    path = _path(config, rng, motions[motion], static)
    frames = _film(config, rng, canvas, instance, path)
    origin = {
        "shape": shape,
        "motion": motion,
        "clip": clip_seed,
        "instance": instance_seed,
        "background": background_seed,
    }
    return Clip(frames, label, origin)


def _path(
    config: EmbeddedConfig, rng: np.random.Generator, legs: tuple[str, ...], static: bool
) -> Track:
    """Draw the object's path: its legs in their order, rests between them, a little wobble."""
    level = config.difficulty
    pairs = config.stack if static else config.frames - 1
    moves = {leg: np.zeros(pairs) for leg in LEGS}  # change a pair
    rests = max(config.stack - 1, 1) + rng.multinomial(config.spare, [1 / 3] * 3)
    start = 0
    for leg, rest in zip(legs, rests, strict=False):
        low, high = {"turn": level.turn, "zoom": level.zoom}.get(leg, level.travel)
        amount = rng.uniform(low, high)
        if leg == "zoom":
            amount = float(np.log(amount))
        speed = rng.uniform(0.6, 1.4, config.leg)
        speed *= amount * rng.choice([-1.0, 1.0]) / speed.sum()
        if static:
            moves[leg][:] = speed[:pairs]
        else:
            moves[leg][start + rest : start + rest + config.leg] = speed
        start += rest + config.leg
    # Integrate, centre the range, then put the whole path somewhere near the middle.
    place = {leg: np.concatenate([[0.0], np.cumsum(move)]) for leg, move in moves.items()}
    middle = {leg: (p.min() + p.max()) / 2 for leg, p in place.items()}
    loose = 0.5 * config.size - level.radius - 5.0
    shift = {}
    for leg in ("side", "rise"):
        room = max(loose - np.ptp(place[leg]) / 2, 0.0)
        shift[leg] = rng.uniform(-room, room) + config.size / 2 - middle[leg]
    count = pairs + 1
    wobble = level.wobble * rng.standard_normal((4, count))
    return Track(
        x=place["side"] + shift["side"] + wobble[0],
        y=place["rise"] + shift["rise"] + wobble[1],
        angle=place["turn"] + rng.uniform(0.0, 2 * np.pi) + 0.1 * wobble[2],
        scale=np.exp(place["zoom"] - middle["zoom"] + 0.05 * wobble[3]),
    )


def _film(
    config: EmbeddedConfig,
    rng: np.random.Generator,
    canvas: NDArray[np.float32],
    instance: Instance,
    path: Track,
) -> NDArray[np.uint8]:
    """Put background, distractors, object, occluder, light and noise together: (N, S, S, 3)."""
    level, size, count = config.difficulty, config.size, len(path.x)
    time = np.arange(count) - count / 2
    shake = level.jitter * rng.standard_normal((2, count))
    drift = rng.uniform(-level.drift, level.drift, 2)[:, None] * time
    corner = _MARGIN + rng.uniform(-5, 5, 2)[:, None] + drift + shake
    frames = view_background(canvas, corner[0], corner[1], size)  # (N, S, S, 3)

    def place(x: Numbers, y: Numbers, angle: Numbers, scale: Numbers) -> Track:
        return Track(x - shake[0], y - shake[1], angle, scale)  # what the camera sees

    still = np.ones(count)
    layers: list[tuple[float, Instance, Track]] = [
        (0.5, instance, place(path.x, path.y, path.angle, path.scale))
    ]
    for _ in range(level.distractors):
        x, y = rng.uniform(0, size, 2)
        vx, vy = rng.uniform(-level.distractor_speed, level.distractor_speed, 2)
        blob = draw_instance(rng, STATIC_SHAPES["ball"], "speckle", rng.uniform(3, 6), 0.3)
        where = place(x + vx * time, y + vy * time, rng.uniform(0, 6) * still, still)
        layers.append((rng.random(), blob, where))
    if rng.random() < level.occluder:
        bar = draw_instance(rng, ACTION_SHAPES["bar"], "stripes", 60.0, 0.0)
        thin = 0.1 * rng.uniform(0.8, 1.5) / 0.3  # a bar of 60 pixels' length and 7 to 11 width
        x, y = size / 2 + rng.uniform(-18, 18, 2)
        bar = replace(bar, aspect=1.0 / thin, shear=0.0, bend=0.0)
        layers.append((2.0, bar, place(x * still, y * still, rng.uniform(0, 6) * still, still)))
    for _, thing, where in sorted(layers, key=lambda layer: layer[0]):
        paste_object(frames, thing, where)

    walk = np.cumsum(rng.standard_normal(count)) / np.sqrt(count)
    gain = np.exp(level.light * (walk + 0.3 * rng.standard_normal(count)))  # (N,)
    grid = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    tilt = np.float32(level.light) * rng.standard_normal(2, dtype=np.float32)
    side = 1.0 + tilt[0] * grid[None, :] + tilt[1] * grid[:, None]  # (S, S)
    frames *= np.float32(np.round(gain, 6))[:, None, None, None] * side[None, :, :, None]
    sd = level.noise * rng.uniform(0.5, 1.5, count)
    sd = np.where(rng.random(count) < level.broken, 4 * sd, sd)
    noise = rng.standard_normal(frames.shape, dtype=np.float32)
    frames += np.float32(sd)[:, None, None, None] * noise
    film = np.clip(np.rint(frames * 255.0), 0, 255).astype(np.uint8)
    for k in np.flatnonzero(rng.random(count) < level.dropped):
        film[k] = film[max(k - 1, 0)]
    return film
