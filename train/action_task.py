"""Action recognition as a task: input, loss, predictions, and the batches of a stream."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from prernn_jax.data.action import ActionData
from prernn_jax.data.loader import EvalLoader, TrainLoader, eval_loader, train_loader
from prernn_jax.data.sampling import Stream
from prernn_jax.losses import sequence_nll
from prernn_jax.metrics import confusion_matrix, sequence_scores, top1, video_scores
from prernn_jax.preprocess import Preprocessing
from train.loop import Predictions
from train.presets import ActionConfig
from train.step import Batch, Metrics, Task


def action_task(preprocess: Preprocessing) -> Task:
    """Negative log likelihood over the steps of a sequence.

    Args:
      preprocess: What the pre-trained network's input is normalised by.
    """

    def prepare(batch: Batch) -> Array:
        return preprocess.normalise(batch["clips"])

    def loss(outputs: Array, batch: Batch) -> tuple[Array, Metrics]:
        labels = batch["labels"]
        right = jnp.argmax(sequence_scores(outputs, batch["lengths"]), axis=-1) == labels
        nll = sequence_nll(outputs, labels, batch["lengths"])
        return jnp.mean(nll), {"clip_top1": jnp.mean(right.astype(jnp.float32))}

    def predict(outputs: Array, batch: Batch) -> Metrics:
        return {
            "scores": sequence_scores(outputs, batch["lengths"]),
            "nll": sequence_nll(outputs, batch["labels"], batch["lengths"]),
        }

    return Task(prepare, loss, predict)


def summarise(found: Predictions) -> tuple[dict[str, float], Any]:
    """Metrics and the videos' confusion matrix.

    Returns:
      `video_top1` (scores averaged over the sequences of a video), `clip_top1` (each sequence by
      itself) and `loss` (negative log likelihood, mean over sequences); counts (K, K).
    """
    numbers, scores = video_scores(found["scores"], found["video"])
    label_of = dict(zip(found["video"].tolist(), found["labels"].tolist(), strict=True))
    labels = [label_of[number] for number in numbers.tolist()]
    metrics = {
        "video_top1": top1(scores, labels),
        "clip_top1": top1(found["scores"], found["labels"]),
        "loss": float(found["nll"].mean()),
    }
    return metrics, confusion_matrix(scores, labels)


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
