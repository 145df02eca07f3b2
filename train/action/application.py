"""Action recognition as an application: checks, data, network, stage two, report."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from prernn_jax.backbones.resnet import ResNet
from prernn_jax.data.action.datasets import (
    SHORT_SIDE,
    ActionData,
    embedded_actions,
    hmdb51,
    own_actions,
    ucf101,
)
from prernn_jax.data.action.loader import channels
from prernn_jax.data.drawn.actions import ACTION_CLASSES
from prernn_jax.data.media.flow import dequantise, flow_to_color
from prernn_jax.data.prepared.clip_files import Flow
from prernn_jax.errors import InputError
from prernn_jax.files.atomic import write_text
from prernn_jax.inference import Inference

from ..engine.step import Batch
from ..run.application import Application
from ..run.backbone import Backbone, read_resnet
from ..run.classification import classification_task, measure, report_videos
from ..run.config import check_start
from ..run.folder import RunFolder
from ..run.memory import Sizes
from ..run.stage_two import Outcome, Work
from .config import ActionConfig, action_preset
from .pretrain import STAGE_SIZES, WIDTH, compact_backbone
from .task import features_cache, fixed_samples, test_batches, train_batches


def open_data(config: ActionConfig) -> ActionData:
    """The data set of a run; draws the embedded one, prepares a real one."""
    if config.data == "embedded":
        return embedded_actions(config.cache_dir, config.embedded)
    assert config.source is not None  # `check` has seen to it
    if config.data == "folder":
        return own_actions(
            config.source,
            config.cache_dir,
            root=config.root,
            seed=config.split,
            flow=config.flow if config.stream == "temporal" else "none",
            stack=config.stack,
            size=config.crop,
            short_side=short_side(config),
        )
    read = {"ucf101": ucf101, "hmdb51": hmdb51}[config.data]
    return read(
        config.source,
        config.cache_dir,
        split=config.split,
        flow=config.flow,
        stack=config.stack,
        size=config.crop,
    )


def short_side(config: ActionConfig) -> int:
    """The shorter side of a run's pictures before they are cut, in pixels."""
    if config.data == "embedded":
        return config.embedded.size
    # Small crops of own videos are not cut out of large pictures: that would cost flow and disk.
    small = config.data == "folder" and config.crop <= SHORT_SIDE // 2
    return SHORT_SIDE // 2 if small else SHORT_SIDE


def open_backbone(config: ActionConfig, mesh: Mesh) -> Backbone:
    """The pre-trained network: that of --weights, or the compact one of stage one.

    Raises:
        InputError: The file is bad, or its network is another or takes other channels.
    """
    if config.weights is not None:
        wanted = channels(config.stream, config.stack)
        return read_resnet(config.weights, wanted, config.weights_input)
    return compact_backbone(
        config,
        config.stream,
        lambda: embedded_actions(config.cache_dir, config.embedded, pretraining=True),
        mesh,
    )


def check(config: ActionConfig) -> None:
    """Raises an InputError for values that no run can have."""
    check_start(config, config.data, config.pretraining, "ResNet50", "resnet50.pth", "resnet50")
    if config.data != "embedded" and config.stream == "temporal" and config.flow == "none":
        raise InputError("--stream=temporal needs --flow=dis or --flow=tvl1")
    if config.root is not None and config.data != "folder":
        raise InputError("--root belongs to --data=folder; leave it out")
    if config.data == "embedded" and config.crops > 1:
        raise InputError("--crops=10: the mirror image of a drawn action has another class")
    if config.weights is None and config.stack != config.embedded.stack:
        raise InputError(
            f"--stack={config.stack}: the embedded data are made for stacks of "
            f"{config.embedded.stack}; give --embedded.stack={config.stack} too"
        )


def held_out(config: ActionConfig, data: ActionData, split: str, channels: int) -> Iterable[Batch]:
    """The batches of a set, see `test_batches`."""
    return test_batches(
        data.splits[split],
        config.stream,
        config,
        steps=config.steps,
        batch_size=config.batch_size,
    )


def inference(config: ActionConfig, data: ActionData) -> Inference:
    """What a trained model's file says of its input and its outputs."""
    temporal = config.stream == "temporal"
    return Inference(
        application="action",
        steps=config.steps,
        size=config.crop,
        channels=channels(config.stream, config.stack),
        classes=data.classes,
        pictures="flow" if temporal else "frames",
        stack=config.stack if temporal else 1,
        windows=config.windows,
        flow=_flow(config) if temporal else "none",
        short_side=short_side(config),
        batch_size=config.batch_size,
        precision=config.precision,
    )


def _flow(config: ActionConfig) -> Flow:
    return "dis" if config.data == "embedded" else config.flow


def work(config: ActionConfig, data: ActionData, backbone: Backbone) -> Work:
    """What stage two trains and tests."""
    return Work(
        task=classification_task(backbone.preprocess),
        outputs=len(data.classes),
        batches=train_batches(
            data,
            config.stream,
            config,
            steps=config.steps,
            batch_size=config.batch_size,
            seed=config.seed,
        ),
        held_out={
            name: held_out(config, data, name, channels(config.stream, config.stack))
            for name in data.splits
            if name != "train"
        },
        measure=measure,
        curves=["loss", "clip_top1"],
        inference=inference(config, data),
        fixed=fixed_samples(data, config),
        cache=features_cache(data, config),
    )


def sizes(config: ActionConfig) -> Sizes:
    """What decides the memory of a training step; own videos count as 101 classes."""
    inputs = channels(config.stream, config.stack)
    compact = {"stage_sizes": STAGE_SIZES, "width": WIDTH} if config.preset == "embedded" else {}
    classes = {"embedded": len(ACTION_CLASSES), "hmdb51": 51}.get(config.data, 101)
    sample = {
        "clips": jax.ShapeDtypeStruct((config.steps, config.crop, config.crop, inputs), jnp.uint8),
        "lengths": jax.ShapeDtypeStruct((), jnp.int32),
        "labels": jax.ShapeDtypeStruct((), jnp.int32),
    }
    make = partial(ResNet, **compact, in_channels=inputs)  # type: ignore[arg-type]
    return Sizes(make, classes, classification_task, sample)


def report(
    folder: RunFolder,
    name: str,
    config: ActionConfig,
    data: ActionData,
    outcome: Outcome,
    began: float,
) -> dict[str, Any]:
    """See `report_videos`."""
    split = "" if config.data == "embedded" else str(config.split)
    if data.split_table:
        split = f"{split} of {config.source}"
        write_text(folder.path / "split.csv", data.split_table)
    return report_videos(folder, name, config, data, split, outcome, began, pictures)


def pictures(clips: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB frames as they are, or a stack of flow (x1, y1, x2, ...) as its mean in colour."""
    if clips.shape[-1] == 3:
        return clips
    fields = dequantise(clips).reshape(*clips.shape[:-1], -1, 2)  # (N, T, H, W, L, 2)
    return flow_to_color(fields.mean(axis=-2), full=4.0)


ACTION = Application(
    name="action",
    description=(
        "Action recognition with one stream of a two-stream network. Stage one gives a CNN that "
        "knows single frames; its last layers become recurrent; stage two trains everything "
        "together; then the test set."
    ),
    examples=(
        "prernn train action --stream=temporal",
        "prernn train action --stream=temporal --model=feedforward",
        "prernn train action --data=folder --source=DIR --stream=spatial",
        "prernn train action --data=ucf101 --source=DIR --weights=resnet50.safetensors",
    ),
    config=ActionConfig,
    preset=action_preset,
    deciding=("preset", "data", "stream"),
    common=("stream", "data", "split", "flow"),
    kind=lambda config: (config.data, config.stream),
    check=check,
    open_data=open_data,
    open_backbone=open_backbone,
    work=work,
    held_out=held_out,
    report=report,
    sizes=sizes,
)
