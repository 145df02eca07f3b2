"""Filming an embedded clip: the object's path, then everything that the camera sees."""

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.drawn.actions import (
    ACTION_SHAPES,
    LEGS,
    MOTIONS,
    SPLITS,
    STATIC_SHAPES,
    EmbeddedConfig,
)
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

MARGIN = 20  # pixels of canvas on each side of the window


def draw_path(
    config: EmbeddedConfig, rng: np.random.Generator, legs: tuple[str, ...], static: bool
) -> Track:
    """Draws the object's path: its legs in their order, rests between them, a little wobble."""
    level = config.difficulty
    pairs = config.stack if static else config.frames - 1
    moves = np.zeros((2, pairs))  # change of x and of y a pair
    rests = max(config.stack - 1, 1) + rng.multinomial(config.spare, [1 / 3] * 3)
    start = 0
    for leg, rest in zip(legs, rests, strict=False):
        speed = rng.uniform(*level.speed, config.leg) * rng.choice([-1.0, 1.0])
        if leg in ("swing", "bounce"):
            speed[1::2] *= -1.0
        axis = 0 if leg in ("side", "swing") else 1
        if static:
            moves[axis] = speed[:pairs]
        else:
            moves[axis, start + rest : start + rest + config.leg] = speed
        start += rest + config.leg
    # Integrate, centre the range, then put the whole path somewhere near the middle.
    place = np.concatenate([np.zeros((2, 1)), np.cumsum(moves, axis=1)], axis=1)
    room = np.maximum(0.5 * config.size - level.radius - 5.0 - np.ptp(place, axis=1) / 2, 0.0)
    place -= (place.min(axis=1, keepdims=True) + place.max(axis=1, keepdims=True)) / 2
    place += config.size / 2 + (rng.uniform(-1.0, 1.0, 2) * room)[:, None]
    place += level.wobble * rng.standard_normal(place.shape)
    still = np.ones(pairs + 1)
    angle = rng.uniform(-level.tilt, level.tilt)
    size = float(np.exp(rng.uniform(-level.scale, level.scale)))
    return Track(x=place[0], y=place[1], angle=angle * still, scale=size * still)


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
        thin = 0.05 * rng.uniform(0.8, 1.5) / 0.3  # through the whole picture, 5 to 9 pixels wide
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
        split: One of SPLITS; the two static ones give stack + 1 frames of one leg.
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
    background_seed, canvas = _background(config, number, scene, static)

    path = draw_path(config, rng, motions[motion], static)
    frames = film_clip(config, rng, canvas, instance, path)
    origin = {
        "shape": shape,
        "motion": motion,
        "clip": clip_seed,
        "instance": instance_seed,
        "background": background_seed,
    }
    return Clip(frames, label, origin)
