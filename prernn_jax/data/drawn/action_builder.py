"""The embedded actions as TFDS builders: written once to array_record files, read at random."""

import functools
from pathlib import Path
from typing import Any, ClassVar, Literal

import cv2
import tensorflow_datasets as tfds

from prernn_jax.data.drawn.action_clip import make_clip
from prernn_jax.data.drawn.actions import (
    ACTION_CLASSES,
    BLURS,
    LEGS,
    SPATIAL_CLASSES,
    STATIC_CLASSES,
    EmbeddedConfig,
    blur_of,
)
from prernn_jax.data.drawn.builder import DrawnBuilder, DrawnConfig, drawn_splits
from prernn_jax.data.media.flow import BOUND, compute_flow, quantise
from prernn_jax.data.records import RandomAccessSource, clip_features, clip_record

Kind = Literal["actions", "stills"]
_SPLITS = {
    "actions": {"train": "train", "validation": "validation", "test": "test"},
    "stills": {"train": "static_train", "validation": "static_validation"},
}


def make_record(settings: EmbeddedConfig, kind: Kind, split: str, index: int) -> dict[str, Any]:
    """Draws one clip, computes its flow, and encodes both; a still keeps its middle frame only."""
    stream = _SPLITS[kind][split]
    clip = make_clip(settings, stream, index)
    flow = quantise(compute_flow(clip.frames))  # (N - 1, S, S, 2)
    name = f"{stream} {index}"
    if kind == "actions":
        return clip_record(clip.frames, flow, clip.label, name)
    middle = len(clip.frames) // 2
    shape, leg = divmod(clip.label, len(LEGS))
    seen = shape * len(BLURS) + blur_of(leg)
    return clip_record(clip.frames[middle : middle + 1], flow, clip.label, name, spatial_label=seen)


class EmbeddedActions(DrawnBuilder):
    """Procedural clips (`actions`), or flow stacks and pictures of one leg (`stills`)."""

    VERSION = tfds.core.Version("2.0.0")
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = []


def embedded_splits(
    kind: Kind, settings: EmbeddedConfig, cache_dir: Path | None
) -> dict[str, RandomAccessSource]:
    """Returns the splits of one kind; see `drawn_splits`."""
    actions = kind == "actions"
    features = (
        clip_features(ACTION_CLASSES) if actions else clip_features(STATIC_CLASSES, SPATIAL_CLASSES)
    )
    config = DrawnConfig(
        name=f"{kind}-{settings.key}",
        description=f"{kind} of {settings}",
        features=features,
        counts={name: settings.count(stream) for name, stream in _SPLITS[kind].items()},
        draw=functools.partial(make_record, settings, kind),
        facts={"flow": "dis", "bound": BOUND, "opencv": cv2.__version__},
    )
    return drawn_splits(EmbeddedActions, config, cache_dir, f"the embedded {kind}")
