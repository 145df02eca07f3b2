"""The embedded gestures as TFDS builders: written once to array_record files, read at random."""

import functools
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import tensorflow_datasets as tfds

from prernn_jax.data.drawn.builder import DrawnBuilder, DrawnConfig, drawn_splits
from prernn_jax.data.drawn.gesture_clip import make_gesture
from prernn_jax.data.drawn.gestures import (
    GESTURE_CLASSES,
    GESTURE_MIRROR,
    POSE_CLASSES,
    EmbeddedGesturesConfig,
)
from prernn_jax.data.gesture.datasets import GestureData
from prernn_jax.data.records import clip_features, clip_record

Kind = Literal["gestures", "poses"]
_SPLITS = {
    "gestures": {"train": "train", "validation": "validation", "test": "test"},
    "poses": {"train": "pose_train", "validation": "pose_validation"},
}


def make_record(
    settings: EmbeddedGesturesConfig, kind: Kind, split: str, index: int
) -> dict[str, Any]:
    """Draws one clip and encodes it as grey JPEG."""
    stream = _SPLITS[kind][split]
    clip = make_gesture(settings, stream, index)
    return clip_record(clip.frames, None, clip.label, f"{stream} {index}")


class EmbeddedGestures(DrawnBuilder):
    """Whole gestures of rendered hands (`gestures`), or single short clips (`poses`)."""

    VERSION = tfds.core.Version("2.0.0")
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = []


def embedded_gestures(
    cache_dir: Path | None = None,
    config: EmbeddedGesturesConfig | None = None,
    *,
    pretraining: bool = False,
) -> GestureData:
    """Returns the drawn gestures; draws them first where they are not in the cache.

    The arguments and errors are those of `drawn_splits`. With `pretraining` the records are short
    clips of other hands, for stage one: the gestures, the cue, and a hand at rest. They have no
    split test.
    """
    settings = config or EmbeddedGesturesConfig()
    kind: Kind = "poses" if pretraining else "gestures"
    classes = POSE_CLASSES if pretraining else GESTURE_CLASSES
    drawn = DrawnConfig(
        name=f"{kind}-{settings.key}",
        description=f"{kind} of {settings}",
        features=clip_features(classes),
        counts={name: settings.count(stream) for name, stream in _SPLITS[kind].items()},
        draw=functools.partial(make_record, settings, kind),
        facts={"opencv": cv2.__version__},
    )
    splits = drawn_splits(EmbeddedGestures, drawn, cache_dir, f"the embedded {kind}")
    return GestureData(classes, splits, "depth", GESTURE_MIRROR)
