"""The embedded data as TFDS builders: written once to array_record files, read at random."""

import dataclasses
import functools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, Literal

import cv2
import tensorflow_datasets as tfds

from prernn_jax.data.embedded import (
    ACTION_CLASSES,
    LEGS,
    SPATIAL_CLASSES,
    STATIC_CLASSES,
    EmbeddedConfig,
)
from prernn_jax.data.embedded_clip import make_clip
from prernn_jax.data.flow import BOUND, compute_flow, one_thread, quantise
from prernn_jax.data.records import clip_features, clip_record

Kind = Literal["actions", "stills"]
_SPLITS = {
    "actions": {"train": "train", "validation": "validation", "test": "test"},
    "stills": {"train": "static_train", "validation": "static_validation"},
}


@dataclasses.dataclass(eq=False)
class EmbeddedBuilderConfig(tfds.core.BuilderConfig):
    """What TFDS needs to know: the name is the key of the settings."""

    settings: EmbeddedConfig = dataclasses.field(default_factory=EmbeddedConfig)
    kind: Kind = "actions"


def builder_config(kind: Kind, settings: EmbeddedConfig) -> EmbeddedBuilderConfig:
    """Return the builder's configuration for some settings; every change has its own name."""
    return EmbeddedBuilderConfig(
        name=f"{kind}-{settings.key}",
        description=f"{kind} of {settings}",
        settings=settings,
        kind=kind,
    )


def make_record(settings: EmbeddedConfig, kind: Kind, split: str, index: int) -> dict[str, Any]:
    """Draw one clip, compute its flow, and encode both; a still keeps its middle frame only."""
    clip = make_clip(settings, split, index)
    flow = quantise(compute_flow(clip.frames))  # (N - 1, S, S, 2)
    name = f"{split} {index}"
    if kind == "actions":
        return clip_record(clip.frames, flow, clip.label, name)
    middle = len(clip.frames) // 2
    picture, shape = clip.frames[middle : middle + 1], clip.label // len(LEGS)
    return clip_record(picture, flow, clip.label, name, spatial_label=shape)


class EmbeddedActions(tfds.core.GeneratorBasedBuilder):
    """Procedural clips (`actions`), or flow stacks and pictures of one leg (`stills`)."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = []

    def _info(self) -> tfds.core.DatasetInfo:
        if self.builder_config.kind == "actions":
            features = clip_features(ACTION_CLASSES)
        else:
            features = clip_features(STATIC_CLASSES, SPATIAL_CLASSES)
        facts = {"flow": "dis", "bound": BOUND, "opencv": cv2.__version__}
        return self.dataset_info_from_configs(
            features=features,
            metadata=tfds.core.MetadataDict(facts),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        names = _SPLITS[self.builder_config.kind]
        return {name: self._generate_examples(stream) for name, stream in names.items()}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        settings, kind = self.builder_config.settings, self.builder_config.kind
        draw = functools.partial(make_record, settings, kind, split)
        block = 64  # so many clips are in memory at once
        count = settings.count(split)
        with one_thread(), ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            for start in range(0, count, block):
                numbers = range(start, min(start + block, count))
                yield from zip(numbers, pool.map(draw, numbers), strict=True)
