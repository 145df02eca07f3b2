"""What a data set gives away without a memory: `prernn controls`, or `prernn controls gesture`.

Linear classifiers on the features that the pre-trained CNN has for single steps, put together in
ways that know no recurrence: the mean over the steps, over halves and over thirds of the clip, the
mean and its change over time (rank pooling), and all steps side by side. Beside them histograms of
the directions of flow with a support vector machine, where the clips are flow. A recurrent net that
is not clearly above all of these has not shown that it remembers anything.
"""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from prernn_jax.command import run_command
from prernn_jax.data.feature_files import FeatureSet
from prernn_jax.data.media.flow import dequantise
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_json

from .applications import application_of
from .engine.log import console, say
from .engine.step import Batch
from .features import config_of, sets_of
from .run.folder import make_folder

Floats = NDArray[np.floating]
STRENGTHS = (0.0003, 0.003, 0.03)
"""The strengths of the classifiers, C in scikit-learn; the validation set chooses."""
BINS = 8
_STILL = 0.5  # pixels a frame: slower flow counts as rest


def _parts(steps: Floats, count: int) -> Floats:
    """(N, T, D) -> (N, count · D): the means of as many parts of the clip."""
    parts = [part.mean(axis=1) for part in np.array_split(steps, count, axis=1)]
    return np.concatenate(parts, axis=1)


def _ramp(steps: Floats) -> Floats:
    """(N, T, D) -> (N, 2 D): the mean and the product with a line from -1 to 1 over the steps."""
    line = np.linspace(-1.0, 1.0, steps.shape[1], dtype=steps.dtype)
    change = np.einsum("ntd,t->nd", steps, line) / steps.shape[1]
    return np.concatenate([steps.mean(axis=1), change], axis=1)


POOLINGS: Mapping[str, Callable[[Floats], Floats]] = {
    "mean": lambda steps: _parts(steps, 1),
    "halves": lambda steps: _parts(steps, 2),
    "thirds": lambda steps: _parts(steps, 3),
    "mean + ramp": _ramp,
    "all steps": lambda steps: steps.reshape(len(steps), -1),
}


def flow_histograms(clips: NDArray[np.uint8]) -> Floats:
    """Stacks of quantised flow (T, H, W, 2 L) -> (T, BINS + 1): shares of directions, and of rest.

    A pixel counts in the bin of its direction with its speed, as in histograms of oriented optical
    flow (HOF, Laptev et al. 2008).
    """
    fields = dequantise(clips).reshape(*clips.shape[:3], -1, 2)  # (T, H, W, L, 2)
    speed = np.hypot(fields[..., 0], fields[..., 1])
    turn = np.arctan2(fields[..., 1], fields[..., 0]) / (2 * np.pi)
    place = np.floor(turn * BINS + 0.5).astype(int) % BINS  # bin 0 is centred on the right
    place = np.where(speed < _STILL, BINS, place)
    weight = np.where(speed < _STILL, _STILL, speed)
    found = np.stack(
        [np.where(place == k, weight, 0).sum(axis=(1, 2, 3)) for k in range(BINS + 1)], axis=1
    )
    return found / found.sum(axis=1, keepdims=True)


class Control(NamedTuple):
    """What came of one control.

    Attributes:
        name: What is classified.
        strength: The chosen one of STRENGTHS.
        validation: Top-1 of the validation set.
        test: Top-1 of the test set.
    """

    name: str
    strength: float
    validation: float
    test: float


Sets = Mapping[str, tuple[Floats, NDArray[np.integer]]]
"""`train`, `validation` and `test` -> inputs (N, D) and labels (N,)."""


def best_classifier(name: str, sets: Sets, make: Callable[[float], Any]) -> Control:
    """Fits a classifier at each strength and keeps the one that is best on the validation set.

    Args:
        name: The control's name.
        sets: Inputs are normalised by the training set's mean and standard deviation.
        make: Strength -> a classifier of scikit-learn.
    """
    inputs, labels = sets["train"]
    middle, spread = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6

    def score(fitted: Any, which: str) -> float:
        values, truth = sets[which]
        return float(fitted.score((values - middle) / spread, truth))

    best: Control | None = None
    for strength in STRENGTHS:
        fitted = make(strength).fit((inputs - middle) / spread, labels)
        found = score(fitted, "validation")
        if best is None or found > best.validation:
            best = Control(name, strength, found, score(fitted, "test"))
    assert best is not None
    return best


def controls_of(
    features: Mapping[str, FeatureSet], flow: Callable[[], Mapping[str, Floats]] | None
) -> Iterable[Control]:
    """All controls, one after the other.

    Args:
        features: Set -> its features of single steps, one array (N, T, D).
        flow: Computes set -> its flow histograms (N, T, BINS + 1); None where there is no flow.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise InputError(
            "the controls need scikit-learn: pip install 'prernn-jax[controls]'"
        ) from None
    labels = {name: found.arrays["labels"] for name, found in features.items()}

    def logistic(strength: float) -> Any:
        return LogisticRegression(C=strength, max_iter=200, tol=1e-3)

    def machine(strength: float) -> Any:
        return LinearSVC(C=strength, max_iter=3000, tol=1e-3, dual=False)

    # The products are small: threads would wait for one another.
    for name, pool in POOLINGS.items():
        pooled = {s: (pool(f.arrays["features"]), labels[s]) for s, f in features.items()}
        with threadpool_limits(1), warnings.catch_warnings():
            # The weakest regularisation needs more steps than it is worth: it is not chosen.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = best_classifier(name, pooled, logistic)
        yield found
    if flow is None:
        return
    histograms = flow()
    for name in ("mean", "thirds"):
        pooled = {s: (POOLINGS[name](h), labels[s]) for s, h in histograms.items()}
        with threadpool_limits(1):
            found = best_classifier(f"flow histograms, {name}", pooled, machine)
        yield found


def run(config: Any) -> list[Control]:
    """Fits and tests the controls; writes them to `controls.json` in the run's workdir."""
    began = time.perf_counter()
    found = sets_of(replace(config, model="feedforward"))  # the CNN up to its output layer

    def flow() -> dict[str, Floats]:
        return {
            name: np.stack([flow_histograms(np.asarray(clip)) for clip in clips_of(batches)])
            for name, batches in found.clips.items()
        }

    table = Table("control", "strength", "validation", "test")
    done = []
    kind = "-".join(application_of(config).kind(config))
    stacks = config.application == "action" and config.stream == "temporal"
    for control in controls_of(found.features, flow if stacks else None):
        done.append(control)
        say(f"{control.name}: validation {control.validation:.4f}  test {control.test:.4f}")
        table.add_row(
            control.name, f"{control.strength:g}",
            f"{100 * control.validation:.1f}", f"{100 * control.test:.1f}",
        )  # fmt: skip
    console.print(table)
    make_folder(config.workdir)
    path = config.workdir / f"controls-{kind}.json"
    write_json(
        path,
        {
            "controls": [control._asdict() for control in done],
            "data": config.data,
            "embedded": config.embedded.key if config.data == "embedded" else None,
            "seconds": round(time.perf_counter() - began, 1),
        },
    )
    say(f"written: {path}")
    return done


def clips_of(batches: Iterable[Batch]) -> Iterable[Any]:
    """The clips of batches one by one, without the filling."""
    for batch in batches:
        yield from batch["clips"][batch["mask"]]


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    config = config_of(
        argv,
        command="controls",
        description=(
            "Classifies clips without a memory: linear classifiers on the pre-trained CNN's "
            "features of single steps, pooled over time in five ways, and histograms of flow. "
            "The flags are those of `prernn train action` or `prernn train gesture`."
        ),
        examples=(
            "prernn controls",
            "prernn controls --stream=spatial",
            "prernn controls gesture --views=4",
        ),
    )
    run(config)


if __name__ == "__main__":
    run_command(main)
