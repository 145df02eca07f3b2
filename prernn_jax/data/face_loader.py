"""Batches of face clips with their landmarks, for training and for testing."""

import bisect
import functools
import itertools

import numpy as np

from prernn_jax.data.batches import Batch, EvalLoader, TrainLoader, eval_batches, train_batches
from prernn_jax.data.face_sampling import (
    FaceAugmentation,
    FaceView,
    draw_face_view,
    read_faces,
    window_starts,
)
from prernn_jax.data.records import RandomAccessSource, Record


class _Windows:
    """Videos, each as often as it has windows of T frames: an epoch sees a long one more often."""

    def __init__(self, source: RandomAccessSource, steps: int) -> None:
        self.source = source
        counts = (len(window_starts(_frames(source, v), steps)) for v in range(len(source)))
        self.ends = list(itertools.accumulate(counts))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def place(self, row: int) -> tuple[int, int]:
        """The video of a row, and which of its windows it is."""
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
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> TrainLoader:
    """Shuffle, cut out, augment and batch clips of faces without end.

    Args:
      source: records (prernn_jax.data.face_records).
      batch_size: B.
      steps: T consecutive frames, from a random one on; a shorter video is padded.
      size: side S of the pictures in the batch.
      augment: how clips vary.
      seed: of order and augmentation, 0 .. 2**32 - 1.
      workers: processes that decode; 0 means threads of this one. The batches are the same.
      shard: see `train_batches`.

    Returns:
      An iterator of dicts: `clips` uint8 (B, T, S, S, 3), `landmarks` float32 (B, T, 68, 2) in
      coordinates of the box, -0.5 .. 0.5, and `lengths` int32 (B,). An epoch has as many clips as
      all videos fill.

    Raises:
      InputError: fewer clips than a batch needs.
    """
    draw = functools.partial(_draw, steps=steps, size=size, augment=augment)
    windows = _Windows(source, steps)
    return train_batches(
        windows, draw, batch_size=batch_size, seed=seed, workers=workers, shard=shard
    )


def face_eval_loader(
    source: RandomAccessSource, *, batch_size: int, steps: int, size: int
) -> EvalLoader:
    """Batch all frames of all videos once, in their order, as clips of T consecutive ones.

    Args:
      source: records.
      batch_size: B; the last batch is filled up with zeros.
      steps: T; a video's last clip may be shorter and is padded.
      size: side S of the pictures in the batch.

    Returns:
      Re-iterable; dicts as from `face_train_loader`, and `video` int32 (B,), the number of the
      record, and `mask` bool (B,), False for the filling (whose video is -1).
    """
    windows = _Windows(source, steps)

    def read(row: int) -> Batch:
        video, window = windows.place(row)
        record = source[video]
        start = window_starts(len(record["frames"]), steps)[window]
        sample = _sample(record, start, steps, size, FaceView())
        return {**sample, "video": np.int32(video)}

    return eval_batches(len(windows), read, batch_size=batch_size)


def _draw(
    record: Record,
    rng: np.random.Generator,
    *,
    steps: int,
    size: int,
    augment: FaceAugmentation,
) -> Batch:
    start = int(rng.integers(max(len(record["frames"]) - steps, 0) + 1))
    return _sample(record, start, steps, size, draw_face_view(rng, augment))


def _sample(record: Record, start: int, steps: int, size: int, view: FaceView) -> Batch:
    clip, landmarks, length = read_faces(record, start, steps, size, view)
    return {"clips": clip, "landmarks": landmarks, "lengths": np.int32(length)}


def _frames(source: RandomAccessSource, video: int) -> int:
    return len(source[video]["frames"])
