"""Averages the class scores of finished runs: `prernn fuse RUN RUN --weights 1 1.5`.

The class scores of the test videos of two or more finished runs are averaged, each run with its
weight. Without --weights and --choose all weights are equal; two-stream practice for flow beside
RGB is 1.5 to 1.
"""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray

from prernn_jax.command import parse, run_command
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_text
from prernn_jax.metrics import top1

from .engine.log import say
from .run.scores import Scores, Set, match, read_scores, scores_path

GRID = range(5)
"""Weights that are tried for each run; equal ratios are tried once, with the smallest numbers."""
MOST = 4
"""Runs whose weights can be chosen: the grid has 529 points for them."""


@dataclass(frozen=True)
class Fusion:
    """Which runs, and how they are weighted.

    Attributes:
        runs: Folders of two or more finished runs of train.action or train.gesture.
        weights: One a run, in their order; only their ratios count. All equal when not given.
        choose: Try whole numbers from 0 to 4 as weights and take those with the highest video
            top-1 on the runs' validation scores. A tie goes to the weights nearest to equal, then
            to those with more on the earlier runs. The test set has no part in it.
        out: JSON file to write the result to.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    weights: tuple[float, ...] = ()
    choose: bool = False
    out: Path | None = None


def fuse(streams: Sequence[Scores], weights: Sequence[float]) -> NDArray[np.float64]:
    """The weighted mean of the scores of several runs.

    Args:
        streams: The scores of each run.
        weights: One weight per run, zero or more; only their ratios count.

    Returns:
        (V, K), the videos in the order of the first run.

    Raises:
        InputError: The runs are not of the same videos, or the weights cannot be used.
    """
    check_weights(weights, len(streams))
    return _mean([stream.scores for stream in match(streams)], weights)


def _mean(scores: Sequence[NDArray[Any]], weights: Sequence[float]) -> NDArray[np.float64]:
    shares = np.asarray(weights, np.float64) / max(weights)  # so that no sum overflows
    return np.average(np.asarray(scores, np.float64), axis=0, weights=shares)


def check_weights(weights: Sequence[float], runs: int) -> None:
    """Raises an InputError for weights that do not fit the number of runs."""
    given = "--weights " + " ".join(f"{weight:g}" for weight in weights)
    if len(weights) != runs:
        raise InputError(
            f"{given}: {len(weights)} weights for {runs} runs; give one a run, in their order"
        )
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise InputError(
            f"{given}: expected finite numbers of zero or more, not all of them zero; a run of "
            "weight 0 does not count"
        )


def fused_top1(runs: Sequence[Path], weights: Sequence[float], which: Set = "test") -> float:
    """Video top-1 of several runs together.

    Args:
        runs: Their folders.
        weights: One weight per run.
        which: Set of videos.

    Raises:
        InputError: As for `fuse`; or a run has no scores of this set.
    """
    streams = [read_scores(run, which) for run in runs]
    return top1(fuse(streams, weights), streams[0].labels)


def choose_weights(runs: Sequence[Path]) -> tuple[int, ...]:
    """The weights that are best on the validation sets of several runs.

    All weights from `GRID` are tried. A tie goes to the weights whose shares are nearest to equal
    (in the sum of their distances), then to those with more on the earlier runs.

    Args:
        runs: Their folders.

    Raises:
        InputError: A run has no validation scores, they are not of the same videos, or there are
            more runs than `MOST`.
    """
    if len(runs) > MOST:
        raise InputError(f"--choose: {len(runs)} runs; weights are chosen for at most {MOST}")
    streams = match([read_scores(run, "validation") for run in runs])
    scores = [stream.scores for stream in streams]

    def worth(weights: tuple[int, ...]) -> tuple[float, Fraction, tuple[int, ...]]:
        whole = sum(weights)
        unequal = sum(abs(Fraction(weight, whole) - Fraction(1, len(runs))) for weight in weights)
        return top1(_mean(scores, weights), streams[0].labels), -Fraction(unequal), weights

    grid = itertools.product(GRID, repeat=len(runs))
    return max((weights for weights in grid if math.gcd(*weights) == 1), key=worth)


def run(config: Fusion) -> dict[str, Any]:
    """Fuses, says the result, and returns what --out is to hold.

    Raises:
        InputError: The runs or the weights cannot be used, or --out cannot be written.
    """
    runs = config.runs
    if len(runs) < 2:
        raise InputError(f"{len(runs)} runs given; give the folders of two or more")
    if config.choose and config.weights:
        raise InputError("--weights and --choose exclude each other; give one of them")
    weights: tuple[float, ...] = config.weights or (1,) * len(runs)
    check_weights(weights, len(runs))
    source = "given" if config.weights else "equal"
    if config.choose:
        weights, source = choose_weights(runs), "chosen on the validation set"

    test = match([read_scores(run, "test") for run in runs])
    validated = all(scores_path(run, "validation").is_file() for run in runs)
    result: dict[str, Any] = {
        "data": test[0].data,
        "split": test[0].split,
        "videos": test[0].video.size,
        "chance": 1 / test[0].classes.size,
        "runs": [str(run) for run in runs],
        "video_top1_of_each": [top1(stream.scores, stream.labels) for stream in test],
        "weights": list(weights),
        "weights_are": source,
        "video_top1": top1(_mean([stream.scores for stream in test], weights), test[0].labels),
        "validation_video_top1": fused_top1(runs, weights, "validation") if validated else None,
    }
    if config.out is not None:
        try:
            write_text(config.out, json.dumps(result, indent=2) + "\n")
        except OSError as error:
            raise InputError(
                f"--out={config.out} cannot be written: {error.strerror}; give another file"
            ) from None

    for folder, alone in zip(runs, result["video_top1_of_each"], strict=True):
        say(f"video_top1 {alone:.4f}  {folder}")
    ratio = " : ".join(f"{weight:g}" for weight in weights)
    say(
        f"video_top1 {result['video_top1']:.4f}  together, weights {ratio} ({source}; "
        f"{result['videos']} test videos, chance {result['chance']:.4f})"
    )
    return result


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    description = (
        "Averages the class scores of the test videos of two or more finished runs, each run with "
        "its weight. Without --weights and --choose all weights are equal; for two streams of RGB "
        "and flow 1 to 1.5 is usual."
    )
    example = "prernn fuse RUN_SPATIAL RUN_TEMPORAL --weights 1 1.5"
    run(parse(Fusion, argv, program="prernn fuse", description=description, examples=(example,)))


if __name__ == "__main__":
    run_command(main)
