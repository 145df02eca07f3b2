"""The batches of a stream of the action data."""

from typing import Any

import numpy as np

from prernn_jax.data.action.datasets import ActionData
from prernn_jax.data.action.loader import (
    EvalLoader,
    Stream,
    TrainLoader,
    draw_sample,
    eval_loader,
    train_loader,
)
from prernn_jax.data.prepared.clip_files import digests_of
from prernn_jax.data.prepared.folder import data_folder

from ..engine.processes import shard
from ..run.feature_batches import Cache, FixedSet
from .config import ActionConfig


def train_batches(
    data: ActionData,
    stream: Stream,
    config: ActionConfig,
    *,
    steps: int,
    batch_size: int,
    seed: int,
) -> TrainLoader:
    """Endless augmented batches of the training set."""
    return train_loader(
        data.splits["train"],
        stream=stream,
        batch_size=batch_size,
        steps=steps,
        stack=config.stack,
        crop=config.crop,
        augment=data.augmentation,
        seed=seed,
        workers=config.workers,
        shard=shard(),
    )


def test_batches(
    source: Any, stream: Stream, config: ActionConfig, *, steps: int, batch_size: int
) -> EvalLoader:
    """Batches of a whole set, each video in `config.windows` times `config.crops` sequences."""
    return eval_loader(
        source,
        stream=stream,
        batch_size=batch_size,
        steps=steps,
        stack=config.stack,
        crop=config.crop,
        windows=1 if steps == 1 else config.windows,
        crops=1 if steps == 1 else config.crops,
        workers=config.workers,
        shard=shard(),
    )


def fixed_samples(data: ActionData, config: ActionConfig) -> FixedSet:
    """The training set without chance: of each clip `config.views` sequences.

    The first has its steps and its picture in the middle, like a test clip; the others are drawn,
    each from its number alone.
    """
    source = data.splits["train"]

    def read(row: int) -> dict[str, Any]:
        clip, view = divmod(row, config.views)
        return draw_sample(
            source[clip],
            0.5 if view == 0 else np.random.default_rng([clip, view]),
            stream=config.stream,
            steps=config.steps,
            stack=config.stack,
            crop=config.crop,
            augment=data.augmentation,
        )

    return FixedSet(len(source) * config.views, read)


def features_cache(data: ActionData, config: ActionConfig) -> Cache:
    """Where the features of a run's trunk lie, and what of its data and settings decides them."""
    names = ("data", "stream", "split", "flow", "steps", "stack", "crop", "windows", "views")
    about = {name: getattr(config, name) for name in (*names, "precision")}
    if config.crops > 1:
        about["crops"] = config.crops
    about |= {"source": str(config.source), "embedded": config.embedded.key}
    about["clips"] = digests_of(data.splits)
    return Cache(data_folder(config.cache_dir) / "features", about)
