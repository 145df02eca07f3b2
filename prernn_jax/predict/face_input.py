"""The squares of a video that a model of faces is shown; landmarks in the video's pixels."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prernn_jax.data.face.files import SMALLEST
from prernn_jax.data.face.landmarks import bounding_box, square_around
from prernn_jax.data.face.loader import FaceView, cut_square, pixel_box
from prernn_jax.data.records import decode_picture, encode_picture
from prernn_jax.errors import InputError
from prernn_jax.inference import Inference

Box = NDArray[np.float32]


def checked_boxes(boxes: ArrayLike | None) -> Box | None:
    """Boxes (N, 4), or one that stands for the first frame as (1, 4).

    Raises:
        InputError: They are not x0, y0, x1, y1 with x0 < x1 and y0 < y1.
    """
    if boxes is None:
        return None
    found = np.atleast_2d(np.asarray(boxes, np.float32))
    if found.ndim != 2 or found.shape[1] != 4 or not np.isfinite(found).all():
        raise InputError(f"boxes of shape {found.shape}; expected (4,) or (N, 4): x0, y0, x1, y1")
    if not (found[:, :2] < found[:, 2:]).all():
        raise InputError("a box has no size; expected x0, y0, x1, y1 with x0 < x1 and y0 < y1")
    return square_around(found).astype(np.float32)


def middle_square(height: int, width: int) -> Box:
    """The largest square in the middle of a picture, (4,)."""
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    return np.array([left, top, left + side, top + side], np.float32) - np.float32(0.5)


def around_face(landmarks: NDArray[np.float32], enlarge: float) -> Box:
    """The square around landmarks (P, 2), (4,)."""
    return square_around(bounding_box(landmarks), enlarge).astype(np.float32)


def is_lost(landmarks: NDArray[np.float32], height: int, width: int) -> bool:
    """Whether landmarks (P, 2) are too close together or too far out to be followed.

    The square around them would then hold no face, and that around the next ones even less.
    """
    x0, y0, x1, y1 = bounding_box(landmarks).tolist()
    middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
    inside = 0 <= middle_x < width and 0 <= middle_y < height
    return not inside or max(x1 - x0, y1 - y0) < SMALLEST


def shown(
    picture: NDArray[np.uint8], box: Box, inference: Inference
) -> tuple[NDArray[np.uint8], Box]:
    """What the network sees of a picture.

    Args:
        picture: (H, W, 3).
        box: (4,) in pixels.
        inference: Size and quality of what is seen.

    Returns:
        (S, S, 3), through JPEG as the pictures of training went, and the edges of the whole pixels
        that were cut out, (4,).
    """
    left, top, side = pixel_box(box, FaceView())
    cut = cut_square(picture, (left, top, side), inference.size)
    edges = np.array([left, top, left + side, top + side], np.float32) - np.float32(0.5)
    return decode_picture(encode_picture(np.ascontiguousarray(cut), inference.quality)), edges


def in_pixels(outputs: NDArray[np.float32], edges: Box) -> NDArray[np.float32]:
    """Outputs (..., 2 P), -0.5 to 0.5 in the box with edges (..., 4) -> pixels (..., P, 2)."""
    points = outputs.reshape(*outputs.shape[:-1], -1, 2)
    corner, far = edges[..., None, :2], edges[..., None, 2:]
    return ((points + np.float32(0.5)) * (far - corner) + corner).astype(np.float32)


def squares(
    frames: Iterator[NDArray[np.uint8]], boxes: Box | None, inference: Inference, name: str
) -> tuple[NDArray[np.uint8], Box]:
    """What the network sees of all frames where the boxes are known beforehand.

    Args:
        frames: The video's pictures.
        boxes: One for each frame (N, 4), or None for the middle square of each.
        inference: As for `shown`.
        name: The video's name.

    Returns:
        (N, S, S, 3) and the edges (N, 4).

    Raises:
        InputError: There are no frames, or fewer or more than boxes.
    """
    seen, edges = [], []
    for number, picture in enumerate(frames):
        if boxes is not None and number >= len(boxes):
            raise InputError(f"{name} has more frames than the {len(boxes)} boxes that are given")
        box = middle_square(*picture.shape[:2]) if boxes is None else boxes[number]
        what, where = shown(picture, box, inference)
        seen.append(what)
        edges.append(where)
    if not seen or (boxes is not None and len(boxes) != len(seen)):
        count = 1 if boxes is None else len(boxes)
        raise InputError(f"{name} has {len(seen)} frames; expected {count}")
    return np.stack(seen), np.stack(edges)
