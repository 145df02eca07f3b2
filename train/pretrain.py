"""Stage one: a compact CNN trained on single frames of the embedded data, kept on disk."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from flax import nnx
from jax import Array
from jax.sharding import Mesh

from prernn_jax.backbones.resnet import ResNet
from prernn_jax.data.action import ActionData
from prernn_jax.metrics import top1
from prernn_jax.pretrained import flat_parameters, save_parameters
from prernn_jax.surgery import per_frame
from train.action_task import action_task, test_batches, train_batches
from train.backbone import Backbone, read_resnet, with_channels
from train.log import say
from train.loop import Plan, evaluate, fit
from train.optim import Schedule, sgd
from train.parallel import parallel_eval_step, parallel_train_step, replicate
from train.presets import ActionConfig, Stream
from train.run_folder import make_folder
from train.state import TrainState, create_state, take_apart
from train.step import make_eval_step, make_train_step

STAGE_SIZES, WIDTH = (1, 1, 1), 16  # the compact ResNet for images of 64x64


def compact_backbone(
    config: ActionConfig, stream: Stream, stills: Callable[[], ActionData], mesh: Mesh
) -> Backbone:
    """The compact CNN of a stream: read when it is there, else trained and written.

    Args:
      config: Says how it is trained and where it is kept.
      stream: RGB frames, or stacks of flow (first trained on RGB frames, see SPEC).
      stills: Opens the data of single frames; called only where there is something to train.
      mesh: Devices to train on.
    """
    channels = 3 if stream == "spatial" else 2 * config.stack
    path = config.workdir / "pretrained" / f"{stream}-{_key(config, stream)}.safetensors"
    if path.is_file():
        say(f"stage one: {path} is there and used")
        return read_resnet(path, channels)._replace(source="stage one")
    data = stills()
    if stream == "temporal":
        start = with_channels(compact_backbone(config, "spatial", stills, mesh), channels)
    else:
        arguments = {"stage_sizes": STAGE_SIZES, "width": WIDTH, "in_channels": channels}
        arguments["num_outputs"] = len(data.names(stream))
        model = ResNet(**arguments, rngs=nnx.Rngs(config.pretraining.seed))
        metadata = {"architecture": "resnet", "arguments": json.dumps(arguments)}
        start = Backbone(model, metadata, "")
    arguments = json.loads(start.metadata["arguments"]) | {"num_outputs": len(data.names(stream))}
    backbone = Backbone(
        _train(config, stream, start.model, data, mesh),
        {**start.metadata, "arguments": json.dumps(arguments)},
        "stage one",
    )
    make_folder(path.parent)
    save_parameters(path, flat_parameters(backbone.model), backbone.metadata, overwrite=True)
    say(f"stage one: written to {path}")
    return backbone


def _key(config: ActionConfig, stream: Stream) -> str:
    settings = asdict(config.pretraining) | {
        "sizes": [STAGE_SIZES, WIDTH],
        "crop": config.crop,
        "stack": config.stack if stream == "temporal" else None,
        "momentum": config.momentum,
        "weight_decay": config.weight_decay,
        "precision": config.precision,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def _train(
    config: ActionConfig, stream: Stream, start: ResNet, data: ActionData, mesh: Mesh
) -> ResNet:
    settings = config.pretraining
    epochs = settings.rgb_epochs if stream == "spatial" else settings.flow_epochs
    model = per_frame(start, len(data.names(stream)), rngs=nnx.Rngs(settings.seed))
    network, params, stats = take_apart(model)
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
    task = action_task(stream)
    step = parallel_train_step(make_train_step(network, task, optimizer, config.precision), mesh)
    eval_step = parallel_eval_step(make_eval_step(network, task, config.precision), mesh)
    test = test_batches(
        data.splits["validation"], stream, config, steps=1, batch_size=settings.batch_size
    )

    def validate(state: TrainState) -> Mapping[str, float]:
        found = evaluate(eval_step, state, test, mesh)
        return {"top1": top1(found["scores"], found["labels"])}

    plan = Plan(
        name=f"stage one, {stream}",
        epochs=epochs,
        batch_size=settings.batch_size,
        rate=lambda epoch: schedule.rate(epoch, epochs),
        validate=validate,
    )
    state = replicate(create_state(params, {}, stats, optimizer, settings.seed), mesh)
    state = fit(state, step, batches, mesh, plan)
    return _backbone_of(network.model(state.params, state.batch_stats, train=False))


def _backbone_of(model: nnx.Module) -> ResNet:
    backbone: ResNet = model.backbone  # type: ignore[attr-defined]
    return nnx.clone(backbone)


