"""The gesture data sets as the training program sees them: classes and random-access splits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from prernn_jax.data.augment import Augmentation
from prernn_jax.data.embedded_gestures import (
    GESTURE_CLASSES,
    GESTURE_MIRROR,
    POSE_CLASSES,
    EmbeddedGesturesConfig,
)
from prernn_jax.data.embedded_gestures_builder import embedded_splits
from prernn_jax.data.records import RandomAccessSource

Modality = Literal["color", "depth", "flow"]


@dataclass(frozen=True)
class GestureData:
    """A data set of labelled gestures.

    Attributes:
      classes: names; a record's `label` counts in them.
      splits: name of a split -> its records (prernn_jax.data.records).
      modality: what a network is to be given: the records' `frames` (for depth they are grey: one
        channel, which decoding as RGB repeats) or their `flow_x` and `flow_y`.
      mirror: class that a mirrored clip shows, where it is another one.
      augmentation: how its training clips are best varied.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, RandomAccessSource]
    modality: Modality
    mirror: Mapping[int, int] = field(default_factory=dict)
    augmentation: Augmentation = field(default_factory=Augmentation)


def embedded_gestures(
    data_dir: Path | None = None, config: EmbeddedGesturesConfig | None = None
) -> GestureData:
    """Return the embedded gestures; draws them first where that has not been done yet.

    Args:
      data_dir: where to keep them; by default see `data_folder`.
      config: what to draw; its key is part of the folder's name.

    Returns:
      Splits train, validation and test.

    Raises:
      InputError: the folder cannot be written.
    """
    splits = embedded_splits("gestures", config or EmbeddedGesturesConfig(), data_dir)
    return GestureData(GESTURE_CLASSES, splits, "depth", GESTURE_MIRROR)


def embedded_poses(
    data_dir: Path | None = None, config: EmbeddedGesturesConfig | None = None
) -> GestureData:
    """Return the set for pre-training: other hands, one short clip a record.

    Args:
      data_dir: where to keep it; by default see `data_folder`.
      config: what to draw.

    Returns:
      Splits train and validation; the classes are ten motions and four still shapes.

    Raises:
      InputError: the folder cannot be written.
    """
    splits = embedded_splits("poses", config or EmbeddedGesturesConfig(), data_dir)
    return GestureData(POSE_CLASSES, splits, "depth", GESTURE_MIRROR)
