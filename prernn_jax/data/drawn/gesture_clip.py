"""Draws the clips of the embedded gestures; each depends on its split and number alone."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.drawn.gestures import (
    GESTURE_CLASSES,
    POSE_CLASSES,
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
# What goes from the first state to the second: fingers, or a motion and its sign.
_CHANGES = {"open": ("fist", "five"), "close": ("five", "fist")} | {
    f"show {number}": ("fist", number) for number in ("one", "two")
}
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
        split: One of SPLITS; the two for stage one give `config.clip` frames of one motion or of
            a still hand.
        index: 0 .. config.count(split) - 1.
    """
    number = SPLITS[split]
    classes = POSE_CLASSES if split.startswith("pose") else GESTURE_CLASSES
    label = index % len(classes)
    clip_seed = [config.seed, _CLIP, number, index]
    rng = _generator(clip_seed)
    hand_seed, hand = _hand(config, number, int(rng.integers(config.hands)))
    if split.startswith("pose"):
        progress = _passing(rng, config.clip)
    else:
        progress = draw_progress(rng, config.frames)
    pose = draw_pose(config, rng, classes[label], progress)
    frames = _film(config, rng, hand, pose)
    return GestureClip(frames, label, {"clip": clip_seed, "hand": hand_seed})


def _generator(seed: list[int]) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))


@functools.lru_cache(maxsize=512)
def _hand(config: EmbeddedGesturesConfig, number: int, which: int) -> tuple[list[int], Hand]:
    """Draws one hand of a split; it does many gestures."""
    level = config.difficulty
    seed = [config.seed, _HAND, number, which]
    return seed, draw_hand(_generator(seed), level.unit * config.size / 48, level.hands)


def _eased(part: Numbers) -> Numbers:
    part = np.clip(part, 0.0, 1.0)
    return part * part * (3.0 - 2.0 * part)


def draw_progress(rng: np.random.Generator, frames: int) -> Numbers:
    """Draws the course of a gesture (N,): 0 is the first state, 1 the second.

    The return is at most two frames slower than the stroke, and the hold takes about half of the
    remaining time. So neither speed nor duration tells the order.
    """
    stroke = int(rng.integers(4, 7))
    back = stroke + int(rng.integers(0, 3))
    idle = frames - stroke - back
    hold = round(idle * rng.uniform(0.4, 0.6))
    before = int(rng.integers(2, idle - hold - 1))
    time = np.arange(frames)
    there = _eased((time - before) / stroke)
    return there - _eased((time - before - stroke - hold) / back)


def _passing(rng: np.random.Generator, frames: int) -> Numbers:
    """Draws the middle part of a stroke or of a return (N,), as a short clip shows it."""
    length = int(rng.integers(4, 9))
    begin = rng.uniform(0.0, max(length - frames + 1, 0.5))
    return _eased((np.arange(frames) + begin) / length)


def draw_pose(
    config: EmbeddedGesturesConfig, rng: np.random.Generator, kind: str, progress: Numbers
) -> Pose:
    """Draws the pose of a hand in each frame of a gesture or of a still shape.

    Args:
        config: Sizes and difficulty.
        rng: The random generator.
        kind: One of GESTURE_CLASSES or of SHAPES.
        progress: The course (N,), see `draw_progress`.
    """
    level, count = config.difficulty, len(progress)
    first, second = _CHANGES.get(kind, (None, None))
    if first is None or second is None:
        first = second = kind if kind in SHAPES else str(rng.choice(list(SHAPES)))
    begin, end = np.array(SHAPES[first]), np.array(SHAPES[second])
    fingers = begin + progress[:, None] * (end - begin)
    axis, sign = _MOTIONS.get(kind, ("", 0.0))
    pixel = config.size / 48
    amount = {
        "x": pixel * rng.uniform(*level.travel),
        "y": pixel * rng.uniform(*level.travel),
        "near": rng.uniform(*level.approach),
        "angle": rng.uniform(*level.turn),
    }
    moved = {name: sign * amount[name] * (axis == name) for name in amount}
    # The middle of the path lies anywhere, so a position does not tell which end it is.
    way = progress - 0.5
    arm = level.tilt * rng.standard_normal()
    place = {}
    for name in ("x", "y"):
        room = max(config.size / 2 - pixel * _MARGIN - abs(moved[name]) / 2, 0.0)
        middle = config.size / 2 + rng.uniform(-room, room)
        shake = pixel * level.jitter * rng.standard_normal(count)
        place[name] = middle + moved[name] * way + pixel * _sway(rng, level, count) + shake
    near = rng.uniform(-0.2, 0.2) + moved["near"] * way
    wrist = 0.3 * level.tilt * rng.standard_normal()
    return Pose(
        x=place["x"],
        y=place["y"],
        angle=arm + wrist + moved["angle"] * way,
        arm=np.full(count, arm),
        near=near + 0.01 * rng.standard_normal(count),
        fingers=np.clip(fingers, 0.0, 1.0),
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
