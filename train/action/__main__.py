"""Action recognition: `python -m train.action --stream=temporal`.

Stage one gives a CNN that knows single frames; surgery makes its last layer recurrent; stage two
trains everything together; then the test set.
"""

import time
from collections.abc import Sequence
from typing import Any

from jax.sharding import Mesh

from prernn_jax.command import parse, run_command
from prernn_jax.data.action.datasets import (
    ActionData,
    embedded_actions,
    embedded_stills,
    hmdb51,
    ucf101,
)
from prernn_jax.data.action.loader import channels
from prernn_jax.errors import InputError

from ..engine.devices import make_mesh
from ..engine.log import say
from ..run.backbone import Backbone, read_resnet
from ..run.classification import classification_task, measure, report_videos
from ..run.config import check_run, check_start, run_name
from ..run.folder import RunFolder
from ..run.stage_two import Application, settings_of, train_and_test
from .config import ActionConfig, action_preset
from .pretrain import compact_backbone
from .task import test_batches, train_batches


def open_data(config: ActionConfig) -> ActionData:
    """The data set of a run; generates the embedded one, prepares a real one."""
    if config.data == "embedded":
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


def open_backbone(config: ActionConfig, mesh: Mesh) -> Backbone:
    """The pre-trained network: that of --weights, or the compact one of stage one.

    Raises:
        InputError: The file is bad, or its network is another or takes other channels.
    """
    if config.weights is not None:
        return read_resnet(config.weights, channels(config.stream, config.stack))
    return compact_backbone(
        config, config.stream, lambda: embedded_stills(config.cache_dir, config.embedded), mesh
    )


def check(config: ActionConfig) -> None:
    """Raises an InputError for values that no run can have."""
    check_run(config, "steps", "stack", "crop", "windows")
    check_start(config, config.data, config.pretraining, "ResNet50", "resnet50.pth", "resnet50")
    if config.data != "embedded" and config.stream == "temporal" and config.flow == "none":
        raise InputError("--stream=temporal needs --flow=dis or --flow=tvl1")
    if config.weights is None and config.stack != config.embedded.stack:
        raise InputError(
            f"--stack={config.stack}: the embedded data are made for stacks of "
            f"{config.embedded.stack}; give --embedded.stack={config.stack} too"
        )


def run(config: ActionConfig) -> dict[str, Any]:
    """Trains and tests; returns the test metrics, which are also in `summary.json`."""
    began = time.perf_counter()
    mesh = make_mesh(config.devices, config.batch_size)
    check(config)
    name = run_name(config, config.data, config.stream)
    with RunFolder(config.workdir / name, settings_of(config), resume=config.resume) as folder:
        # ------------------------------------------------------------------------- data
        data = open_data(config)
        say(f"data: {config.data}, {len(data.classes)} classes, " + ", ".join(
            f"{len(source)} {name}" for name, source in data.splits.items()))  # fmt: skip

        # ------------------------------------------------------- the pre-trained network
        backbone = open_backbone(config, mesh)

        # ------------------------------------------------ made recurrent, trained, tested
        sizes = {"steps": config.steps, "batch_size": config.batch_size}
        outcome = train_and_test(
            config,
            folder,
            backbone,
            Application(
                task=classification_task(backbone.preprocess),
                outputs=len(data.classes),
                batches=train_batches(data, config.stream, config, seed=config.seed, **sizes),
                held_out={
                    name: test_batches(source, config.stream, config, **sizes)
                    for name, source in data.splits.items()
                    if name != "train"
                },
                measure=measure,
                curves=["loss", "clip_top1"],
            ),
            mesh,
        )
        split = "" if config.data == "embedded" else str(config.split)
        return report_videos(folder, name, config, data, split, outcome, began)


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    config = parse(
        ActionConfig, action_preset, ("preset", "data", "stream"), argv, str(__doc__).strip()
    )
    run(config)


if __name__ == "__main__":
    run_command(main)
