"""Draws the clips of the embedded gestures; each depends on its split and number alone."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.drawn.gestures import (
    CUE,
    GESTURE_CLASSES,
    POSE_CLASSES,
    REST,
    SPLITS,
    EmbeddedGesturesConfig,
    GestureDifficulty,
)
from prernn_jax.data.drawn.hand import Capsules, Hand, Pose, draw_hand, paste_capsules, paste_hand
from prernn_jax.data.drawn.render import Numbers

SHAPES = {
    "fist": (0.0, 0.0, 0.0, 0.0, 0.0),
    "one": (0.0, 1.0, 0.0, 0.0, 0.0),
    "two": (0.0, 1.0, 1.0, 0.0, 0.0),
    "five": (1.0, 1.0, 1.0, 1.0, 1.0),
}
_CUE_SHAPE = (1.0, 0.0, 0.0, 0.0, 1.0)
_CHANGES = {"open": ("fist", "five"), "close": ("five", "fist")}
_MOTIONS = {
    "move left": ("x", -1.0),
    "move right": ("x", 1.0),
    "move up": ("y", -1.0),
    "move down": ("y", 1.0),
    "push": ("near", 1.0),
    "pull": ("near", -1.0),
    "turn left": ("angle", -1.0),
    "turn right": ("angle", 1.0),
}
_HAND, _CLIP = 1, 2
_MARGIN = 9.0  # distance of a palm's centre from the border, in pixels of a frame of 48


class Leg(NamedTuple):
    """One of POSE_CLASSES in a clip: its name, its first frame, and its number of frame pairs."""

    kind: str
    start: int
    pairs: int


@dataclass(frozen=True)
class GestureClip:
    """One drawn clip: depth pictures (N, S, S), the class, and the seeds it was drawn from."""

    frames: NDArray[np.uint8]
    label: int
    origin: dict[str, Any]


def make_gesture(config: EmbeddedGesturesConfig, split: str, index: int) -> GestureClip:
    """Draws one clip of a split. Classes take turns, so all are equally frequent.

    Args:
        config: The parameters of the data set.
        split: One of SPLITS; the two for stage one give `config.clip` frames, see `draw_window`.
        index: 0 .. config.count(split) - 1.
    """
    number = SPLITS[split]
    classes = POSE_CLASSES if split.startswith("pose") else GESTURE_CLASSES
    label = index % len(classes)
    clip_seed = [config.seed, _CLIP, number, index]
    rng = _generator(clip_seed)
    hand_seed, hand = _hand(config, number, int(rng.integers(config.hands)))
    if split.startswith("pose"):
        legs, first = draw_window(config, rng, classes[label])
        count = config.clip
    else:
        legs, first, count = draw_legs(config, rng, classes[label]), 0, config.frames
    whole = draw_pose(config, rng, legs, first + count)
    pose = Pose(*(values[first:] for values in whole))
    frames = _film(config, rng, hand, pose)
    return GestureClip(frames, label, {"clip": clip_seed, "hand": hand_seed, "legs": legs})


def _generator(seed: list[int]) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))


@functools.lru_cache(maxsize=512)
def _hand(config: EmbeddedGesturesConfig, number: int, which: int) -> tuple[list[int], Hand]:
    """Draws one hand of a split; it does many gestures."""
    level = config.difficulty
    seed = [config.seed, _HAND, number, which]
    return seed, draw_hand(_generator(seed), level.unit * config.size / 48, level.hands)


def _next_leg(config: EmbeddedGesturesConfig, rng: np.random.Generator, kind: str, at: int) -> Leg:
    return Leg(kind, at, int(rng.integers(config.leg[0], config.leg[1] + 1)))


def _rest(config: EmbeddedGesturesConfig, rng: np.random.Generator) -> int:
    return config.rest + int(rng.integers(2))


def draw_legs(config: EmbeddedGesturesConfig, rng: np.random.Generator, gesture: str) -> list[Leg]:
    """Draws what the hand does: gestures at random, the cue, the gesture, and more to the end.

    Args:
        config: The parameters of the data set.
        rng: The random generator.
        gesture: The gesture that is the clip's class.
    """
    kinds = [
        str(kind) for kind in rng.choice(GESTURE_CLASSES, int(rng.integers(config.before + 1)))
    ]
    kinds += [CUE, gesture]
    legs: list[Leg] = []
    start = int(rng.integers(config.rest + 2))
    while start < config.frames - 1:
        number = len(legs)
        kind = kinds[number] if number < len(kinds) else str(rng.choice(GESTURE_CLASSES))
        legs.append(_next_leg(config, rng, kind, start))
        start += legs[-1].pairs + _rest(config, rng)
    return legs


def draw_window(
    config: EmbeddedGesturesConfig, rng: np.random.Generator, kind: str
) -> tuple[list[Leg], int]:
    """Draws three legs of which the second is of a kind, and the first frame of a short clip.

    The clip sees all but one of its pairs in the second leg or more. Where that is a rest, it may
    see one pair of a gesture beside it.
    """
    around = [str(other) for other in rng.choice([*GESTURE_CLASSES, CUE], 2)]
    legs = [_next_leg(config, rng, around[0], 0)]
    gaps = [_rest(config, rng), _rest(config, rng)]
    legs.append(_next_leg(config, rng, kind, legs[0].pairs + gaps[0]))
    start, end = legs[1].start, legs[1].start + legs[1].pairs
    legs.append(_next_leg(config, rng, around[1], end + gaps[1]))
    seen = config.clip - 1  # pairs
    if kind == REST:
        low, high = start - gaps[0] - 1, end + gaps[1] + 1 - seen
    else:
        low, high = start - 1, end + 1 - seen
    return legs, int(rng.integers(low, high + 1))


def draw_pose(
    config: EmbeddedGesturesConfig, rng: np.random.Generator, legs: Sequence[Leg], count: int
) -> Pose:
    """Draws the pose of a hand in each of N frames; after each leg it is put elsewhere.

    Args:
        config: Sizes and difficulty.
        rng: The random generator.
        legs: What the hand does.
        count: Number of frames N.
    """
    level, pixel = config.difficulty, config.size / 48
    arm = level.tilt * rng.standard_normal()
    parts = []
    after = 0  # the first frame behind the leg before
    for number, leg in enumerate(legs):
        until = count if number + 1 == len(legs) else min(leg.start + leg.pairs + 1, count)
        progress = np.clip((np.arange(after, until) - leg.start) / leg.pairs, 0.0, 1.0)
        parts.append(_stretch(config, rng, leg.kind, progress, arm))
        after = until
    pose = Pose(*(np.concatenate(values) for values in zip(*parts, strict=True)))

    def shaken(values: Numbers) -> Numbers:
        shake = pixel * level.jitter * rng.standard_normal(count)
        return values + pixel * _sway(rng, level, count) + shake

    near = pose.near + 0.01 * rng.standard_normal(count)
    return pose._replace(x=shaken(pose.x), y=shaken(pose.y), near=near)


def _stretch(
    config: EmbeddedGesturesConfig,
    rng: np.random.Generator,
    kind: str,
    progress: Numbers,
    arm: float,
) -> Pose:
    """Draws the poses of one leg and of the rest before it; `progress` goes from 0 to 1."""
    level, pixel = config.difficulty, config.size / 48
    first, second = _CHANGES.get(kind, (str(rng.choice(list(SHAPES))),) * 2)
    begin, end = np.array(SHAPES[first]), np.array(SHAPES[second])
    near = rng.uniform(-0.2, 0.2)
    if kind == CUE:
        begin = end = np.array(_CUE_SHAPE)
        near = rng.uniform(*level.near)
    axis, sign = _MOTIONS.get(kind, ("", 0.0))
    amount = {
        "x": pixel * rng.uniform(*level.travel),
        "y": pixel * rng.uniform(*level.travel),
        "near": rng.uniform(*level.approach),
        "angle": rng.uniform(*level.turn),
    }
    moved = {name: sign * amount[name] * (axis == name) for name in amount}
    # The middle of the path lies anywhere, so a position does not tell which end it is.
    way = progress - 0.5
    place = {}
    for name in ("x", "y"):
        room = max(config.size / 2 - pixel * _MARGIN - abs(moved[name]) / 2, 0.0)
        place[name] = config.size / 2 + rng.uniform(-room, room) + moved[name] * way
    wrist = 0.3 * level.tilt * rng.standard_normal()
    return Pose(
        x=place["x"],
        y=place["y"],
        angle=arm + wrist + moved["angle"] * way,
        arm=np.full(len(progress), arm),
        near=near + moved["near"] * way,
        fingers=begin + progress[:, None] * (end - begin),
    )


def _sway(rng: np.random.Generator, level: GestureDifficulty, count: int) -> Numbers:
    """Draws a slow swing in pixels (N,)."""
    turns, phase = rng.uniform(0.3, 0.8), rng.uniform(0.0, 1.0)
    part = turns * np.arange(count) / 28 + phase
    return np.round(rng.uniform(0, level.sway) * np.sin(2 * np.pi * part), 6)


def _film(
    config: EmbeddedGesturesConfig, rng: np.random.Generator, hand: Hand, pose: Pose
) -> NDArray[np.uint8]:
    """Draws clutter, hand, holes and noise into the pictures (N, S, S)."""
    level, size, count = config.difficulty, config.size, len(pose.x)
    frames = np.full((count, size, size), rng.uniform(0.0, 0.1), np.float32)
    time = np.arange(count)
    still = np.ones(count)
    for _ in range(level.clutter):
        x, y = rng.uniform(0, size, 2)
        dx, dy = rng.uniform(-0.4, 0.4, 2) * size
        vx, vy = rng.uniform(-level.drift, level.drift, 2)
        near = rng.uniform(0.05, 0.4)
        thing = Capsules(
            x0=x + vx * time,
            y0=y + vy * time,
            x1=x + dx + vx * time,
            y1=y + dy + vy * time,
            radius=rng.uniform(0.03, 0.2) * size * still,
            near0=near * still,
            near1=(near + rng.uniform(-0.15, 0.15)) * still,
        )
        paste_capsules(frames, thing)
    paste_hand(frames, hand, pose)
    for _ in range(int(rng.poisson(level.holes * count))):
        k, left, top = (int(rng.integers(n)) for n in (count, size, size))
        wide, tall = rng.integers(2, 2 + size // 6, 2)
        frames[k, top : top + tall, left : left + wide] = 0.0
    noise = np.float32(level.noise * rng.uniform(0.5, 1.5))
    for k in range(count):
        if k and rng.random() < level.dropped:
            frames[k] = frames[k - 1]
        elif rng.random() < level.broken:
            frames[k] *= np.float32(0.15)
            frames[k] += np.float32(0.3) * rng.random((size, size), dtype=np.float32)
        frames[k] += noise * rng.standard_normal((size, size), dtype=np.float32)
    return np.clip(np.round(255.0 * frames), 0, 255).astype(np.uint8)
