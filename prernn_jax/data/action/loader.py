"""Turns a record into the steps of a clip: chooses, decodes and cuts its pictures."""

import functools
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.batches import Batch, EvalLoader, TrainLoader, eval_batches, train_batches
from prernn_jax.data.media.augment import (
    Augmentation,
    View,
    apply_view,
    centre_view,
    draw_view,
    ten_views,
)
from prernn_jax.data.media.flow import flip_flow_x, stack_flow
from prernn_jax.data.media.square import turn_flow, turn_pictures
from prernn_jax.data.records import RandomAccessSource, Record, decode_picture
from prernn_jax.errors import InputError

Stream = Literal["spatial", "temporal"]
Clip = NDArray[np.uint8]


def step_starts(places: int, steps: int, offset: float | np.random.Generator) -> NDArray[np.int64]:
    """Places steps evenly over a clip: one in each of `steps` equal segments.

    Args:
        places: Number of positions at which a step can start, at least 1.
        steps: T; a shorter clip gives one step for each position.
        offset: Place of a step in its segment, from 0 to 1; a generator draws it for each segment.

    Returns:
        The rising positions (min(T, places),).
    """
    count = min(steps, places)
    inside = offset.random(count) if isinstance(offset, np.random.Generator) else offset
    return np.floor((np.arange(count) + inside) * (places / count)).astype(np.int64)


def channels(stream: Stream, stack: int) -> int:
    """Returns the number of channels C of a step: 3, or 2 L for flow."""
    return 3 if stream == "spatial" else 2 * stack


def read_clip(
    record: Record,
    stream: Stream,
    steps: int,
    stack: int,
    size: int,
    offset: float | np.random.Generator,
    augmentation: Augmentation | None = None,
    ten_crop: int | None = None,
) -> tuple[Clip, int]:
    """Decodes the steps of one clip and nothing else.

    Args:
        record: See prernn_jax.data.records; turned where it names a `symmetry` of the square.
        stream: A step of "spatial" is one RGB picture, one of "temporal" L flow pairs x1, y1, ...
        steps: Number of steps T.
        stack: Number of flow pairs L; a clip with fewer pairs repeats its last one.
        size: Side S of the result.
        offset: See `step_starts`.
        augmentation: What to vary where `offset` is a generator; None for the middle square.
        ten_crop: Number of one of `ten_views`, in place of the middle square.

    Returns:
        The clip (T, S, S, C), uint8, with zeros after the end of a short one; its number of steps.

    Raises:
        InputError: The stream is unknown, or the record has no such pictures.
    """
    if stream not in get_args(Stream):
        raise InputError(f"stream is {stream!r}; expected 'spatial' or 'temporal'")
    span = 1 if stream == "spatial" else stack
    kinds = ("frames",) if stream == "spatial" else ("flow_x", "flow_y")
    total = len(record[kinds[0]])
    if total == 0:
        raise InputError(
            f"the clip {record['name']!r} has no {kinds[0]}, which the {stream} stream needs; "
            "prepare the data with optical flow"
        )
    starts = step_starts(max(total - span + 1, 1), steps, offset)
    wanted = np.minimum(starts[:, None] + np.arange(span), total - 1)  # (T', span)
    clip = np.empty((steps, size, size, channels(stream, stack)), np.uint8)
    clip[len(starts) :] = 0
    view: View | None = None
    if stream == "spatial":
        for step, number in enumerate(wanted[:, 0]):
            picture = decode_picture(record["frames"][number])
            view = view or _choose_view(picture, size, offset, augmentation, ten_crop)
            clip[step] = apply_view(picture, view, size)
        return turn_pictures(clip, record.get("symmetry", 0)), len(starts)
    unique, where = np.unique(wanted, return_inverse=True)
    where = where.reshape(wanted.shape)
    flow = np.empty((2, len(unique), size, size), np.uint8)
    for direction, kind in enumerate(kinds):
        for place, number in enumerate(unique):
            picture = decode_picture(record[kind][number], gray=True)
            view = view or _choose_view(picture, size, offset, augmentation, ten_crop)
            flow[direction, place] = apply_view(picture, view, size)
    if view is not None and view.flip:
        flow[0] = flip_flow_x(flow[0])
    for step, places in enumerate(where):
        clip[step] = stack_flow(flow[0, places], flow[1, places])  # (S, S, 2 L)
    return turn_flow(clip, record.get("symmetry", 0)), len(starts)


def _choose_view(
    picture: Clip,
    size: int,
    offset: float | np.random.Generator,
    augmentation: Augmentation | None,
    ten_crop: int | None,
) -> View:
    height, width = picture.shape[:2]
    if ten_crop is not None:
        return ten_views(height, width, size)[ten_crop]
    if augmentation is None or not isinstance(offset, np.random.Generator):
        return centre_view(height, width, size)
    return draw_view(offset, height, width, augmentation)


LABELS: dict[Stream, str] = {"spatial": "spatial_label", "temporal": "label"}


def draw_sample(
    record: Record,
    offset: float | np.random.Generator,
    *,
    stream: Stream,
    steps: int,
    stack: int,
    crop: int,
    augment: Augmentation,
) -> Batch:
    """One training sample: `clips` (T, crop, crop, C), `lengths` and `labels`; see `read_clip`."""
    clip, length = read_clip(record, stream, steps, stack, crop, offset, augment)
    return {
        "clips": clip,
        "lengths": np.int32(length),
        "labels": np.int32(record[LABELS[stream]]),
    }


def train_loader(
    source: RandomAccessSource,
    *,
    stream: Stream,
    batch_size: int,
    steps: int,
    stack: int,
    crop: int,
    augment: Augmentation,
    seed: int,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> TrainLoader:
    """Shuffles, augments and batches clips without end.

    Args:
        source: Records (prernn_jax.data.records).
        stream: "spatial" (C = 3) or "temporal" (C = 2 L).
        batch_size: B. The last, incomplete batch of an epoch is left out.
        steps: Number of steps T.
        stack: Number of flow pairs L.
        crop: Side of the pictures in the batch.
        augment: How clips vary.
        seed: Seed of order and augmentation, 0 to 2**32 - 1.
        workers: Number of processes that decode; 0 means threads of this process.
        shard: See `train_batches`.

    Returns:
        An iterator of dicts: `clips` uint8 (B, T, crop, crop, C), `lengths` and `labels` int32
            (B,).

    Raises:
        InputError: There are fewer records than a batch needs.
    """
    draw = functools.partial(
        draw_sample, stream=stream, steps=steps, stack=stack, crop=crop, augment=augment
    )
    return train_batches(
        source, draw, batch_size=batch_size, seed=seed, workers=workers, shard=shard
    )


def eval_loader(
    source: RandomAccessSource,
    *,
    stream: Stream,
    batch_size: int,
    steps: int,
    stack: int,
    crop: int,
    windows: int = 1,
    crops: int = 1,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> EvalLoader:
    """Batches clips for testing: evenly placed steps, the middle square, nothing random.

    Args:
        source: The records.
        stream: As for `train_loader`.
        batch_size: B. The last batch is filled up with zeros.
        steps: Number of steps T.
        stack: Number of flow pairs L.
        crop: Side of the pictures in the batch.
        windows: Number of rows that each video gives, each with its steps at another place of
            their segments.
        crops: 1 for the middle square, 10 for a row of each of `ten_views`.
        workers: See `eval_batches`.
        shard: See `train_batches`.

    Returns:
        A loader of dicts as from `train_loader` that can be iterated again, with `video` int32
        (B,), the number of the record, and `mask` bool (B,), False for the filling (`video` -1).
    """

    def read(row: int) -> dict[str, Any]:
        video, rest = divmod(row, windows * crops)
        window, number = divmod(rest, crops)
        record = source[video]
        place = (window + 0.5) / windows
        chosen = None if crops == 1 else number
        clip, length = read_clip(record, stream, steps, stack, crop, place, ten_crop=chosen)
        return {
            "clips": clip,
            "lengths": np.int32(length),
            "labels": np.int32(record[LABELS[stream]]),
            "video": np.int32(video),
        }

    rows = len(source) * windows * crops
    return eval_batches(rows, read, batch_size=batch_size, workers=workers, shard=shard)
