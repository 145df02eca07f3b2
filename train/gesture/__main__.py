"""Dynamic hand gestures: `python -m train.gesture`.

Stage one gives a C3D that knows single clips; surgery makes its fully connected layers recurrent
over the clips of a video; stage two trains everything together; then the test set.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from prernn_jax.backbones.c3d import C3D
from prernn_jax.command import parse, run_command
from prernn_jax.data.drawn.gesture_builder import embedded_gestures, embedded_poses
from prernn_jax.data.gesture.datasets import GestureData, nvgesture
from prernn_jax.errors import InputError
from prernn_jax.preprocess import Preprocessing

from ..engine.devices import make_mesh
from ..engine.log import say
from ..run.backbone import Backbone, read_weights, with_channels
from ..run.classification import classification_task, measure, report_videos
from ..run.config import check_run, check_start, run_name
from ..run.folder import RunFolder
from ..run.stage_two import Application, settings_of, train_and_test
from .config import GestureConfig, gesture_preset
from .pretrain import compact_backbone
from .task import gesture_test_batches, gesture_train_batches

SPORTS1M = Preprocessing(channels="bgr", mean=(90.25, 97.66, 101.41))
"""Means of Sports-1M's mean volume, where a file of weights does not bring it."""


def open_data(config: GestureConfig) -> GestureData:
    """The data set of a run; generates the embedded one, prepares the real one."""
    if config.data == "embedded":
        return embedded_gestures(config.cache_dir, config.embedded)
    assert config.data_dir is not None  # `check` has seen to it
    return nvgesture(
        config.data_dir,
        config.cache_dir,
        modality=config.modality,
        flow=config.flow if config.modality == "flow" else "none",
        lists=config.lists,
    )


def read_c3d(config: GestureConfig) -> Backbone:
    """The C3D that --weights names.

    Raises:
        InputError: The file is bad or holds another architecture, or its network does not take
            clips of --clip_length and --crop.
    """
    assert config.weights is not None
    backbone = read_weights(config.weights, C3D, "c3d", SPORTS1M)
    model, side = backbone.model, config.crop
    clips = jnp.zeros((1, config.clip_length, side, side, model.conv1a.in_features))
    given = jax.eval_shape(model.trunk, clips).shape[1]
    if given != model.fc6.in_features:
        raise InputError(
            f"--weights {config.weights}: fc6 takes {model.fc6.in_features} features, and clips of "
            f"{config.clip_length} frames of {side}x{side} give {given}; give the --crop and "
            "--clip_length that the network was made for"
        )
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
            config, lambda: embedded_poses(config.cache_dir, config.embedded), mesh
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
    check_run(config, "steps", "clip_length", "stride", "crop")
    check_start(config, config.data, config.pretraining, "C3D", "c3d.caffemodel", "c3d")
    if config.data == "embedded" and config.modality != "depth":
        raise InputError(f"--modality={config.modality}: the embedded gestures are depth")
    if config.weights is None and config.clip_length != config.embedded.clip:
        raise InputError(
            f"--clip_length={config.clip_length}: the compact network is pre-trained on clips "
            f"of {config.embedded.clip}; give --embedded.clip={config.clip_length} too"
        )


def run(config: GestureConfig) -> dict[str, Any]:
    """Trains and tests; returns the test metrics, which are also in `summary.json`."""
    began = time.perf_counter()
    mesh = make_mesh(config.devices, config.batch_size)
    check(config)
    name = run_name(config, config.data, config.modality)
    with RunFolder(config.workdir / name, settings_of(config), resume=config.resume) as folder:
        # ------------------------------------------------------------------------- data
        data = open_data(config)
        say(f"data: {config.data}, {len(data.classes)} classes, " + ", ".join(
            f"{len(source)} {name}" for name, source in data.splits.items()))  # fmt: skip

        # ------------------------------------------------------- the pre-trained network
        backbone = open_backbone(config, mesh)
        channels = backbone.model.conv1a.in_features

        # ------------------------------------------------ made recurrent, trained, tested
        sizes = {
            "steps": config.steps,
            "stride": config.stride,
            "batch_size": config.batch_size,
        }
        outcome = train_and_test(
            config,
            folder,
            backbone,
            Application(
                task=classification_task(backbone.preprocess),
                outputs=len(data.classes),
                batches=gesture_train_batches(data, config, channels, seed=config.seed, **sizes),
                held_out={
                    name: gesture_test_batches(data, name, config, channels, **sizes)
                    for name in data.splits
                    if name != "train"
                },
                measure=measure,
                curves=["loss", "clip_top1"],
            ),
            mesh,
        )
        split = " ".join(Path(file).name for file in config.lists or ())  # of the user's lists
        return report_videos(folder, name, config, data, split, outcome, began)


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    config = parse(GestureConfig, gesture_preset, ("preset", "data"), argv, str(__doc__).strip())
    run(config)


if __name__ == "__main__":
    run_command(main)
