"""Batches of action clips: labelled sequences of RGB frames or of flow stacks."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from prernn_jax.data.augment import Augmentation
from prernn_jax.data.batches import Batch, EvalLoader, TrainLoader, eval_batches, train_batches
from prernn_jax.data.records import RandomAccessSource, Record
from prernn_jax.data.sampling import Stream, read_clip

LABELS: dict[Stream, str] = {"spatial": "spatial_label", "temporal": "label"}

RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)
"""Of ImageNet, on 0 .. 1, as torchvision's weights expect."""
FLOW_ZERO = 128.0
FLOW_SCALE = 16.0
"""Eight-bit steps that become 1: about 2.5 pixels."""


def normalise(clips: jax.Array, stream: Stream) -> jax.Array:
    """Turn pictures into what a network is given, on the device.

    Args:
      clips: (..., H, W, C) uint8.
      stream: RGB ("spatial"): (x / 255 - mean) / std; flow ("temporal"): (x - 128) / 16.

    Returns:
      The same shape, float32.
    """
    values = clips.astype(jnp.float32)
    if stream == "temporal":
        return (values - jnp.float32(FLOW_ZERO)) / jnp.float32(FLOW_SCALE)
    mean = jnp.broadcast_to(255.0 * jnp.array(RGB_MEAN, jnp.float32), values.shape)
    std = jnp.broadcast_to(255.0 * jnp.array(RGB_STD, jnp.float32), values.shape)
    return (values - mean) / std


def _draw(
    record: Record,
    rng: np.random.Generator,
    *,
    stream: Stream,
    steps: int,
    stack: int,
    crop: int,
    augment: Augmentation,
) -> Batch:
    clip, length = read_clip(record, stream, steps, stack, crop, rng, augment)
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
    """Shuffle, augment and batch clips without end.

    Args:
      source: records (prernn_jax.data.records).
      stream: "spatial" (C = 3) or "temporal" (C = 2 L).
      batch_size: B; an epoch's last, incomplete batch is left out (the next epoch shuffles anew).
      steps: T.
      stack: L.
      crop: side of the pictures in the batch.
      augment: how clips vary.
      seed: of order and augmentation, 0 .. 2**32 - 1.
      workers: processes that decode; 0 means threads of this one. The batches are the same.
      shard: see `train_batches`.

    Returns:
      An iterator of dicts: `clips` uint8 (B, T, crop, crop, C), `lengths` and `labels` int32 (B,).

    Raises:
      InputError: fewer records than a batch needs.
    """
    draw = functools.partial(
        _draw, stream=stream, steps=steps, stack=stack, crop=crop, augment=augment
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
) -> EvalLoader:
    """Batch clips for testing: evenly placed steps, the middle square, no chance.

    Args:
      source: records.
      stream: as for `train_loader`.
      batch_size: B; the last batch is filled up with zeros.
      steps: T.
      stack: L.
      crop: side of the pictures in the batch.
      windows: rows that each video gives, each with its steps elsewhere in their segments.

    Returns:
      Re-iterable; dicts as from `train_loader` and `video` int32 (B,), the number of the record,
      and `mask` bool (B,), False for the filling (whose video is -1).
    """

    def read(row: int) -> dict[str, Any]:
        video, window = divmod(row, windows)
        record = source[video]
        clip, length = read_clip(record, stream, steps, stack, crop, (window + 0.5) / windows)
        return {
            "clips": clip,
            "lengths": np.int32(length),
            "labels": np.int32(record[LABELS[stream]]),
            "video": np.int32(video),
        }

    return eval_batches(len(source) * windows, read, batch_size=batch_size)
