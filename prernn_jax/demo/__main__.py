"""Shows what a recurrent net sees, without training: `prernn demo`."""

import importlib.resources
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prernn_jax.command import parse, run_command
from prernn_jax.data.drawn.gesture_clip import make_gesture
from prernn_jax.data.drawn.gestures import EmbeddedGesturesConfig
from prernn_jax.errors import InputError
from prernn_jax.files.models import load
from prernn_jax.predict.film import scores_film, write_gif
from prernn_jax.predict.outcome import VideoScores
from prernn_jax.predict.predictor import Predictor

CLIPS = (0, 1, 8)
"""Clips of the drawn test set: after the cue the hand moves left, moves right, or opens."""
_LAST = 12  # times that the last frame of a clip is shown


@dataclass(frozen=True)
class DemoCommand:
    """Where the film goes.

    Attributes:
        out: The film, an animated GIF.
    """

    out: Path = Path("prernn-demo.gif")


def show(command: DemoCommand) -> list[VideoScores]:
    """Predicts the clips, says what the model sees, and writes the film."""
    if command.out.suffix.lower() != ".gif":
        raise InputError(f"--out={command.out}: expected a name that ends in .gif")
    with importlib.resources.as_file(importlib.resources.files("prernn_jax.demo")) as folder:
        predictor = Predictor(load(folder / "gesture.safetensors"))
    found: list[VideoScores] = []
    clips: list[NDArray[np.uint8]] = []
    for index in CLIPS:
        clip = make_gesture(EmbeddedGesturesConfig(), "test", index)
        clips.append(np.repeat(clip.frames[..., None], 3, axis=-1))
        seen: Any = predictor(clips[-1])
        found.append(seen)
        truth = seen.classes[clip.label]
        print(f"after the cue: {truth!r}; the net sees: {seen.brief}", flush=True)
    try:
        command.out.parent.mkdir(parents=True, exist_ok=True)
        write_gif(command.out, list(_pictures(found, clips)), 100)
    except OSError as error:
        raise InputError(f"--out={command.out} cannot be written: {error.strerror}") from None
    print(f"{command.out}: bars over time. Next: prernn predict, prernn page, prernn train gesture")
    return found


def _pictures(
    found: Sequence[VideoScores], clips: Sequence[NDArray[np.uint8]]
) -> Iterator[NDArray[np.uint8]]:
    for scores, clip in zip(found, clips, strict=True):
        shown = list(scores_film(scores, clip))
        yield from [*shown, *shown[-1:] * _LAST]


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    show(
        parse(
            DemoCommand,
            argv,
            program="prernn demo",
            description=(
                "A small net, trained on drawn hands, says which gesture followed the cue, a "
                "bright sign, in three clips of its test set. Writes a film; needs no training "
                "and no network."
            ),
        )
    )


if __name__ == "__main__":
    run_command(main)
