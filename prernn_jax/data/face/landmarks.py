"""The 68 landmarks of iBUG: their order, their mirror image, and their geometry.

Order and pairs are those of 300-W and 300VW (docs/faces.md). "left" is the left of the picture.
Landmarks are (..., 68, 2): x, then y, in pixels. The **centre** of the first pixel is 0. So a
picture of width W reaches from -0.5 to W - 0.5, and mirrored x is W - 1 - x. A box is (..., 4): its
edges x0, y0, x1, y1 in the same coordinates.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.errors import InputError

Numbers = NDArray[np.floating]

POINTS = 68
GROUPS = {
    "jaw": slice(0, 17),
    "left_brow": slice(17, 22),
    "right_brow": slice(22, 27),
    "nose_bridge": slice(27, 31),
    "lower_nose": slice(31, 36),
    "left_eye": slice(36, 42),
    "right_eye": slice(42, 48),
    "outer_mouth": slice(48, 60),
    "inner_mouth": slice(60, 68),
}
CLOSED = ("left_eye", "right_eye", "outer_mouth", "inner_mouth")
"""Groups whose last point is joined to the first when they are drawn."""
OUTER_EYES = (36, 45)
"""The outer corners of the left and the right eye."""

_FLIP = """
    16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0
    26 25 24 23 22 21 20 19 18 17
    27 28 29 30 35 34 33 32 31
    45 44 43 42 47 46 39 38 37 36 41 40
    54 53 52 51 50 49 48 59 58 57 56 55
    64 63 62 61 60 67 66 65
"""
FLIP = np.array(_FLIP.split(), np.int64)
"""Landmark i of a mirrored face is where landmark FLIP[i] was; the map is its own inverse."""


def mirror(landmarks: Numbers, width: float) -> Numbers:
    """Returns the landmarks (..., 68, 2) of the mirrored picture, which is `width` pixels wide."""
    mirrored = landmarks[..., FLIP, :].copy()
    mirrored[..., 0] = width - 1 - mirrored[..., 0]
    return mirrored


def pupils(landmarks: Numbers) -> tuple[Numbers, Numbers]:
    """Returns the middles of the left and the right eye (..., 2), the mean of six points each."""
    eyes = (landmarks[..., GROUPS[name], :].mean(axis=-2) for name in ("left_eye", "right_eye"))
    left, right = eyes
    return left, right


def bounding_box(landmarks: Numbers) -> Numbers:
    """Returns the smallest upright box (..., 4) around landmarks (..., 68, 2)."""
    return np.concatenate([landmarks.min(axis=-2), landmarks.max(axis=-2)], axis=-1)


def outside(landmarks: Numbers, height: int, width: int) -> NDArray[np.bool_]:
    """Tells which landmarks (..., 68, 2) lie outside of a picture, as (..., 68).

    Landmarks that are marked as hidden do: data sets write 0 or -1 for them, counted from 1.
    """
    edge = np.array([width, height]) - 0.5
    return np.any((landmarks < -0.5) | (landmarks > edge), axis=-1)


def square_around(box: Numbers, scale: float = 1.0) -> Numbers:
    """Returns the square around a box (..., 4) with `scale` times its longer side."""
    middle = (box[..., :2] + box[..., 2:]) / 2  # (..., 2)
    half = scale * (box[..., 2:] - box[..., :2]).max(axis=-1, keepdims=True) / 2  # (..., 1)
    return np.concatenate([middle - half, middle + half], axis=-1)


def normalise_landmarks(landmarks: Numbers, box: Numbers) -> Numbers:
    """Turns pixels (..., 68, 2) into coordinates of a box (..., 4).

    Its middle becomes (0, 0), its edges -0.5 and 0.5. These are the outputs of a landmark network;
    a distance of 1 is the side of the box.
    """
    side = box[..., None, 2:] - box[..., None, :2]  # (..., 1, 2)
    return (landmarks - box[..., None, :2]) / side - 0.5


def check_landmarks(landmarks: Numbers, where: str, points: int = POINTS) -> None:
    """Raises an InputError, naming `where`, unless landmarks are (..., P, 2) finite numbers."""
    if landmarks.ndim < 2 or landmarks.shape[-2:] != (points, 2):
        raise InputError(
            f"{where}: landmarks of shape {landmarks.shape}; expected {points} points x, y"
        )
    if not np.isfinite(landmarks).all():
        bad = np.argwhere(~np.isfinite(landmarks))[0].tolist()
        raise InputError(f"{where}: a landmark is not finite (index {bad}); mend or drop the frame")


_SHIFT = 3  # OpenCV takes coordinates in units of 2**-3 pixels


def draw_landmarks(
    picture: NDArray[np.uint8], landmarks: NDArray[np.floating], color: tuple[int, int, int]
) -> None:
    """Draws landmarks (P, 2), from -0.5 to 0.5, into a picture (S, S, 3).

    68 landmarks become the lines of `GROUPS`, any other number of them dots.
    """
    pixels = np.rint(((landmarks + 0.5) * len(picture) - 0.5) * 2**_SHIFT).astype(np.int32)
    if len(landmarks) != POINTS:
        for x, y in pixels.tolist():
            cv2.circle(picture, (x, y), 2 << _SHIFT, color, -1, cv2.LINE_AA, _SHIFT)
        return
    for name, part in GROUPS.items():
        line = np.ascontiguousarray(pixels[part])
        cv2.polylines(picture, [line], name in CLOSED, color, 1, cv2.LINE_AA, _SHIFT)
