"""Drawing the clips of the embedded action data, one by one, from their numbers alone.

Training, validation and test draw objects, backgrounds and clips from different random streams.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.embedded import LEGS, MOTIONS, SPLITS, EmbeddedConfig
from prernn_jax.data.film import MARGIN, draw_path, film_clip
from prernn_jax.data.render import TEXTURES, draw_background, draw_instance
from prernn_jax.data.shapes import ACTION_SHAPES, STATIC_SHAPES

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
    """Draw one background of a split (it serves many clips); returns its seed and canvas."""
    level = config.difficulty
    seed, rng = _stream(config, _BACKGROUND, number, scene)
    clutter = list((STATIC_SHAPES if static else ACTION_SHAPES).values())
    size = config.size + 2 * MARGIN
    return seed, draw_background(rng, size, level.clutter, level.contrast, clutter)


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
