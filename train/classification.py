"""Classification of sequences as a task: input, loss, predictions, and the metrics of videos."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from prernn_jax.losses import sequence_nll
from prernn_jax.metrics import sequence_scores, top1, video_scores
from prernn_jax.preprocess import Preprocessing
from train.loop import Predictions
from train.step import Batch, Metrics, Task


def classification_task(preprocess: Preprocessing) -> Task:
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


def of_videos(found: Predictions) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Videos' numbers (V,), scores (V, K) averaged over their sequences, and labels (V,)."""
    numbers, scores = video_scores(found["scores"], found["video"])
    label_of = dict(zip(found["video"].tolist(), found["labels"].tolist(), strict=True))
    return numbers, scores, np.array([label_of[number] for number in numbers.tolist()])


def measure_clips(found: Predictions) -> dict[str, float]:
    """`top1` of single frames or clips, each by itself."""
    return {"top1": top1(found["scores"], found["labels"])}


def measure(found: Predictions) -> dict[str, float]:
    """Metrics of a set.

    Returns:
      `video_top1` (scores averaged over the sequences of a video), `clip_top1` (each sequence by
      itself) and `loss` (negative log likelihood, mean over sequences).
    """
    _, scores, labels = of_videos(found)
    return {
        "video_top1": top1(scores, labels),
        "clip_top1": top1(found["scores"], found["labels"]),
        "loss": float(found["nll"].mean()),
    }
