"""Finds, cuts out and scales the part of a video's pictures in which the face moves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.face.landmarks import bounding_box, square_around
from prernn_jax.errors import InputError


@dataclass(frozen=True)
class FaceWindow:
    """The part of the pictures that is kept.

    Attributes:
        window: Its left, top, width and height in the pictures.
        size: Height and width to which it is scaled.
        full: Height and width of the pictures.
    """

    window: tuple[int, int, int, int]
    size: tuple[int, int]
    full: tuple[int, int]

    def cut(self, picture: NDArray[np.uint8], video: Path, number: int) -> NDArray[np.uint8]:
        """Returns the part of a picture that is kept.

        Raises:
            InputError: The picture is of another size; the message names video and frame.
        """
        if picture.shape[:2] != self.full:
            raise InputError(
                f"frame {number} of {video} is {picture.shape[:2]}, the first is {self.full}"
            )
        left, top, width, height = self.window
        part = picture[top : top + height, left : left + width]
        if part.shape[:2] == self.size:
            return part
        return cv2.resize(part, self.size[::-1], interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def face_window(
    landmarks: NDArray[np.floating], height: int, width: int, side: int, around: float
) -> FaceWindow:
    """Chooses the part of the pictures of a video that is kept.

    Args:
        landmarks: Landmarks (N, 68, 2); each face lies at least partly in the picture.
        height: Height of the pictures.
        width: Width of the pictures.
        side: Side in pixels of the median face to which larger ones are scaled.
        around: Side of what is kept around each face, as a multiple of its bounding box.
    """
    faces = bounding_box(landmarks)
    boxes = square_around(faces, around)
    corner = np.floor(boxes[:, :2].min(axis=0))
    left, top = np.clip(corner, 0, (width - 1, height - 1)).astype(int).tolist()
    corner = np.ceil(boxes[:, 2:].max(axis=0)) + 1
    right, bottom = np.clip(corner, (left + 1, top + 1), (width, height)).astype(int).tolist()
    scale = min(1.0, side / float(np.median((faces[:, 2:] - faces[:, :2]).max(axis=1))))
    size = (max(round((bottom - top) * scale), 1), max(round((right - left) * scale), 1))
    return FaceWindow((left, top, right - left, bottom - top), size, (height, width))


def move_points(
    points: NDArray[np.floating], window: Sequence[int], size: Sequence[int]
) -> NDArray[np.floating]:
    """Returns where points (..., 2) of a picture lie after cutting out and scaling.

    Args:
        points: x and y in pixels; the middle of the first pixel is 0.
        window: Left, top, width and height of the part that is cut out.
        size: Height and width to which it is scaled.
    """
    scale = np.array([size[1] / window[2], size[0] / window[3]])
    return (points - np.array(window[:2]) + 0.5) * scale - 0.5
