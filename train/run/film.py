"""Films of test videos: the network's output at each step, with its memory and without it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prernn_jax.cpu.xla import jit
from prernn_jax.precision import products_in
from prernn_jax.predict.film import write_gif
from prernn_jax.sequence import SequenceModel

Frames = list[NDArray[np.uint8]]
MEMORY, ALONE = "#0072B2", "#D55E00"  # a blue and a red that colour-blind people tell apart
STEP, LAST = 500, 1500  # milliseconds


def step_outputs(
    model: SequenceModel, clips: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A network's outputs at every step, with its memory and with the carry at zero each time.

    Args:
        model: For evaluation.
        clips: (N, T, ...) as a loader hands them over.

    Returns:
        Two arrays (N, T, K).
    """
    graphdef, state = nnx.split(model)

    @jit
    @products_in("float32")
    def run(state: Any, clips: Any) -> Any:
        here = nnx.merge(graphdef, state)
        x = here.backbone.preprocess.normalise(clips)
        single = x.reshape(-1, 1, *x.shape[2:])  # (N T, 1, ...)
        alone, _ = here(single)
        return here(x)[0], alone.reshape(*x.shape[:2], -1)

    whole, alone = jax.device_get(run(state, clips))
    return whole, alone


def classification_film(
    path: Path,
    batch: Mapping[str, NDArray[Any]],
    model: SequenceModel,
    classes: Sequence[str],
    pictures: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    videos: int,
) -> None:
    """Draws the probability of the right class over the steps of some videos, as a GIF.

    Args:
        path: The GIF.
        batch: Test videos with `clips` (B, T, ...), `lengths` and `labels` (B,).
        model: The trained network.
        classes: Names of the classes.
        pictures: Clips (N, T, ...) -> RGB pictures (N, T, H, W, 3) to look at.
        videos: How many videos; those of the batch if it has fewer.
    """
    clips = batch["clips"][:videos]
    found = [_probabilities(outputs) for outputs in step_outputs(model, clips)]
    frames: Frames = []
    durations = []
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for row, shown in enumerate(pictures(clips)):
        lines = [("each step alone", ALONE, found[1][row])]
        if model.recurrent_layers:
            lines.insert(0, ("with memory", MEMORY, found[0][row]))
        label, steps = int(batch["labels"][row]), int(batch["lengths"][row])
        for step in range(steps):
            figure.clear()
            left, right = figure.subplots(1, 2, width_ratios=(1, 1.9))
            left.imshow(shown[step], interpolation="nearest")
            left.set_axis_off()
            left.set_title(f"step {step + 1} of {steps}", fontsize=9)
            for place, (name, colour, scores) in enumerate(lines):
                right.plot(range(1, step + 2), scores[: step + 1, label], marker="o", color=colour)
                guess = int(scores[step].argmax())
                mark = "right" if guess == label else "wrong"
                says = f"{name}: {classes[guess]} ({100 * scores[step, guess]:.0f}%), {mark}"
                right.text(0.02, 0.95 - 0.09 * place, says, color=colour, fontsize=8,
                           transform=right.transAxes, va="top")  # fmt: skip
            right.set(xlim=(0.8, steps + 0.2), ylim=(0, 1.3), xlabel="step")
            right.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
            right.set_title(f"probability of the right class: {classes[label]}", fontsize=9)
            right.grid(alpha=0.3)
            canvas.draw()
            frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
            durations.append(LAST if step + 1 == steps else STEP)
    write_gif(path, frames, durations)


def _probabilities(outputs: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(jax.nn.softmax(outputs, axis=-1))
