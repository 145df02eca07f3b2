"""The class scores of a run's videos: their file, and the check that runs can be fused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prernn_jax.errors import InputError
from prernn_jax.files.atomic import replacing
from prernn_jax.files.npz import NPZ_FAULTS, fault_of, read_npz

Set = Literal["test", "validation"]
_LARGEST = 2**30  # bytes of the arrays together


@dataclass(frozen=True)
class Scores:
    """Scores of all videos of a set; `scores-<set>.npz` holds the fields but `run` as arrays.

    Attributes:
        run: The run's folder.
        video: Names (V,), as the data's records have them.
        scores: Class probabilities (V, K), the mean over the sequences of a video.
        labels: Class numbers (V,).
        classes: Names (K,).
        data: The data set; for embedded data with the key of what was drawn.
        split: The official split; empty where there is only one.
        set: Name of the set.
    """

    run: Path
    video: NDArray[np.str_]
    scores: NDArray[np.floating[Any]]
    labels: NDArray[np.integer[Any]]
    classes: NDArray[np.str_]
    data: str
    split: str
    set: Set


def scores_path(run: Path, which: Set) -> Path:
    """Where a run keeps the scores of a set."""
    return run / f"scores-{which}.npz"


def write_scores(found: Scores) -> None:
    """Writes the file, under a temporary name first."""
    path = scores_path(found.run, found.set)
    with replacing(path) as temporary:
        np.savez(
            temporary,
            video=found.video,
            scores=found.scores,
            labels=found.labels,
            classes=found.classes,
            data=np.array(found.data),
            split=np.array(found.split),
            set=np.array(found.set),
        )


def read_scores(run: Path, which: Set) -> Scores:
    """Reads the scores of a run.

    Args:
        run: Its folder.
        which: Set of videos.

    Raises:
        InputError: There is no such folder or file, or the file is damaged or of another kind.
    """
    path = scores_path(run, which)
    if not run.is_dir():
        raise InputError(f"there is no folder {run}; give the folder of a finished run")
    if not path.is_file():
        why = {
            "test": "prernn train action and gesture write it at the end of a run: finish this run "
            "with --resume; if an earlier version made it, train it again",
            "validation": "a run writes it if its data have a validation set, as the embedded data "
            "do; without one, give the weights",
        }
        raise InputError(f"there is no {path.name} in {run}; {why[which]}")
    try:
        arrays = read_npz(path, _LARGEST)
        found = Scores(
            run,
            **{name: arrays[name] for name in ("video", "scores", "labels", "classes")},
            data=str(arrays["data"]),
            split=str(arrays["split"]),
            set=which,
        )
        fault = _fault(found, str(arrays["set"]))
    except NPZ_FAULTS as error:
        fault = f"it cannot be read ({fault_of(error)})"
    if fault:
        raise InputError(
            f"{path}: {fault}; expected a file that prernn train action or gesture wrote: train "
            "the run again"
        )
    return found


def _fault(found: Scores, which: str) -> str:
    """What makes scores unusable; nothing if they are sound."""
    kinds = [getattr(found, name).dtype.kind for name in ("video", "scores", "labels", "classes")]
    videos, classes = found.video.size, found.classes.size
    shapes = (found.video.shape, found.scores.shape, found.labels.shape, found.classes.shape)
    if which != found.set:
        return f"it holds the set {which!r} and not {found.set!r}"
    if kinds not in (["U", "f", "i", "U"], ["U", "f", "u", "U"]):
        return f"video, scores, labels and classes are of the kinds {', '.join(kinds)}"
    if shapes != ((videos,), (videos, classes), (videos,), (classes,)) or not videos:
        return f"video, scores, labels and classes have the shapes {shapes}"
    if not np.isfinite(found.scores).all():
        return "a score is not finite"
    sums = found.scores.astype(np.float64).sum(axis=1)
    if found.scores.min() < 0 or np.abs(sums - 1).max() > 1e-3:
        return "the scores of a video are not probabilities (0 or more, with the sum 1)"
    if found.labels.min() < 0 or found.labels.max() >= classes:
        return f"a label is outside 0 to {classes - 1}"
    if len(np.unique(found.video)) < videos:
        return "a video is named twice"
    return ""


def match(streams: Sequence[Scores]) -> list[Scores]:
    """The scores of several runs with their videos in the order of the first's.

    Args:
        streams: The scores of each run, at least one.

    Raises:
        InputError: They are not of the same data, split, set, classes and videos.
    """
    first, *others = streams
    return [first, *(_in_order_of(first, other) for other in others)]


def _in_order_of(first: Scores, other: Scores) -> Scores:
    for what in ("data", "split", "set"):
        expected, came = getattr(first, what), getattr(other, what)
        if came != expected:
            raise InputError(
                f"{other.run} has the {what} {came!r}, {first.run} has {expected!r}; only runs "
                f"with the same {what} can be fused: train both with the same data flags"
            )
    if not np.array_equal(first.classes, other.classes):
        raise InputError(
            f"{other.run} has the {other.classes.size} classes {_some(other.classes)}, {first.run} "
            f"has the {first.classes.size} classes {_some(first.classes)}; only runs with the same "
            "classes in the same order can be fused"
        )
    row_of = {name: row for row, name in enumerate(other.video.tolist())}
    names = first.video.tolist()
    differing = sorted({*names} ^ row_of.keys())
    if differing:
        raise InputError(
            f"{other.run} has {len(row_of)} videos and {first.run} has {len(names)}, of which "
            f"{len(differing)} are in only one of them: {_some(differing)}; only runs on the same "
            "videos can be fused: prepare the same videos for both and test again"
        )
    rows = [row_of[name] for name in names]
    if not np.array_equal(other.labels[rows], first.labels):
        wrong = first.video[other.labels[rows] != first.labels]
        raise InputError(
            f"{other.run} and {first.run} give {wrong.size} videos different classes: "
            f"{_some(wrong)}; only runs with the same labels can be fused: train both on the same "
            "lists"
        )
    return replace(other, video=first.video, scores=other.scores[rows], labels=first.labels)


def _some(names: Sequence[str] | NDArray[np.str_]) -> str:
    return ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])])
