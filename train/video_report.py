"""What a run that classifies videos says at its end: files and one line."""

from typing import Any

import numpy as np

from prernn_jax.data.action import ActionData
from prernn_jax.data.gesture import GestureData
from prernn_jax.metrics import confusion_matrix
from train.action_config import ActionConfig
from train.classification import of_videos
from train.figures import confusion_figure
from train.gesture_config import GestureConfig
from train.log import say
from train.run_folder import RunFolder
from train.scores_file import Scores, Set, write_scores
from train.stage_two import Outcome, write_summary


def report_videos(
    folder: RunFolder,
    name: str,
    config: ActionConfig | GestureConfig,
    data: ActionData | GestureData,
    split: str,
    outcome: Outcome,
    began: float,
) -> dict[str, Any]:
    """Keeps the videos' scores, draws the confusion matrix, writes `summary.json`, says the result.

    Args:
      folder: The run's.
      name: Of the run, for the figure's title.
      config: Of the run.
      data: What it was trained and tested on.
      split: The official split; empty where there is but one.
      outcome: Of the run; its metrics are those of `train.classification.measure`.
      began: `time.perf_counter()` at the start of the run.

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
    chance = 1 / len(data.classes)
    facts = {"chance": chance, "confusion": counts.tolist()}
    summary = write_summary(folder, outcome, began, facts)
    say(
        f"test: video_top1 {top1:.4f}  clip_top1 {summary['clip_top1']:.4f}  "
        f"loss {summary['loss']:.4f}  (chance {chance:.4f}; "
        f"{summary['seconds']:.0f} s; {folder.path})"
    )
    return summary
