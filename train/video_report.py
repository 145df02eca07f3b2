"""What a run that classifies videos says at its end: files and one line."""

from collections.abc import Sequence
from typing import Any

from prernn_jax.metrics import confusion_matrix
from train.classification import of_videos
from train.figures import confusion_figure
from train.log import say
from train.run_folder import RunFolder
from train.stage_two import Outcome, write_summary


def report_videos(
    folder: RunFolder, name: str, outcome: Outcome, classes: Sequence[str], began: float
) -> dict[str, Any]:
    """Draws the confusion matrix, writes `summary.json` and says the result.

    Args:
      folder: The run's.
      name: Of the run, for the figure's title.
      outcome: Of the run; its metrics are those of `train.classification.measure`.
      classes: Their names.
      began: `time.perf_counter()` at the start of the run.

    Returns:
      What is in the summary.
    """
    _, scores, labels = of_videos(outcome.test)
    counts, top1 = confusion_matrix(scores, labels), outcome.metrics["video_top1"]
    title = f"{name}: video top-1 {100 * top1:.1f}%"
    confusion_figure(folder.path / "confusion.png", counts, classes, title)
    chance = 1 / len(classes)
    facts = {"chance": chance, "confusion": counts.tolist()}
    summary = write_summary(folder, outcome, began, facts)
    say(
        f"test: video_top1 {top1:.4f}  clip_top1 {summary['clip_top1']:.4f}  "
        f"loss {summary['loss']:.4f}  (chance {chance:.4f}; "
        f"{summary['seconds']:.0f} s; {folder.path})"
    )
    return summary
