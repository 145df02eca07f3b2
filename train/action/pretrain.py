"""Stage one of action recognition: a compact ResNet on frames, then on stacks of flow."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from flax import nnx
from jax.sharding import Mesh

from prernn_jax.backbones.resnet import ResNet
from prernn_jax.data.action.datasets import ActionData
from prernn_jax.data.action.loader import Stream, channels

from ..run.backbone import RGB, Backbone, expecting, with_channels
from ..run.classification import classification_task, measure_clips
from ..run.stage_one import kept_backbone, train_backbone
from .config import ActionConfig
from .task import test_batches, train_batches

STAGE_SIZES, WIDTH = (1, 1, 1), 16  # the compact ResNet for images of 64x64


def compact_backbone(
    config: ActionConfig, stream: Stream, stills: Callable[[], ActionData], mesh: Mesh
) -> Backbone:
    """The compact CNN of a stream: read if its file is there, else trained and written.

    Args:
        config: Says how it is trained and where it is kept.
        stream: RGB frames, or stacks of flow: the network for flow starts from that for RGB by
            cross-modality initialisation.
        stills: Opens the data of single frames; called only where there is something to train.
        mesh: Devices to train on.
    """
    settings = asdict(config.pretraining) | {
        "data": config.embedded.key,
        "sizes": [STAGE_SIZES, WIDTH],
        "crop": config.crop,
        "stack": config.stack if stream == "temporal" else None,
    }

    def make() -> Backbone:
        if stream == "temporal":
            inputs = channels(stream, config.stack)
            start = with_channels(compact_backbone(config, "spatial", stills, mesh), inputs)
        else:
            start = _fresh(config.pretraining.seed)
        return _train(config, stream, start, stills(), mesh)

    return kept_backbone(config, stream, settings, make)


def _fresh(seed: int) -> Backbone:
    arguments: dict[str, Any] = {"stage_sizes": STAGE_SIZES, "width": WIDTH, "in_channels": 3}
    model = ResNet(**arguments, rngs=nnx.Rngs(seed))
    return expecting(Backbone(model, ""), RGB)


def _train(
    config: ActionConfig, stream: Stream, start: Backbone, data: ActionData, mesh: Mesh
) -> Backbone:
    settings = config.pretraining
    batch_size = settings.batch_size

    return train_backbone(
        config,
        start,
        classification_task(start.preprocess),
        len(data.names(stream)),
        train_batches(data, stream, config, steps=1, batch_size=batch_size, seed=settings.seed),
        test_batches(data.splits["validation"], stream, config, steps=1, batch_size=batch_size),
        measure_clips,
        settings,
        name=stream,
        epochs=settings.rgb_epochs if stream == "spatial" else settings.flow_epochs,
        mesh=mesh,
    )
