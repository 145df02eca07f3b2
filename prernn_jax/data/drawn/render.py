"""Drawing of the embedded clips: textured objects over a moving background, anti-aliased.

All frames of a clip are drawn at once in float32 numpy. Sines and cosines are taken of scalars
only and rounded to six digits, everything else is +, -, *, / and square root, so the pictures do
not depend on the machine.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.drawn.shapes import Plane, Shape

TEXTURES = ("stripes", "checks", "rings", "dots", "speckle")
Numbers = NDArray[np.float64]
_REACH = 1.75  # a deformed shape stays within so many radii of its middle


@dataclass(frozen=True)
class Instance:
    """One object: how its silhouette is deformed, how it is painted, how large it is."""

    shape: Shape
    radius: float  # pixels
    aspect: float  # width / height of the deformed unit disc
    shear: float
    bend: float  # curvature of the u axis
    texture: str
    waves: Numbers  # (4, 3): cycles a unit along u and v, phase
    colors: NDArray[np.float32]  # (2, 3), 0 .. 1


@dataclass(frozen=True)
class Track:
    """Where an object is in each frame; all arrays are (N,)."""

    x: Numbers  # pixels
    y: Numbers  # pixels
    angle: Numbers  # radians
    scale: Numbers  # factor on the radius
    smear: NDArray[np.int64] | None = None  # 0 sharp, 1 smeared along x, 2 along y
    glow: Numbers | None = None  # share of white in the object's colour


def draw_instance(
    rng: np.random.Generator, shape: Shape, texture: str, radius: float, deform: float
) -> Instance:
    """Draws the individual features of one object at random."""
    direction = rng.uniform(0.0, np.pi)
    waves = []
    for turn in (0.0, 0.5 * np.pi, 0.8, 2.1):
        cycles = rng.uniform(0.9, 1.7)
        angle = direction + turn
        waves.append((cycles * np.cos(angle), cycles * np.sin(angle), rng.uniform()))
    first = rng.uniform(0.0, 1.0, 3)
    first[0] = 0.5 * first[0] + (0.5 if first[1] > 0.5 else 0.0)  # a contrast in grey, too
    second = np.where(first > 0.5, first - 0.5, first + 0.5)  # always a contrast
    return Instance(
        shape=shape,
        radius=radius * rng.uniform(1.0 - deform, 1.0 + deform),
        aspect=rng.uniform(1.0 - deform, 1.0 + deform),
        shear=rng.uniform(-deform, deform),
        bend=rng.uniform(-deform, deform),
        texture=texture,
        waves=np.round(np.array(waves), 6),
        colors=np.stack([first, second]).astype(np.float32),
    )


def _wave(u: Plane, v: Plane, wave: Numbers) -> Plane:
    """A triangle wave between 0 and 1 along a direction."""
    x = np.float32(wave[0]) * u + np.float32(wave[1]) * v + np.float32(wave[2])
    return np.abs(2.0 * (x - np.floor(x + np.float32(0.5))))


def _paint(u: Plane, v: Plane, instance: Instance) -> Plane:
    """The texture's value, 0 .. 1, at object coordinates."""
    first, second = (_wave(u, v, instance.waves[k]) for k in range(2))
    if instance.texture == "stripes":
        value = 3.0 * (first - 0.5) + 0.5
    elif instance.texture == "checks":
        value = 8.0 * (first - 0.5) * (second - 0.5) + 0.5
    elif instance.texture == "rings":
        radius = np.sqrt((u - 0.3) ** 2 + (v - 0.2) ** 2)
        value = 3.0 * (_wave(radius, radius, instance.waves[0]) - 0.5) + 0.5
    elif instance.texture == "dots":
        value = 3.0 * (first + second - 1.3)
    else:
        third, fourth = (_wave(u, v, instance.waves[k] * 1.7) for k in (2, 3))
        value = first + second + third + fourth - 1.5
    return np.clip(value, 0.0, 1.0)


def per_frame(values: Numbers, digits: int = 6) -> Plane:
    """Rounded, as (N, 1, 1) float32."""
    return np.round(values, digits).astype(np.float32)[:, None, None]


def span(place: Numbers, reach: float, size: int) -> slice:
    """The pixels along one axis that lie within `reach` of any of the places."""
    low, high = float(np.min(place)) - reach, float(np.max(place)) + reach
    return slice(min(max(int(low), 0), size), min(max(int(high) + 1, 0), size))


def _smeared(values: Plane, axis: int, width: int) -> Plane:
    """The mean of `width` copies (N, R, C, K), each moved by one pixel more; nothing comes in."""
    total = np.zeros_like(values)
    size = values.shape[axis]
    for move in range(-(width // 2), width // 2 + 1):
        into, out_of = (
            slice(max(move, 0), size + min(move, 0)),
            slice(max(-move, 0), size - max(move, 0)),
        )
        before = (slice(None),) * axis
        total[(*before, into)] += values[(*before, out_of)]
    return total / np.float32(width)


def paste_object(frames: Plane, instance: Instance, path: Track, width: int = 1) -> None:
    """Draws an object over the frames (N, S, S, 3), in place.

    Args:
        frames: What is behind the object.
        instance: The object.
        path: Where it is, and in which frames it is smeared or glows.
        width: Pixels over which it is smeared, odd.
    """
    stretch = max(instance.aspect, 1.0 / instance.aspect)
    reach = _REACH * stretch * instance.radius * float(np.max(path.scale)) + 1.0 + width // 2
    columns, rows = (span(place, reach, frames.shape[1]) for place in (path.x, path.y))
    frames = frames[:, rows, columns]  # (N, R, C, 3), a view: only what the object can touch
    if frames.size == 0:
        return
    across = np.arange(columns.start, columns.stop, dtype=np.float32) + np.float32(0.5)
    down = np.arange(rows.start, rows.stop, dtype=np.float32) + np.float32(0.5)
    x, y = per_frame(path.x, 4), per_frame(path.y, 4)
    cos, sin = per_frame(np.cos(path.angle)), per_frame(np.sin(path.angle))
    radius = per_frame(instance.radius * path.scale)
    dx = (across[None, None, :] - x) / radius  # (N, 1, C)
    dy = (down[None, :, None] - y) / radius  # (N, R, 1)
    u = cos * dx + sin * dy  # (N, R, C)
    v = cos * dy - sin * dx
    bent = np.float32(instance.aspect) * v + np.float32(instance.bend) * (u * u - np.float32(0.3))
    flat = u / np.float32(instance.aspect) + np.float32(instance.shear) * v
    distance = instance.shape(flat, bent)
    alpha = np.clip(np.float32(0.5) - distance * radius, 0.0, 1.0)[..., None]  # (N, R, C, 1)
    dark, bright = instance.colors
    color = dark + (bright - dark) * _paint(flat, bent, instance)[..., None]
    if path.glow is not None:
        color += per_frame(path.glow)[..., None] * (np.float32(1.0) - color)
    if path.smear is None:
        frames += alpha * (color - frames)
        return
    layer = np.concatenate([alpha * color, alpha], axis=-1)  # (N, R, C, 4)
    for kind, axis in ((1, 2), (2, 1)):
        moving = path.smear == kind
        layer[moving] = _smeared(layer[moving], axis, width)
    frames += layer[..., :3] - layer[..., 3:] * frames


def _smooth_noise(rng: np.random.Generator, cells: int, size: int) -> Plane:
    """Random values on a coarse grid, interpolated linearly to (size, size, 3)."""
    coarse = rng.random((cells + 2, cells + 2, 3), dtype=np.float32)
    place = np.arange(size, dtype=np.float32) * np.float32(cells / size)
    low = place.astype(np.int64)
    part = place - low
    rows = coarse[low] + part[:, None, None] * (coarse[low + 1] - coarse[low])
    return rows[:, low] + part[None, :, None] * (rows[:, low + 1] - rows[:, low])


def draw_background(
    rng: np.random.Generator, size: int, clutter: int, contrast: float, shapes: list[Shape]
) -> Plane:
    """Draws a canvas (size, size, 3): coloured noise of three grains and still clutter."""
    canvas = np.float32(0.3) + np.float32(0.4) * rng.random(3, dtype=np.float32)
    noise = np.zeros((size, size, 3), np.float32)
    for cells, weight in ((size // 20, 0.5), (size // 8, 0.3), (size // 3, 0.2)):
        noise += np.float32(weight) * (_smooth_noise(rng, cells, size) - np.float32(0.5))
    # Mostly light and dark: flow needs texture there, and the objects are told by their colours.
    gray = (noise[..., :1] + noise[..., 1:2] + noise[..., 2:]) / np.float32(3.0)
    ground = np.float32(1.15) * gray + np.float32(0.25) * (noise - gray)
    canvas = (canvas + np.float32(2.0 * contrast) * ground)[None]
    for _ in range(clutter):
        shape = shapes[int(rng.integers(len(shapes)))]
        texture = TEXTURES[int(rng.integers(len(TEXTURES)))]
        piece = draw_instance(rng, shape, texture, rng.uniform(3.0, 9.0), 0.4)
        x, y, angle = (np.array([rng.uniform(0.0, top)]) for top in (size, size, 6.28))
        paste_object(canvas, piece, Track(x, y, angle, np.ones(1)))
    return canvas[0]


def view_background(canvas: Plane, x: Numbers, y: Numbers, size: int) -> Plane:
    """Looks at a canvas through a moving window: (N, size, size, 3), corner (x, y) in pixels."""
    limit = canvas.shape[0] - size - 1.001
    frames = np.empty((len(x), size, size, 3), np.float32)
    for k, (left, top) in enumerate(zip(np.clip(x, 0, limit), np.clip(y, 0, limit), strict=True)):
        i, j = int(top), int(left)
        across = np.float32(round(left - j, 4))
        down = np.float32(round(top - i, 4))
        piece = canvas[i : i + size + 1, j : j + size + 1]
        piece = piece[:, :-1] + across * (piece[:, 1:] - piece[:, :-1])
        frames[k] = piece[:-1] + down * (piece[1:] - piece[:-1])
    return frames
