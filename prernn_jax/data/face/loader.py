"""Turns the record of a face video into clips: frames that are cut to boxes, and landmarks.

Landmarks are in coordinates of the box that was cut out, -0.5 to 0.5 (`normalise_landmarks`).
"""

import bisect
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.batches import Batch, EvalLoader, TrainLoader, eval_batches, train_batches
from prernn_jax.data.face.landmarks import FLIP, normalise_landmarks
from prernn_jax.data.records import CountsFrames, RandomAccessSource, Record, decode_picture
from prernn_jax.errors import InputError


@dataclass(frozen=True)
class FaceAugmentation:
    """How training clips vary. One draw serves all frames of a clip.

    Attributes:
        scale: Greatest relative change of the box's side, up or down.
        shift: Greatest move of the box in x and in y, as a part of its side.
        flip: Probability of mirroring left and right.
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
    """How the boxes of a clip are scaled, shifted and mirrored."""

    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    flip: bool = False


def draw_face_view(rng: np.random.Generator, augmentation: FaceAugmentation) -> FaceView:
    """Draws how the boxes of a clip are scaled, shifted and mirrored."""
    scale = float(np.exp(rng.uniform(-1, 1) * np.log1p(augmentation.scale)))
    shift_x, shift_y = (rng.uniform(-1, 1, 2) * augmentation.shift).tolist()
    return FaceView(scale, shift_x, shift_y, bool(rng.random() < augmentation.flip))


def window_starts(frames: int, steps: int) -> range:
    """Returns the first frames of the windows that cut a video into clips."""
    return range(0, frames, steps)


def read_faces(
    record: Record,
    start: int,
    steps: int,
    size: int,
    view: FaceView,
    mirrored: Sequence[int] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.float32], int]:
    """Decodes consecutive frames of one video and nothing else.

    Args:
        record: See `prernn_jax.data.face.records`.
        start: The first frame.
        steps: Number of frames T.
        size: Side S of the result.
        view: How the boxes are scaled, shifted and mirrored.
        mirrored: Landmark i of a mirrored face is where landmark mirrored[i] was; by default as for
            iBUG's 68.

    Returns:
        The clip (T, S, S, 3), uint8; its landmarks (T, P, 2) in coordinates of what is seen; both
        are zeros after the end of the video. And the number of frames.
    """
    frames = range(start, min(start + steps, len(record["frames"])))
    clip = np.zeros((steps, size, size, 3), np.uint8)
    landmarks = np.zeros((steps, *record["landmarks"].shape[1:]), np.float32)
    for step, frame in enumerate(frames):
        box = pixel_box(record["boxes"][frame], view)
        clip[step] = cut_square(decode_picture(record["frames"][frame]), box, size)
        edges = np.array([*box[:2], box[0] + box[2], box[1] + box[2]]) - 0.5
        landmarks[step] = normalise_landmarks(record["landmarks"][frame], edges)
    if view.flip:
        clip = clip[:, :, ::-1]
        table = FLIP if mirrored is None else np.asarray(mirrored)
        landmarks = landmarks[:, table] * np.array([-1, 1], np.float32)
        landmarks[len(frames) :] = 0
    return clip, landmarks, len(frames)


def pixel_box(box: NDArray[np.float32], view: FaceView) -> tuple[int, int, int]:
    """Returns the square of a view in whole pixels: the first column and row, and the side."""
    side = float(box[2] - box[0])
    shown = max(round(side * view.scale), 1)
    left = (box[0] + box[2]) / 2 + side * view.shift_x - shown / 2 + 0.5
    top = (box[1] + box[3]) / 2 + side * view.shift_y - shown / 2 + 0.5
    return round(float(left)), round(float(top)), shown


def cut_square(
    picture: NDArray[np.uint8], box: tuple[int, int, int], size: int
) -> NDArray[np.uint8]:
    """Cuts out a square, which may reach over the edge: the pixels there are repeated."""
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


class _Windows:
    """Videos, each as often as it has windows of T frames. An epoch sees long ones more often."""

    def __init__(self, source: RandomAccessSource, steps: int) -> None:
        self.source = source
        counts = (len(window_starts(_frames(source, v), steps)) for v in range(len(source)))
        self.ends = list(itertools.accumulate(counts))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def place(self, row: int) -> tuple[int, int]:
        """Returns the video of a row, and the number of its window."""
        video = bisect.bisect_right(self.ends, row)
        return video, row - (self.ends[video - 1] if video else 0)

    def __getitem__(self, row: int) -> Record:
        return self.source[self.place(row)[0]]


def face_train_loader(
    source: RandomAccessSource,
    *,
    batch_size: int,
    steps: int,
    size: int,
    augment: FaceAugmentation,
    seed: int,
    mirrored: Sequence[int] | None = None,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> TrainLoader:
    """Shuffles, cuts out, augments and batches clips of faces without end.

    Args:
        source: Records (prernn_jax.data.face.records).
        batch_size: B.
        steps: Number of consecutive frames T, from a random one on; a shorter video is padded.
        size: Side S of the pictures in the batch.
        augment: How clips vary.
        seed: Seed of order and augmentation, 0 to 2**32 - 1.
        mirrored: See `read_faces`.
        workers: Number of processes that decode; 0 means threads of this process.
        shard: See `train_batches`.

    Returns:
        An iterator of dicts: `clips` uint8 (B, T, S, S, 3), `landmarks` float32 (B, T, P, 2) in
        coordinates of the box, -0.5 to 0.5, and `lengths` int32 (B,). An epoch has as many clips as
        the videos have windows.

    Raises:
        InputError: There are fewer clips than a batch needs.
    """
    draw = functools.partial(_draw, steps=steps, size=size, augment=augment, mirrored=mirrored)
    windows = _Windows(source, steps)
    return train_batches(
        windows, draw, batch_size=batch_size, seed=seed, workers=workers, shard=shard
    )


def face_eval_loader(
    source: RandomAccessSource,
    *,
    batch_size: int,
    steps: int,
    size: int,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> EvalLoader:
    """Batches all frames of all videos once, in their order, as clips of T frames.

    Args:
        source: The records.
        batch_size: B. The last batch is filled up with zeros.
        steps: Number of frames T; the last clip of a video may be shorter and is padded.
        size: Side S of the pictures in the batch.
        workers: See `eval_batches`.
        shard: See `train_batches`.

    Returns:
        A loader of dicts as from `face_train_loader` that can be iterated again, with `video` int32
        (B,), the number of the record, and `mask` bool (B,), False for the filling (`video` -1).
    """
    windows = _Windows(source, steps)

    def read(row: int) -> Batch:
        video, window = windows.place(row)
        record = source[video]
        start = window_starts(len(record["frames"]), steps)[window]
        sample = _sample(record, start, steps, size, FaceView())
        return {**sample, "video": np.int32(video)}

    rows = len(windows)
    return eval_batches(rows, read, batch_size=batch_size, workers=workers, shard=shard)


def _draw(
    record: Record,
    rng: np.random.Generator,
    *,
    steps: int,
    size: int,
    augment: FaceAugmentation,
    mirrored: Sequence[int] | None,
) -> Batch:
    start = int(rng.integers(max(len(record["frames"]) - steps, 0) + 1))
    return _sample(record, start, steps, size, draw_face_view(rng, augment), mirrored)


def _sample(
    record: Record,
    start: int,
    steps: int,
    size: int,
    view: FaceView,
    mirrored: Sequence[int] | None = None,
) -> Batch:
    clip, landmarks, length = read_faces(record, start, steps, size, view, mirrored)
    return {"clips": clip, "landmarks": landmarks, "lengths": np.int32(length)}


def _frames(source: RandomAccessSource, video: int) -> int:
    if isinstance(source, CountsFrames):
        return source.frames_of(video)  # without reading any picture
    return len(source[video]["frames"])
