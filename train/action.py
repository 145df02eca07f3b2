"""Action recognition: `python -m train.action --stream=temporal`.

Stage one gives a CNN that knows single frames; surgery makes its last layer recurrent; stage two
trains everything together; then the test set.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import jax
from flax import nnx

from prernn_jax.budget import matched_hidden_for
from prernn_jax.data.action import (
    ActionData,
    embedded_actions,
    embedded_stills,
    hmdb51,
    ucf101,
)
from prernn_jax.data.sampling import channels
from prernn_jax.errors import InputError
from prernn_jax.pretrained import flat_parameters
from prernn_jax.saved_model import apply_surgery, save_model
from train.action_task import action_task, summarise, test_batches, train_batches
from train.backbone import Backbone, read_resnet
from train.checkpoint import Checkpoints
from train.command import parse, run_command
from train.figures import confusion_figure, learning_curves
from train.log import MetricsLog, console, say
from train.loop import Plan, evaluate, fit
from train.optim import sgd
from train.parallel import make_mesh
from train.parameter_table import parameter_table
from train.presets import ActionConfig, action_preset
from train.pretrain import compact_backbone
from train.run_folder import RunFolder, write_text
from train.setup import set_up
from train.state import TrainState


def open_data(config: ActionConfig) -> ActionData:
    """The data set of a run; generates the embedded one, prepares a real one."""
    if config.data == "embedded":
        if config.data_dir is not None:
            raise InputError(
                "--data_dir belongs to real data; with --data=embedded use --cache_dir"
            )
        return embedded_actions(config.cache_dir, config.embedded)
    read = {"ucf101": ucf101, "hmdb51": hmdb51}[config.data]
    assert config.data_dir is not None  # `check` has seen to it
    return read(
        config.data_dir,
        config.cache_dir,
        split=config.split,
        flow=config.flow,
        stack=config.stack,
        size=config.crop,
    )


def surgery_of(config: ActionConfig, backbone: Backbone, classes: int) -> dict[str, Any]:
    """The call of `prernn_jax.surgery` that makes the sequence model."""
    if config.model == "feedforward":
        return {"function": "per_frame", "outputs": classes}
    if config.model == "traditional":
        hidden = matched_hidden_for(backbone.model, cell=config.cell, outputs=classes)
        return {
            "function": "stack_recurrent",
            "cell": config.cell,
            "hidden": hidden,
            "outputs": classes,
        }
    return {
        "function": "make_recurrent",
        "cell": config.cell,
        "shared": config.model == "pre_sih",
        "init": config.init,
        "outputs": classes,
    }


def run_name(config: ActionConfig) -> str:
    """The name of a run's folder."""
    parts: list[str] = [config.data, config.stream, config.model]
    if config.model != "feedforward":
        parts.append(config.cell)
    if config.init == "random":
        parts.append("random")
    return config.name or "-".join([*parts, f"seed{config.seed}"])


def check(config: ActionConfig) -> None:
    """Raises an InputError for values that no run can have."""
    for name in ("steps", "stack", "crop", "windows", "epochs", "checkpoint_every"):
        if getattr(config, name) < 1:
            raise InputError(f"--{name}={getattr(config, name)}: expected 1 or more")
    for name, value in (("seed", config.seed), ("pretraining.seed", config.pretraining.seed)):
        if not 0 <= value < 2**32:
            raise InputError(f"--{name}={value}: expected 0 to {2**32 - 1}")
    if config.workers < 0:
        raise InputError(f"--workers={config.workers}: expected 0 or more")
    if config.init == "random" and config.model not in ("pre", "pre_sih"):
        raise InputError(
            f"--init=random: --model={config.model} has no pre-trained layer to redraw"
        )
    if config.data == "embedded" and config.data_dir is not None:
        raise InputError("--data_dir belongs to real data; embedded data lie in --cache_dir")
    if config.data != "embedded":
        if config.data_dir is None:
            raise InputError(f"--data={config.data} needs --data_dir, the official layout")
        if config.stream == "temporal" and config.flow == "none":
            raise InputError("--stream=temporal needs --flow=dis or --flow=tvl1")
    if config.preset == "paper" and config.weights is None:
        raise InputError(
            "--preset=paper starts from a pre-trained ResNet50: give --weights "
            "(prernn-port convert resnet50.pth --arch resnet50 --out resnet50.safetensors), or "
            "--preset=embedded for the compact network"
        )
    if config.weights is None:
        make_mesh(config.devices, config.pretraining.batch_size, "--pretraining.batch_size")
        if config.stack != config.embedded.stack:
            raise InputError(
                f"--stack={config.stack}: the embedded data are made for stacks of "
                f"{config.embedded.stack}; give --embedded.stack={config.stack} too"
            )
    if not 0 <= config.dropout < 1:
        raise InputError(f"--dropout={config.dropout}: expected 0 or more and less than 1")


def run(config: ActionConfig) -> dict[str, Any]:
    """Trains and tests; returns the test metrics, which are also in `summary.json`."""
    began = time.perf_counter()
    mesh = make_mesh(config.devices, config.batch_size)
    check(config)
    settings = json.loads(json.dumps(asdict(config), default=str))
    with RunFolder(config.workdir / run_name(config), settings, resume=config.resume) as folder:
        # ------------------------------------------------------------------------- data
        data = open_data(config)
        say(f"data: {config.data}, {len(data.classes)} classes, " + ", ".join(
            f"{len(source)} {name}" for name, source in data.splits.items()))  # fmt: skip

        # ------------------------------------------------------- the pre-trained network
        if config.weights is not None:
            backbone = read_resnet(config.weights, channels(config.stream, config.stack))
        else:
            backbone = compact_backbone(
                config,
                config.stream,
                lambda: embedded_stills(config.cache_dir, config.embedded),
                mesh,
            )

        # ------------------------------------------------------------- made recurrent
        surgery = surgery_of(config, backbone, len(data.classes))
        model = apply_surgery(backbone.model, surgery, rngs=nnx.Rngs(config.seed))
        model.dropout = config.dropout

        # ----------------------------------------------------------- steps and their state
        batches = train_batches(
            data,
            config.stream,
            config,
            steps=config.steps,
            batch_size=config.batch_size,
            seed=config.seed,
        )
        optimizer = sgd(
            config.schedule,
            epochs=config.epochs,
            steps_per_epoch=batches.batches_per_epoch,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            clip_norm=config.clip_norm,
        )
        training = set_up(
            model,
            action_task(backbone.preprocess),
            optimizer,
            mesh,
            batch_norm=config.batch_norm,
            precision=config.precision,
            freeze=config.freeze,
            seed=config.seed,
        )
        folder.begin()
        state = training.state
        before = flat_parameters(backbone.model)
        console.print(parameter_table(state.params, state.frozen, before, backbone.source))
        parameters = sum(value.size for value in {**state.params, **state.frozen}.values())

        # --------------------------------------------------------------------- training
        checkpoints = Checkpoints(folder.path / "checkpoints")
        if config.resume and checkpoints.latest is not None:
            state, position = checkpoints.restore(state)
            batches.set_state(position)
            say(f"resumed at step {int(state.step)}")
        log = MetricsLog(folder.path, int(state.step))

        def test(state: TrainState, split: str) -> tuple[dict[str, float], Any]:
            source = test_batches(
                data.splits[split],
                config.stream,
                config,
                steps=config.steps,
                batch_size=config.batch_size,
            )
            return summarise(evaluate(training.eval_step, state, source, mesh))

        def validate(state: TrainState) -> Mapping[str, float]:
            return test(state, "validation")[0]

        plan = Plan(
            name=f"{config.model}, {config.stream}",
            epochs=config.epochs,
            batch_size=config.batch_size,
            rate=lambda epoch: config.schedule.rate(epoch, config.epochs),
            checkpoint_every=config.checkpoint_every,
            validate=validate if "validation" in data.splits else None,
        )
        try:
            state = fit(state, training.train_step, batches, mesh, plan, log, checkpoints)

            # -------------------------------------------------------------------- test
            metrics, confusion = test(state, "test")
            log.write(int(state.step), "test", {**metrics, "confusion": confusion.tolist()})
            save_model(
                folder.path / "model.safetensors",
                training.model(state),
                backbone.metadata,
                surgery,
                overwrite=True,
            )
            curves = log.read("train"), log.read("validation")
            learning_curves(folder.path / "curves.png", *curves, ["loss", "clip_top1"])
            title = f"{run_name(config)}: video top-1 {100 * metrics['video_top1']:.1f}%"
            confusion_figure(folder.path / "confusion.png", confusion, data.classes, title)
        finally:
            batches.close()
            log.close()
            checkpoints.close()
        summary = {
            **metrics,
            "chance": 1 / len(data.classes),
            "parameters": parameters,
            "seconds": round(time.perf_counter() - began, 1),
            "device": jax.devices()[0].device_kind,
            "folder": str(folder.path),
        }
        write_text(folder.path / "summary.json", json.dumps(summary, indent=2) + "\n")
        say(
            f"test: video_top1 {metrics['video_top1']:.4f}  clip_top1 {metrics['clip_top1']:.4f}  "
            f"loss {metrics['loss']:.4f}  (chance {summary['chance']:.4f}; "
            f"{summary['seconds']:.0f} s; {folder.path})"
        )
        return summary


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    config = parse(
        ActionConfig, action_preset, ("preset", "data", "stream"), argv, str(__doc__).strip()
    )
    run(config)


if __name__ == "__main__":
    run_command(main)
