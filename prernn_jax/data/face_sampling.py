"""From a record of a face video to the frames of a clip: decoded, cut to the box, with landmarks.

Landmarks come in coordinates of the box that was cut out, -0.5 to 0.5 (`normalise_landmarks`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.landmarks import FLIP, POINTS, normalise_landmarks
from prernn_jax.data.records import Record, decode_picture
from prernn_jax.errors import InputError


@dataclass(frozen=True)
class FaceAugmentation:
    """How training clips vary; one draw serves all frames of a clip.

    Attributes:
      scale: greatest relative change of the box's side, either way.
      shift: greatest move of the box, in parts of its side, in x and in y.
      flip: probability of mirroring left and right.
    """

    scale: float = 0.1
    shift: float = 0.05
    flip: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.scale < 1 and 0 <= self.shift < 1 and 0 <= self.flip <= 1):
            raise InputError(
                f"augmentation of faces: scale {self.scale} and shift {self.shift} must be at "
                f"least 0 and less than 1, flip {self.flip} a probability"
            )


class FaceView(NamedTuple):
    """How the boxes of a clip are looked at."""

    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    flip: bool = False


def draw_face_view(rng: np.random.Generator, augmentation: FaceAugmentation) -> FaceView:
    """Draw how a clip is looked at."""
    scale = float(np.exp(rng.uniform(-1, 1) * np.log1p(augmentation.scale)))
    shift_x, shift_y = (rng.uniform(-1, 1, 2) * augmentation.shift).tolist()
    return FaceView(scale, shift_x, shift_y, bool(rng.random() < augmentation.flip))


def window_starts(frames: int, steps: int) -> range:
    """First frames of the windows that cut a video into clips; the last may be shorter."""
    return range(0, frames, steps)


def read_faces(
    record: Record, start: int, steps: int, size: int, view: FaceView
) -> tuple[NDArray[np.uint8], NDArray[np.float32], int]:
    """Decode consecutive frames of one video and nothing else.

    Args:
      record: see `prernn_jax.data.face_records`.
      start: the first frame.
      steps: T.
      size: side S of the result.
      view: how the boxes are looked at.

    Returns:
      (T, S, S, 3) uint8 and landmarks (T, 68, 2) in coordinates of what is seen, both zeros after
      the end of the video, and the number of frames.
    """
    frames = range(start, min(start + steps, len(record["frames"])))
    clip = np.zeros((steps, size, size, 3), np.uint8)
    landmarks = np.zeros((steps, POINTS, 2), np.float32)
    for step, frame in enumerate(frames):
        box = _pixel_box(record["boxes"][frame], view)
        clip[step] = _cut(decode_picture(record["frames"][frame]), box, size)
        edges = np.array([*box[:2], box[0] + box[2], box[1] + box[2]]) - 0.5
        landmarks[step] = normalise_landmarks(record["landmarks"][frame], edges)
    if view.flip:
        clip = clip[:, :, ::-1]
        landmarks = landmarks[:, FLIP] * np.array([-1, 1], np.float32)
        landmarks[len(frames) :] = 0
    return clip, landmarks, len(frames)


def _pixel_box(box: NDArray[np.float32], view: FaceView) -> tuple[int, int, int]:
    """The square that a view shows, in whole pixels: the first column and row, and the side."""
    side = float(box[2] - box[0])
    shown = max(round(side * view.scale), 1)
    left = (box[0] + box[2]) / 2 + side * view.shift_x - shown / 2 + 0.5
    top = (box[1] + box[3]) / 2 + side * view.shift_y - shown / 2 + 0.5
    return round(float(left)), round(float(top)), shown


def _cut(picture: NDArray[np.uint8], box: tuple[int, int, int], size: int) -> NDArray[np.uint8]:
    """A square of a picture, which may reach over the edge: the pixels there are repeated."""
    left, top, side = box
    height, width = picture.shape[:2]
    over = max(-left, -top, left + side - width, top + side - height, 0)
    if over:
        picture = cv2.copyMakeBorder(picture, over, over, over, over, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
        left, top = left + over, top + over
    part = picture[top : top + side, left : left + side]
    if side == size:
        return part
    how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return cv2.resize(part, (size, size), interpolation=how)  # type: ignore[return-value]
