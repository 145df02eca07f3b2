"""Batches of clips by grain: the same for the same seed, resumable to the exact batch."""

import functools
import weakref
from collections.abc import Iterator
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from prernn_jax.data.augment import Augmentation
from prernn_jax.data.records import RandomAccessSource, Record
from prernn_jax.data.sampling import Stream, channels, read_clip
from prernn_jax.errors import InputError

Batch = dict[str, np.ndarray]
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


class _TrainSample(grain.transforms.RandomMap):
    """Record -> augmented clip; the generator depends on seed and position alone."""

    def __init__(
        self, stream: Stream, steps: int, stack: int, crop: int, augment: Augmentation
    ) -> None:
        self.label = LABELS[stream]
        self.read = functools.partial(
            read_clip, stream=stream, steps=steps, stack=stack, size=crop, augmentation=augment
        )

    def random_map(self, element: Record, rng: np.random.Generator) -> Batch:
        clip, length = self.read(element, offset=rng)
        return {
            "clips": clip,
            "lengths": np.int32(length),  # type: ignore[dict-item]
            "labels": np.int32(element[self.label]),  # type: ignore[dict-item]
        }


class TrainLoader:
    """Endless batches; see `train_loader`.

    Attributes:
      batches_per_epoch: batches in which every record is seen at most once.
    """

    def __init__(
        self, batches: grain.MapDataset, batches_per_epoch: int, workers: int, mark: dict[str, int]
    ) -> None:
        self._batches = batches
        self.batches_per_epoch = batches_per_epoch
        self._workers = workers
        self._mark = mark
        self._next = 0
        self._running: list[Any] = []  # the iterator, while there is one
        # Threads and workers must end before the interpreter is taken apart.
        weakref.finalize(self, _stop, self._running)

    def _iterate(self) -> Iterator[Batch]:
        rest = self._batches[self._next :] if self._next else self._batches
        options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
        batches = rest.to_iter_dataset(options)
        if self._workers:
            if not flags.FLAGS.is_parsed():  # grain's worker processes read absl's flags
                flags.FLAGS.mark_as_parsed()
            batches = batches.mp_prefetch(grain.MultiprocessingOptions(self._workers, 2))
        return iter(batches)

    def close(self) -> None:
        """Stop threads and workers; the next batch starts them again."""
        _stop(self._running)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if not self._running:
            self._running.append(self._iterate())
        batch = next(self._running[0])
        if self._workers:  # what comes from a worker lies in shared memory; free that at once
            batch = {name: np.array(values) for name, values in batch.items()}
        self._next += 1
        return batch

    def get_state(self) -> dict[str, int]:
        """Return the position: numbers that JSON can hold."""
        return {"next_batch": self._next, **self._mark}

    def set_state(self, state: dict[str, int]) -> None:
        """Go to a position; the next batches are those that would have come there.

        Raises:
          InputError: the state is of another seed, batch size or data set.
        """
        differ = [k for k in self._mark if state.get(k) != self._mark[k]]
        if differ:
            was = ", ".join(f"{k} {state.get(k)} (now {self._mark[k]})" for k in differ)
            raise InputError(f"this loader position belongs to other data: {was}")
        self.close()
        self._next = int(state["next_batch"])


def _stop(running: list[Any]) -> None:
    while running:
        running.pop().close()


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

    Returns:
      An iterator of dicts: `clips` uint8 (B, T, crop, crop, C), `lengths` and `labels` int32 (B,).

    Raises:
      InputError: fewer records than a batch needs.
    """
    if not 1 <= batch_size <= len(source):
        raise InputError(
            f"a batch of {batch_size} cannot be filled: there are {len(source)} clips to train "
            f"on; give a batch size of 1 to {len(source)}"
        )
    sample = _TrainSample(stream, steps, stack, crop, augment)
    records = grain.MapDataset.source(source).seed(seed).shuffle()
    batches = records.random_map(sample).batch(batch_size, drop_remainder=True)
    mark = {"seed": seed, "batch_size": batch_size, "records": len(source)}
    return TrainLoader(batches.repeat(), len(batches), workers, mark)


class EvalLoader:
    """A finite pass over all clips in their order; every `iter` starts anew."""

    def __init__(self, batches: grain.MapDataset) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
        return iter(self._batches.to_iter_dataset(options))


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

    def sample(row: int) -> dict[str, Any]:
        video, window = divmod(row, windows)
        if video >= len(source):
            shape = (steps, crop, crop, channels(stream, stack))
            clip, length, label, video = np.zeros(shape, np.uint8), 1, 0, -1
        else:
            record = source[video]
            offset = (window + 0.5) / windows
            clip, length = read_clip(record, stream, steps, stack, crop, offset)
            label = int(record[LABELS[stream]])
        return {
            "clips": clip,
            "lengths": np.int32(length),
            "labels": np.int32(label),
            "video": np.int32(video),
            "mask": np.bool_(video >= 0),
        }

    rows = -(-len(source) * windows // batch_size) * batch_size
    return EvalLoader(grain.MapDataset.range(rows).map(sample).batch(batch_size))
