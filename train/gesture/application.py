"""Dynamic hand gestures as an application: checks, data, network, stage two, report."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from prernn_jax.backbones.c3d import C3D
from prernn_jax.data.drawn.gesture_builder import embedded_gestures
from prernn_jax.data.drawn.gestures import GESTURE_CLASSES
from prernn_jax.data.gesture.datasets import GestureData, gesture_recipe, nvgesture, own_gestures
from prernn_jax.data.media.flow import dequantise, flow_to_color
from prernn_jax.data.prepared.clip_files import Flow
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_text
from prernn_jax.inference import Inference
from prernn_jax.preprocess import Preprocessing

from ..engine.step import Batch
from ..run.application import Application
from ..run.backbone import Backbone, read_weights, with_channels
from ..run.classification import classification_task, measure, report_videos
from ..run.config import check_start
from ..run.folder import RunFolder
from ..run.memory import Sizes
from ..run.stage_two import Outcome, Work
from .config import GestureConfig, gesture_preset
from .pretrain import COMPACT, compact_backbone
from .task import (
    features_cache,
    fixed_gestures,
    gesture_test_batches,
    gesture_train_batches,
)

SPORTS1M = Preprocessing(channels="bgr", mean=(90.25, 97.66, 101.41))
"""Means of Sports-1M's mean volume, where a file of weights does not bring it."""


def open_data(config: GestureConfig) -> GestureData:
    """The data set of a run; draws the embedded one, prepares the real one."""
    if config.data == "embedded":
        return embedded_gestures(config.cache_dir, config.embedded)
    assert config.source is not None  # `check` has seen to it
    flow: Flow = config.flow if config.modality == "flow" else "none"
    where, modality = (config.source, config.cache_dir), config.modality
    if config.data == "folder":
        return own_gestures(*where, modality=modality, flow=flow, root=config.root)
    return nvgesture(*where, modality=modality, flow=flow, lists=config.lists)


def read_c3d(config: GestureConfig) -> Backbone:
    """The C3D that --weights names.

    Raises:
        InputError: The file is bad or holds another architecture, or its network does not take
            clips of --clip_length and --crop.
    """
    assert config.weights is not None
    backbone = read_weights(config.weights, C3D, "c3d", config.weights_input, SPORTS1M)
    model, side = backbone.model, config.crop
    clips = jnp.zeros((1, config.clip_length, side, side, model.conv1a.in_features))
    try:
        jax.eval_shape(model.trunk, clips)
    except InputError:
        raise InputError(
            f"--weights {config.weights}: fc6 takes {model.flat_features} features, and clips of "
            f"{config.clip_length} frames of {side}x{side} give another number; give the --crop "
            "and --clip_length that the network was made for"
        ) from None
    return backbone


def open_backbone(config: GestureConfig, mesh: Mesh) -> Backbone:
    """The pre-trained network: that of --weights, or the compact one of stage one.

    For flow it has two channels, made from its own where they are others.

    Raises:
        InputError: The file is bad, or its network is another or takes other clips.
    """
    if config.weights is not None:
        backbone = read_c3d(config)
    else:
        backbone = compact_backbone(
            config,
            lambda: embedded_gestures(config.cache_dir, config.embedded, pretraining=True),
            mesh,
        )
    channels = backbone.model.conv1a.in_features
    if config.modality == "flow":
        return backbone if channels == 2 else with_channels(backbone, 2)
    if channels not in (1, 3):
        raise InputError(
            f"--weights {config.weights} takes {channels} channels; --modality={config.modality} "
            "needs a network for 1 or 3"
        )
    return backbone


def check(config: GestureConfig) -> None:
    """Raises an InputError for values that no run can have."""
    check_start(config, config.data, config.pretraining, "C3D", "c3d.caffemodel", "c3d")
    if config.data == "embedded" and config.modality != "depth":
        raise InputError(f"--modality={config.modality}: the embedded gestures are depth")
    if config.root is not None and config.data != "folder":
        raise InputError("--root belongs to --data=folder; leave it out")
    if config.weights is None and config.clip_length != config.embedded.clip:
        raise InputError(
            f"--clip_length={config.clip_length}: the compact network is pre-trained on clips "
            f"of {config.embedded.clip}; give --embedded.clip={config.clip_length} too"
        )


def _sizes(config: GestureConfig) -> dict[str, int]:
    return {"steps": config.steps, "stride": config.stride, "batch_size": config.batch_size}


def held_out(
    config: GestureConfig, data: GestureData, split: str, channels: int
) -> Iterable[Batch]:
    """The batches of a set, see `gesture_test_batches`."""
    return gesture_test_batches(data, split, config, channels, **_sizes(config))


def inference(config: GestureConfig, data: GestureData, channels: int) -> Inference:
    """What a trained model's file says of its input and its outputs."""
    recipe = gesture_recipe(config.modality, config.flow if config.modality == "flow" else "none")
    return Inference(
        application="gesture",
        steps=config.steps,
        size=config.crop,
        channels=channels,
        classes=data.classes,
        pictures="flow" if config.modality == "flow" else "frames",
        clip_length=config.clip_length,
        stride=config.stride,
        flow=recipe.flow,
        short_side=config.embedded.size if config.data == "embedded" else recipe.short_side,
        quality=recipe.quality,
        gray=recipe.gray,
        batch_size=config.batch_size,
        precision=config.precision,
    )


def work(config: GestureConfig, data: GestureData, backbone: Backbone) -> Work:
    """What stage two trains and tests."""
    channels = backbone.model.conv1a.in_features
    return Work(
        task=classification_task(backbone.preprocess),
        outputs=len(data.classes),
        batches=gesture_train_batches(data, config, channels, seed=config.seed, **_sizes(config)),
        held_out={
            name: held_out(config, data, name, channels) for name in data.splits if name != "train"
        },
        measure=measure,
        curves=["loss", "clip_top1"],
        inference=inference(config, data, channels),
        fixed=fixed_gestures(data, config, channels),
        cache=features_cache(data, config),
    )


def sizes(config: GestureConfig) -> Sizes:
    """What decides the memory of a training step; own videos count as 25 classes."""
    embedded = config.preset == "embedded"
    channels = 2 if config.modality == "flow" else 1 if embedded else 3
    compact = COMPACT if embedded else {}
    arguments = {"clip_length": config.clip_length, "image_size": config.crop}
    clips = (config.steps, config.clip_length, config.crop, config.crop, channels)
    sample = {
        "clips": jax.ShapeDtypeStruct(clips, jnp.uint8),
        "lengths": jax.ShapeDtypeStruct((), jnp.int32),
        "labels": jax.ShapeDtypeStruct((), jnp.int32),
    }
    make = partial(C3D, **{**compact, **arguments, "in_channels": channels})
    outputs = len(GESTURE_CLASSES) if config.data == "embedded" else 25
    return Sizes(make, outputs, classification_task, sample)


def report(
    folder: RunFolder,
    name: str,
    config: GestureConfig,
    data: GestureData,
    outcome: Outcome,
    began: float,
) -> dict[str, Any]:
    """See `report_videos`."""
    split = " ".join(Path(file).name for file in config.lists or ())  # of the user's lists
    if data.split_table:
        split = str(config.source)
        write_text(folder.path / "split.csv", data.split_table)
    return report_videos(folder, name, config, data, split, outcome, began, pictures)


def pictures(clips: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle frame of each clip (N, T, L, H, W, C) in RGB; flow in colour."""
    middle = clips[:, :, clips.shape[2] // 2]
    if middle.shape[-1] == 2:
        return flow_to_color(dequantise(middle), full=4.0)
    return np.broadcast_to(middle, (*middle.shape[:-1], 3))


GESTURE = Application(
    name="gesture",
    description=(
        "Dynamic hand gestures. Stage one gives a C3D that knows single clips; its fully connected "
        "layers become recurrent over the clips of a video; stage two trains everything together; "
        "then the test set."
    ),
    examples=(
        "prernn train gesture",
        "prernn train gesture --model=feedforward",
        "prernn train gesture --data=nvgesture --source=DIR --weights=c3d.safetensors",
    ),
    config=GestureConfig,
    preset=gesture_preset,
    deciding=("preset", "data", "trunk"),
    common=("data", "modality", "lists"),
    kind=lambda config: (config.data, config.modality),
    check=check,
    open_data=open_data,
    open_backbone=open_backbone,
    work=work,
    held_out=held_out,
    report=report,
    sizes=sizes,
)
