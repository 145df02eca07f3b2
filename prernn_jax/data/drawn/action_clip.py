"""Filming an embedded clip: the object's path, then everything that the camera sees."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.drawn.actions import CUE, DIRECTIONS, LEGS, SPLITS, EmbeddedConfig
from prernn_jax.data.drawn.render import (
    TEXTURES,
    Instance,
    Numbers,
    Track,
    draw_background,
    draw_instance,
    paste_object,
    view_background,
)
from prernn_jax.data.drawn.shapes import ACTION_SHAPES, STATIC_SHAPES

MARGIN = 20  # pixels of canvas on each side of the window


class Leg(NamedTuple):
    """One leg of a clip: a number in LEGS, its first flow pair, and its number of pairs."""

    kind: int
    start: int
    pairs: int


def draw_legs(config: EmbeddedConfig, rng: np.random.Generator, motion: int) -> list[Leg]:
    """Draws the legs of a clip: some at random, the cue, the motion, and more to the clip's end.

    Args:
        config: The data set's parameters.
        rng: Source of chance.
        motion: The direction that is the clip's class.
    """
    before = rng.integers(len(DIRECTIONS), size=int(rng.integers(config.before + 1)))
    kinds = [*before.tolist(), LEGS.index(CUE), motion]
    start = int(rng.integers(config.rest + 2))
    legs: list[Leg] = []
    while start < config.frames - 1:
        kind = kinds[len(legs)] if len(legs) < len(kinds) else int(rng.integers(len(DIRECTIONS)))
        pairs = int(rng.integers(config.leg[0], config.leg[1] + 1))
        legs.append(Leg(kind, start, min(pairs, config.frames - 1 - start)))
        start += pairs + int(rng.integers(config.rest, config.rest + 2))
    return legs


def draw_path(
    config: EmbeddedConfig, rng: np.random.Generator, legs: Sequence[Leg], frames: int
) -> Track:
    """Draws the object's path over its legs; after each leg it is put to another place.

    Args:
        config: The data set's parameters.
        rng: Source of chance.
        legs: In their order; between them lies at least one pair.
        frames: Length of the path.
    """
    level = config.difficulty
    place = np.zeros((2, frames))
    size, glow, smear = np.zeros(frames), np.zeros(frames), np.zeros(frames, np.int64)
    after = 0  # the first frame behind the leg before
    for number, leg in enumerate(legs):
        last = leg.start + leg.pairs  # the leg's last frame
        until = frames if number + 1 == len(legs) else last + 1
        inside = slice(leg.start, last + 1)
        way = np.zeros((2, leg.pairs + 1))
        if LEGS[leg.kind] == CUE:
            size[inside] = level.swell * (np.arange(leg.pairs + 1) - leg.pairs / 2)
            glow[inside] = level.glow
        else:
            axis, sign = leg.kind % 2, 1.0 if leg.kind < 2 else -1.0
            way[axis, 1:] = sign * np.cumsum(rng.uniform(*level.speed, leg.pairs))
            smear[inside] = 1 + axis
        way -= (way.min(axis=1, keepdims=True) + way.max(axis=1, keepdims=True)) / 2
        room = np.maximum(config.size / 2 - level.radius - 3.0 - np.ptp(way, axis=1) / 2, 0.0)
        way += config.size / 2 + (rng.uniform(-1.0, 1.0, 2) * room)[:, None]
        place[:, after : leg.start] = way[:, :1]
        place[:, inside] = way
        place[:, last + 1 : until] = way[:, -1:]
        after = until
    place += level.wobble * rng.standard_normal(place.shape)
    turn = float(rng.integers(4)) * np.pi / 2 + rng.uniform(-level.tilt, level.tilt)
    whole = rng.uniform(-level.scale, level.scale)
    return Track(place[0], place[1], np.full(frames, turn), np.exp(size + whole), smear, glow)


def film_clip(
    config: EmbeddedConfig,
    rng: np.random.Generator,
    canvas: NDArray[np.float32],
    instance: Instance,
    path: Track,
) -> NDArray[np.uint8]:
    """Puts background, distractors, object, occluder, light and noise together: (N, S, S, 3)."""
    level, size, count = config.difficulty, config.size, len(path.x)
    time = np.arange(count) - count / 2
    shake = level.jitter * rng.standard_normal((2, count))
    drift = rng.uniform(-level.drift, level.drift, 2)[:, None] * time
    corner = MARGIN + rng.uniform(-5, 5, 2)[:, None] + drift + shake
    frames = view_background(canvas, corner[0], corner[1], size)  # (N, S, S, 3)

    def place(x: Numbers, y: Numbers, angle: Numbers, scale: Numbers) -> Track:
        return Track(x - shake[0], y - shake[1], angle, scale)  # what the camera sees

    seen = replace(path, x=path.x - shake[0], y=path.y - shake[1])

    still = np.ones(count)
    layers: list[tuple[float, Instance, Track]] = [(0.5, instance, seen)]
    for _ in range(level.distractors):
        x, y = rng.uniform(0, size, 2)
        vx, vy = rng.uniform(-level.distractor_speed, level.distractor_speed, 2)
        blob = draw_instance(rng, STATIC_SHAPES["ball"], "speckle", rng.uniform(3, 6), 0.3)
        where = place(x + vx * time, y + vy * time, rng.uniform(0, 6) * still, still)
        layers.append((rng.random(), blob, where))
    if rng.random() < level.occluder:
        bar = draw_instance(rng, ACTION_SHAPES["bar"], "stripes", 60.0, 0.0)
        thin = 0.05 * rng.uniform(0.8, 1.5) / 0.3  # through the whole picture, 5 to 9 pixels wide
        x, y = size / 2 + rng.uniform(-18, 18, 2)
        bar = replace(bar, aspect=1.0 / thin, shear=0.0, bend=0.0)
        layers.append((2.0, bar, place(x * still, y * still, rng.uniform(0, 6) * still, still)))
    for _, thing, where in sorted(layers, key=lambda layer: layer[0]):
        paste_object(frames, thing, where, 1 if where.smear is None else level.blur)

    walk = np.cumsum(rng.standard_normal(count)) / np.sqrt(count)
    gain = np.exp(level.light * (walk + 0.3 * rng.standard_normal(count)))  # (N,)
    grid = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    tilt = np.float32(level.light) * rng.standard_normal(2, dtype=np.float32)
    side = 1.0 + tilt[0] * grid[None, :] + tilt[1] * grid[:, None]  # (S, S)
    frames *= np.round(gain, 6).astype(np.float32)[:, None, None, None] * side[None, :, :, None]
    sd = level.noise * rng.uniform(0.5, 1.5, count)
    sd = np.where(rng.random(count) < level.broken, 4 * sd, sd)
    noise = rng.standard_normal(frames.shape, dtype=np.float32)
    frames += sd.astype(np.float32)[:, None, None, None] * noise
    film = np.clip(np.rint(frames * 255.0), 0, 255).astype(np.uint8)
    for k in np.flatnonzero(rng.random(count) < level.dropped):
        film[k] = film[max(k - 1, 0)]
    return film


_INSTANCE, _BACKGROUND, _CLIP = 1, 2, 3


@dataclass(frozen=True)
class Clip:
    """One generated clip: (N, S, S, 3) RGB frames, its class, and where it comes from."""

    frames: NDArray[np.uint8]
    label: int
    origin: dict[str, Any]


def _stream(config: EmbeddedConfig, *numbers: int) -> tuple[list[int], np.random.Generator]:
    entropy = [config.seed, *numbers]
    return entropy, np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


@functools.lru_cache(maxsize=256)
def _background(
    config: EmbeddedConfig, number: int, scene: int, static: bool
) -> tuple[list[int], NDArray[np.float32]]:
    """Draws one background of a split (it serves many clips); returns its seed and canvas."""
    level = config.difficulty
    seed, rng = _stream(config, _BACKGROUND, number, scene)
    clutter = list((STATIC_SHAPES if static else ACTION_SHAPES).values())
    size = config.size + 2 * MARGIN
    return seed, draw_background(rng, size, level.clutter, level.contrast, clutter)


def make_clip(config: EmbeddedConfig, split: str, index: int) -> Clip:
    """Draws clip `index` of a split; classes take turns, so every class is equally frequent.

    Args:
        config: The data set's parameters.
        split: One of SPLITS; the two static ones give stack + 1 frames inside one leg.
        index: 0 .. config.count(split) - 1.
    """
    level = config.difficulty
    number = SPLITS[split]
    static = split.startswith("static")
    shapes = STATIC_SHAPES if static else ACTION_SHAPES
    motions = LEGS if static else DIRECTIONS
    label = index % (len(shapes) * len(motions))
    shape_index, motion_index = divmod(label, len(motions))
    shape, motion = list(shapes)[shape_index], motions[motion_index]
    clip_seed, rng = _stream(config, _CLIP, number, index)

    which = int(rng.integers(config.instances))
    instance_seed, own = _stream(config, _INSTANCE, number, shape_index, which)
    wears = shape_index if own.random() < level.evidence else int(own.integers(len(TEXTURES)))
    texture = TEXTURES[wears % len(TEXTURES)]
    instance = draw_instance(own, shapes[shape], texture, level.radius, level.deform)

    scene = int(rng.integers(config.backgrounds))
    background_seed, canvas = _background(config, number, scene, static)

    if static:
        legs, count = [Leg(motion_index, 0, config.stack)], config.stack + 1
    else:
        legs, count = draw_legs(config, rng, motion_index), config.frames
    path = draw_path(config, rng, legs, count)
    frames = film_clip(config, rng, canvas, instance, path)
    origin = {
        "shape": shape,
        "motion": motion,
        "legs": legs,
        "clip": clip_seed,
        "instance": instance_seed,
        "background": background_seed,
    }
    return Clip(frames, label, origin)
