"""Drawing of embedded faces by OpenCV's polygons, and what a bad camera makes of them."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.drawn.face_shape import CHANNELS, Identity, Numbers
from prernn_jax.data.face.landmarks import GROUPS, pupils

_FINER = 2  # faces are drawn this many times larger and then averaged
_SHIFT = 4  # OpenCV takes coordinates in units of 2**-4 pixels
_GAZE = [CHANNELS.index("gaze_x"), CHANNELS.index("gaze_y")]
_CIRCLE = np.stack([np.cos(np.linspace(0, 6.28, 13)), np.sin(np.linspace(0, 6.28, 13))], axis=-1)
_RANGE = 2.5  # grey levels -0.75 to 1.75 fit into 8 bits, so that noise and light are not cut off


@dataclass(frozen=True)
class Nuisance:
    """What spoils a picture, drawn anew for every frame. Grey levels go from 0 to 1.

    Attributes:
        noise: Standard deviation of each pixel.
        gain: Greatest change of the contrast, up or down.
        light: Standard deviation of the brightness and of its two gradients.
        box: Probability of a flat box in front of everything.
        box_side: Shortest and longest side of the box, as parts of the picture's side.
        dropped: Probability that a frame is lost: it shows noise and nothing else.
    """

    noise: float = 0.3
    gain: float = 0.4
    light: float = 0.2
    box: float = 0.6
    box_side: tuple[float, float] = (0.4, 0.9)
    dropped: float = 0.05


def draw_faces(
    who: Identity, landmarks: Numbers, top: Numbers, motion: Numbers, size: int
) -> NDArray[np.float32]:
    """Draws a face in motion, without nuisance.

    Args:
        who: The person.
        landmarks: The landmarks (N, 68, 2), from -1 to 1.
        top: Further points of the head's outline, see `pose_face`.
        motion: The channels (N, C); the gaze is taken from them.
        size: Side S of the pictures.

    Returns:
        The pictures (N, S, S), from 0 to 1.
    """
    side = size * _FINER
    points = np.concatenate([landmarks, top], axis=1)
    fixed = _fixed(points, side)  # (N, P, 2)
    head = np.concatenate([np.arange(17), np.arange(68, fixed.shape[1])])
    middle = points[:, head].mean(axis=1, keepdims=True)  # (N, 1, 2)
    above = np.concatenate([[14, 2], [0], np.arange(68, points.shape[1])[::-1], [16]])
    hair = _fixed(middle + (points[:, above] - middle) * (1 + 2 * who.hair), side)
    iris = _fixed(_irises(points[:, :68], motion[:, _GAZE]), side)
    thick = max(round(who.thickness * side / 2), 1)
    pictures = np.empty((len(points), size, size), np.float32)
    tone = {
        "skin": who.skin,
        "hair": who.hair_tone,
        "lip": who.lip_tone,
        "shade": 0.65 * who.skin,
        "white": 1.0,
        "dark": 0.08,
    }
    level = {name: round(255 * value) for name, value in tone.items()}
    for number, (face, cap, eyes) in enumerate(zip(fixed, hair, iris, strict=True)):
        canvas = np.full((side, side), round(255 * who.ground), np.uint8)
        _fill(canvas, cap, level["hair"])
        _fill(canvas, face[head], level["skin"])
        for name in ("left_brow", "right_brow"):
            _line(canvas, face[GROUPS[name]], level["hair"], thick)
        for name, disc in zip(("left_eye", "right_eye"), eyes, strict=True):
            _fill(canvas, face[GROUPS[name]], level["white"])
            _fill(canvas, disc, level["dark"])
            _line(canvas, face[GROUPS[name]][:4], level["dark"], 1)
        _line(canvas, face[GROUPS["nose_bridge"]], level["shade"], 1)
        _line(canvas, face[GROUPS["lower_nose"]], level["shade"], 2)
        _fill(canvas, face[GROUPS["outer_mouth"]], level["lip"])
        _fill(canvas, face[GROUPS["inner_mouth"]], level["dark"])
        pictures[number] = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return pictures / np.float32(255)


def spoil(
    pictures: NDArray[np.float32], nuisance: Nuisance, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Adds noise, light, boxes and losses to pictures (N, S, S); returns them in 8 bits.

    Levels -0.75 to 1.75 become 0 to 255.
    """
    count, size = len(pictures), pictures.shape[1]
    grid = np.linspace(-1, 1, size, dtype=np.float32)
    spoilt = np.where((rng.random(count) < nuisance.dropped)[:, None, None], 0.5, pictures)
    spoilt = spoilt.astype(np.float32)
    for number in np.flatnonzero(rng.random(count) < nuisance.box):
        height, width = np.rint(rng.uniform(*nuisance.box_side, 2) * size).astype(int)
        top, left = rng.integers(0, size - height + 1), rng.integers(0, size - width + 1)
        spoilt[number, top : top + height, left : left + width] = rng.random()
    gain = 1 + nuisance.gain * rng.uniform(-1, 1, (count, 1, 1))
    light = nuisance.light * rng.standard_normal((3, count, 1, 1))
    shade = light[0] + light[1] * grid[None, :, None] + light[2] * grid[None, None, :]
    noise = nuisance.noise * rng.standard_normal(spoilt.shape, dtype=np.float32)
    levels = (spoilt - 0.5) * gain.astype(np.float32) + shade.astype(np.float32) + noise
    return np.clip(np.rint(255 * (0.5 + levels / _RANGE)), 0, 255).astype(np.uint8)


def _irises(landmarks: Numbers, gaze: Numbers) -> Numbers:
    """Returns the outlines of the irises (N, 2, 13, 2): discs that the lids cut above and below."""
    discs = []
    for name, middle in zip(("left_eye", "right_eye"), pupils(landmarks), strict=True):
        eye = landmarks[:, GROUPS[name]]  # (N, 6, 2)
        half = np.linalg.norm(eye[:, 3] - eye[:, 0], axis=-1)[:, None, None] / 2
        height = np.linalg.norm(eye[:, [1, 2]] - eye[:, [5, 4]], axis=-1).mean(axis=1)
        radius = 0.45 * half
        flat = np.minimum(radius, 0.45 * height[:, None, None])
        place = middle[:, None] + np.clip(gaze, -0.05, 0.05)[:, None] * [1.0, 0.3]
        discs.append(place + _CIRCLE * np.concatenate([radius, flat], axis=-1))
    return np.stack(discs, axis=1)


def _fixed(points: Numbers, side: int) -> NDArray[np.int32]:
    """Turns coordinates from -1 to 1 into OpenCV's fixed-point pixels."""
    pixels = np.rint(((points + 1) / 2 * side - 0.5) * 2**_SHIFT)
    return np.ascontiguousarray(pixels, np.int32)


def _fill(canvas: NDArray[np.uint8], outline: NDArray[np.int32], level: int) -> None:
    cv2.fillPoly(canvas, [outline], level, cv2.LINE_AA, _SHIFT)


def _line(canvas: NDArray[np.uint8], line: NDArray[np.int32], level: int, thick: int) -> None:
    cv2.polylines(canvas, [line], False, level, thick, cv2.LINE_AA, _SHIFT)
