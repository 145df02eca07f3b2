"""The batches of a gesture data set."""

from functools import partial
from typing import Any

import numpy as np

from prernn_jax.data.batches import Batch, EvalLoader, TrainLoader, eval_batches, train_batches
from prernn_jax.data.gesture.datasets import GestureData
from prernn_jax.data.gesture.sampling import read_clips
from prernn_jax.data.prepared.clip_files import digests_of
from prernn_jax.data.prepared.folder import data_folder
from prernn_jax.data.records import Record

from ..engine.processes import shard
from ..run.feature_batches import Cache, FixedSet
from .config import GestureConfig


def _reader(data: GestureData, config: GestureConfig, steps: int, channels: int) -> Any:
    return partial(
        read_clips,
        pictures="flow" if data.modality == "flow" else "frames",
        clips=steps,
        length=config.clip_length,
        size=config.crop,
        channels=channels,
    )


def _draw(record: Record, rng: np.random.Generator, read: Any) -> Batch:
    clips, length, label = read(record, rng=rng)
    return {"clips": clips, "lengths": np.int32(length), "labels": np.int32(label)}


def gesture_train_batches(
    data: GestureData,
    config: GestureConfig,
    channels: int,
    *,
    steps: int,
    stride: int,
    batch_size: int,
    seed: int,
) -> TrainLoader:
    """Endless augmented batches of the training set.

    Args:
        data: The data set.
        config: Clip length, crop and workers.
        channels: C of the network's input.
        steps: Clips T of a video.
        stride: One frame is taken of every `stride` frames.
        batch_size: Videos B a batch.
        seed: Seed of the order and the augmentation.

    Returns:
        Dicts of `clips` uint8 (B, T, L, S, S, C), `lengths` and `labels` int32 (B,).
    """
    read = partial(
        _reader(data, config, steps, channels),
        stride=stride,
        augmentation=data.augmentation,
        mirror=data.mirror,
    )
    return train_batches(
        data.splits["train"],
        partial(_draw, read=read),
        batch_size=batch_size,
        seed=seed,
        workers=config.workers,
        shard=shard(),
    )


def gesture_test_batches(
    data: GestureData,
    split: str,
    config: GestureConfig,
    channels: int,
    *,
    steps: int,
    stride: int,
    batch_size: int,
) -> EvalLoader:
    """Batches of a whole set, each video once; arguments as for `gesture_train_batches`.

    Returns:
        Re-iterable; the same dicts with `video` int32 (B,) and `mask` bool (B,).
    """
    source = data.splits[split]
    read = partial(_reader(data, config, steps, channels), stride=stride)

    def sample(row: int) -> Batch:
        clips, length, label = read(source[row])
        return {
            "clips": clips,
            "lengths": np.int32(length),
            "labels": np.int32(label),
            "video": np.int32(row),
        }

    return eval_batches(
        len(source), sample, batch_size=batch_size, workers=config.workers, shard=shard()
    )


def fixed_gestures(data: GestureData, config: GestureConfig, channels: int) -> FixedSet:
    """The training set without chance: of each video `config.views` sequences.

    The first has its clips and its picture in the middle, like a test video; the others are drawn,
    each from its number alone.
    """
    source = data.splits["train"]
    read = _reader(data, config, config.steps, channels)
    varied = {"augmentation": data.augmentation, "mirror": data.mirror}

    def sample(row: int) -> Batch:
        video, view = divmod(row, config.views)
        rng = np.random.default_rng([video, view]) if view else None
        clips, length, label = read(source[video], stride=config.stride, rng=rng, **varied)
        return {
            "clips": clips,
            "lengths": np.int32(length),
            "labels": np.int32(label),
            "video": np.int32(video),
        }

    return FixedSet(len(source) * config.views, sample)


def features_cache(data: GestureData, config: GestureConfig) -> Cache:
    """Where the features of a run's trunk lie, and what of its data and settings decides them."""
    names = ("data", "modality", "flow", "steps", "clip_length", "stride", "crop", "views", "lists")
    about = {name: getattr(config, name) for name in (*names, "precision")}
    about |= {"source": str(config.source), "embedded": config.embedded.key}
    about["clips"] = digests_of(data.splits)
    return Cache(data_folder(config.cache_dir) / "features", about)
