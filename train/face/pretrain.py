"""Stage one of face alignment: a compact VGG on single frames of other people."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from flax import nnx
from jax.sharding import Mesh

from prernn_jax.backbones.compact_vgg import CompactVGG
from prernn_jax.data.face.datasets import FaceData
from prernn_jax.data.face.landmarks import POINTS
from prernn_jax.data.face.metrics import vector_distance
from prernn_jax.preprocess import Preprocessing

from ..engine.evaluate import Predictions
from ..run.backbone import Backbone, expecting
from ..run.stage_one import kept_backbone, train_backbone
from .config import FaceConfig
from .task import (
    all_points,
    face_task,
    frames_of,
    head_points,
    test_batches,
    train_batches,
)

CHANNELS = (16, 32, 64)
INPUT = Preprocessing(scale=1 / 255, mean=(0.5,) * 3, std=(0.25,) * 3)


def compact_backbone(config: FaceConfig, stills: Callable[[], FaceData], mesh: Mesh) -> Backbone:
    """The compact CNN: read if its file is there, else trained and written.

    Args:
        config: Says how it is trained and where it is kept.
        stills: Opens the data of single frames; called only where there is something to train.
        mesh: Devices to train on.
    """
    arguments: dict[str, Any] = {
        "channels": CHANNELS,
        "hidden": config.pretraining.hidden,
        "image_size": config.size,
        "in_channels": 3,
    }
    settings = asdict(config.pretraining) | {
        "data": config.embedded.key,
        "network": arguments,
        "augmentation": asdict(config.augmentation),
    }

    def make() -> Backbone:
        model = CompactVGG(**arguments, rngs=nnx.Rngs(config.pretraining.seed))
        return _train(config, expecting(Backbone(model, ""), INPUT), stills(), mesh)

    return kept_backbone(config, "face", settings, make)


def _train(config: FaceConfig, start: Backbone, data: FaceData, mesh: Mesh) -> Backbone:
    settings = config.pretraining
    frames: dict[str, Any] = {"steps": 1, "batch_size": settings.batch_size}
    target = {"landmarks": all_points, "head": head_points}[settings.label]

    def measure(found: Predictions) -> dict[str, float]:
        _, predicted, landmarks = frames_of(found)
        return {"loss": vector_distance(predicted, target(landmarks))}

    return train_backbone(
        config,
        start,
        face_task(start.preprocess, target),
        target(np.zeros((POINTS, 2))).size,
        train_batches(data.splits["train"], config, seed=settings.seed, **frames),
        test_batches(data.splits["validation"], config, **frames),
        measure,
        settings,
        name="single frames",
        epochs=settings.epochs,
        mesh=mesh,
    )
