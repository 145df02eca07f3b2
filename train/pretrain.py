"""Stage one: a compact CNN trained on single frames of the embedded data, kept on disk."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flax import nnx
from jax.sharding import Mesh

from prernn_jax.backbones.resnet import ResNet
from prernn_jax.data.action import ActionData
from prernn_jax.data.sampling import Stream, channels
from prernn_jax.metrics import top1
from prernn_jax.pretrained import flat_parameters, save_parameters
from prernn_jax.saved_model import apply_surgery
from train.action_task import action_task, test_batches, train_batches
from train.backbone import RGB, Backbone, expecting, read_resnet, with_channels
from train.log import say
from train.loop import Plan, evaluate, fit
from train.optim import Schedule, sgd
from train.presets import ActionConfig
from train.run_folder import make_folder
from train.setup import set_up
from train.state import TrainState

STAGE_SIZES, WIDTH = (1, 1, 1), 16  # the compact ResNet for images of 64x64


def compact_backbone(
    config: ActionConfig, stream: Stream, stills: Callable[[], ActionData], mesh: Mesh
) -> Backbone:
    """The compact CNN of a stream: read when it is there, else trained and written.

    Args:
      config: Says how it is trained and where it is kept.
      stream: RGB frames, or stacks of flow: the network for flow starts from that for RGB by
        cross-modality initialisation.
      stills: Opens the data of single frames; called only where there is something to train.
      mesh: Devices to train on.
    """
    inputs = channels(stream, config.stack)
    path = _path(config, stream)
    if path.is_file():
        say(f"stage one: {path} is there and used")
        return read_resnet(path, inputs)._replace(source="stage one")
    if stream == "temporal":
        start = with_channels(compact_backbone(config, "spatial", stills, mesh), inputs)
    else:
        start = _fresh(config.pretraining.seed)
    data = stills()
    arguments = json.loads(start.metadata["arguments"])
    arguments["num_outputs"] = len(data.names(stream))
    backbone = Backbone(
        _train(config, stream, start, data, mesh),
        {**start.metadata, "arguments": json.dumps(arguments)},
        "stage one",
    )
    make_folder(path.parent)
    save_parameters(path, flat_parameters(backbone.model), backbone.metadata, overwrite=True)
    say(f"stage one: written to {path}")
    return backbone


def _fresh(seed: int) -> Backbone:
    arguments: dict[str, Any] = {"stage_sizes": STAGE_SIZES, "width": WIDTH, "in_channels": 3}
    model = ResNet(**arguments, rngs=nnx.Rngs(seed))
    metadata = {"architecture": "resnet", "arguments": json.dumps(arguments)}
    return expecting(Backbone(model, metadata, ""), RGB)


def _path(config: ActionConfig, stream: Stream) -> Path:
    """Named after all that decides the result, so that a change trains anew."""
    settings = asdict(config.pretraining) | {
        "data": config.embedded.key,
        "sizes": [STAGE_SIZES, WIDTH],
        "crop": config.crop,
        "stack": config.stack if stream == "temporal" else None,
        "momentum": config.momentum,
        "weight_decay": config.weight_decay,
        "clip_norm": config.clip_norm,
        "precision": config.precision,
    }
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    return config.workdir / "pretrained" / f"{stream}-{key}.safetensors"


def _train(
    config: ActionConfig, stream: Stream, start: Backbone, data: ActionData, mesh: Mesh
) -> ResNet:
    settings = config.pretraining
    epochs = settings.rgb_epochs if stream == "spatial" else settings.flow_epochs
    batches = train_batches(
        data, stream, config, steps=1, batch_size=settings.batch_size, seed=settings.seed
    )
    schedule = Schedule(settings.learning_rate, "cosine", warmup=0.5)
    optimizer = sgd(
        schedule,
        epochs=epochs,
        steps_per_epoch=batches.batches_per_epoch,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
    )
    surgery = {"function": "per_frame", "outputs": len(data.names(stream))}
    training = set_up(
        apply_surgery(start.model, surgery, rngs=nnx.Rngs(settings.seed)),
        action_task(start.preprocess),
        optimizer,
        mesh,
        precision=config.precision,
        seed=settings.seed,
    )
    test = test_batches(
        data.splits["validation"], stream, config, steps=1, batch_size=settings.batch_size
    )

    def validate(state: TrainState) -> Mapping[str, float]:
        found = evaluate(training.eval_step, state, test, mesh)
        return {"top1": top1(found["scores"], found["labels"])}

    plan = Plan(
        name=f"stage one, {stream}",
        epochs=epochs,
        batch_size=settings.batch_size,
        rate=lambda epoch: schedule.rate(epoch, epochs),
        validate=validate,
    )
    try:
        state = fit(training.state, training.train_step, batches, mesh, plan)
    finally:
        batches.close()  # its threads or processes are not left to run beside stage two
    backbone: ResNet = training.model(state).backbone
    return backbone
