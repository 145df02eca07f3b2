"""Landmarks drawn into pictures, to look at them."""

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.landmarks import CLOSED, GROUPS

_SHIFT = 3  # OpenCV takes coordinates in units of 2**-3 pixels


def draw_landmarks(
    picture: NDArray[np.uint8], landmarks: NDArray[np.floating], color: tuple[int, int, int]
) -> None:
    """Draw landmarks (68, 2), -0.5 .. 0.5, as lines into a picture (S, S, 3), in place."""
    pixels = np.rint(((landmarks + 0.5) * len(picture) - 0.5) * 2**_SHIFT).astype(np.int32)
    for name, part in GROUPS.items():
        line = np.ascontiguousarray(pixels[part])
        cv2.polylines(picture, [line], name in CLOSED, color, 1, cv2.LINE_AA, _SHIFT)
