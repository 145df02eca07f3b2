"""Stage one of gesture recognition: a compact C3D on single clips of rendered hands."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from flax import nnx
from jax.sharding import Mesh

from prernn_jax.backbones.c3d import C3D
from prernn_jax.data.gesture.datasets import GestureData
from prernn_jax.preprocess import Preprocessing

from ..run.backbone import Backbone, expecting
from ..run.classification import classification_task, measure_clips
from ..run.stage_one import kept_backbone, train_backbone
from .config import GestureConfig
from .task import gesture_test_batches, gesture_train_batches

COMPACT: dict[str, Any] = {
    "width": 16,
    "hidden": 128,
    "stage_sizes": (1, 1, 1),
    "stride": 2,
    "in_channels": 1,
}
"""A C3D for clips of a few small depth images."""
DEPTH = Preprocessing(scale=1 / 64, mean=(1.0,))


def compact_backbone(
    config: GestureConfig, poses: Callable[[], GestureData], mesh: Mesh
) -> Backbone:
    """The compact C3D: read if its file is there, else trained and written.

    Args:
        config: Says how it is trained and where it is kept.
        poses: Opens the data of single clips; called only where there is something to train.
        mesh: Devices to train on.
    """
    arguments = COMPACT | {"clip_length": config.clip_length, "image_size": config.crop}
    settings = asdict(config.pretraining) | {"data": config.embedded.key, "arguments": arguments}

    def make() -> Backbone:
        model = C3D(**arguments, rngs=nnx.Rngs(config.pretraining.seed))
        return _train(config, expecting(Backbone(model, ""), DEPTH), poses(), mesh)

    return kept_backbone(config, "depth", settings, make)


def _train(config: GestureConfig, start: Backbone, data: GestureData, mesh: Mesh) -> Backbone:
    settings = config.pretraining
    sizes = {"steps": 1, "stride": 1, "batch_size": settings.batch_size}
    return train_backbone(
        config,
        start,
        classification_task(start.preprocess),
        len(data.classes),
        gesture_train_batches(data, config, 1, seed=settings.seed, **sizes),
        gesture_test_batches(data, "validation", config, 1, **sizes),
        measure_clips,
        settings,
        name="depth",
        epochs=settings.epochs,
        mesh=mesh,
    )
