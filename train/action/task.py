"""The batches of a stream of the action data."""

from typing import Any

from prernn_jax.data.action.datasets import ActionData
from prernn_jax.data.action.loader import EvalLoader, Stream, TrainLoader, eval_loader, train_loader

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
    )


def test_batches(
    source: Any, stream: Stream, config: ActionConfig, *, steps: int, batch_size: int
) -> EvalLoader:
    """Batches of a whole set, each video in `config.windows` sequences."""
    return eval_loader(
        source,
        stream=stream,
        batch_size=batch_size,
        steps=steps,
        stack=config.stack,
        crop=config.crop,
        windows=1 if steps == 1 else config.windows,
    )
