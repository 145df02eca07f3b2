"""Classification of sequences: the task, its metrics over videos, and the report of a run."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from prernn_jax.metrics import (
    are_right,
    confusion_matrix,
    sequence_nll,
    sequence_scores,
    top1,
    video_scores,
)
from prernn_jax.preprocess import Preprocessing

from ..engine.evaluate import Predictions
from ..engine.log import say
from ..engine.step import Batch, Metrics, Task
from .figures import confusion_figure
from .film import classification_film
from .folder import RunFolder
from .scores import Scores, Set, write_scores
from .stage_two import Outcome, write_summary


def classification_task(preprocess: Preprocessing) -> Task:
    """Negative log likelihood over the steps of a sequence.

    Args:
        preprocess: What the pre-trained network's input is normalised by.
    """

    def prepare(batch: Batch) -> Array:
        return preprocess.normalise(batch["clips"])

    def loss(outputs: Array, batch: Batch) -> tuple[Array, Metrics]:
        labels = batch["labels"]
        right = are_right(sequence_scores(outputs, batch["lengths"]), labels)
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
    """`top1` of single frames or clips, each for itself."""
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


def report_videos(
    folder: RunFolder,
    name: str,
    config: Any,
    data: Any,
    split: str,
    outcome: Outcome,
    began: float,
    pictures: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> dict[str, Any]:
    """Keeps the videos' scores, draws the confusion matrix, writes `summary.json`, says the result.

    Args:
        folder: Folder of the run.
        name: Name of the run, for the figure's title.
        config: Configuration of the run.
        data: What it was trained and tested on.
        split: The official split; empty where there is only one.
        outcome: Outcome of the run; its metrics are those of `measure`.
        began: `time.perf_counter()` at the start of the run.
        pictures: See `classification_film`.

    Returns:
        What is in the summary.
    """
    sets: dict[Set, Any] = {"test": outcome.test, "validation": outcome.validation}
    kept = {which: of_videos(found) for which, found in sets.items() if found is not None}
    # `embedded` is many data sets: runs on two of them must not be taken for the same.
    drawn = f"-{config.embedded.key}" if config.data == "embedded" else ""
    for which, (numbers, scores, labels) in kept.items():
        source = data.splits[which]
        write_scores(
            Scores(
                run=folder.path,
                video=np.array([source[number]["name"] for number in numbers.tolist()]),
                scores=scores,
                labels=labels,
                classes=np.array(data.classes),
                data=config.data + drawn,
                split=split,
                set=which,
            )
        )

    _, scores, labels = kept["test"]
    counts, top1 = confusion_matrix(scores, labels), outcome.metrics["video_top1"]
    title = f"{name}: video top-1 {100 * top1:.1f}%"
    confusion_figure(folder.path / "confusion.png", counts, data.classes, title)
    if config.film:
        film = folder.path / "film.gif"
        classification_film(
            film, outcome.sample, outcome.model, data.classes, pictures, config.film
        )
    chance = 1 / len(data.classes)
    facts = {"chance": chance, "confusion": counts.tolist()}
    summary = write_summary(folder, outcome, began, facts)
    say(
        f"test: video_top1 {top1:.4f}  clip_top1 {summary['clip_top1']:.4f}  "
        f"loss {summary['loss']:.4f}  (chance {chance:.4f}; "
        f"{summary['seconds']:.0f} s; {folder.path})"
    )
    return summary
