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
    """Draws one clip and encode it as grey JPEG."""
    stream = _SPLITS[kind][split]
    clip = make_gesture(settings, stream, index)
    return clip_record(clip.frames, None, clip.label, f"{stream} {index}")


class EmbeddedGestures(DrawnBuilder):
    """Rendered hands that do a gesture (`gestures`), or single short clips (`poses`)."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = []


def embedded_gestures(
    data_dir: Path | None = None, config: EmbeddedGesturesConfig | None = None
) -> GestureData:
    """Returns the embedded gestures; draws them first where that has not been done yet.

    Args:
        data_dir: Where to keep them; by default see `data_folder`.
        config: What to draw; its key is part of the folder's name.

    Returns:
        Splits train, validation and test.

    Raises:
        InputError: The folder cannot be written.
    """
    return _open("gestures", GESTURE_CLASSES, config or EmbeddedGesturesConfig(), data_dir)


def embedded_poses(
    data_dir: Path | None = None, config: EmbeddedGesturesConfig | None = None
) -> GestureData:
    """Returns the set for pre-training: other hands, one short clip a record.

    Args:
        data_dir: Where to keep it; by default see `data_folder`.
        config: What to draw.

    Returns:
        Splits train and validation; the classes are ten motions and four still shapes.

    Raises:
        InputError: The folder cannot be written.
    """
    return _open("poses", POSE_CLASSES, config or EmbeddedGesturesConfig(), data_dir)


def _open(
    kind: Kind, classes: tuple[str, ...], settings: EmbeddedGesturesConfig, data_dir: Path | None
) -> GestureData:
    config = DrawnConfig(
        name=f"{kind}-{settings.key}",
        description=f"{kind} of {settings}",
        features=clip_features(classes),
        counts={name: settings.count(stream) for name, stream in _SPLITS[kind].items()},
        draw=functools.partial(make_record, settings, kind),
        facts={"opencv": cv2.__version__},
    )
    splits = drawn_splits(EmbeddedGestures, config, data_dir, f"the embedded {kind}")
    return GestureData(classes, splits, "depth", GESTURE_MIRROR)
