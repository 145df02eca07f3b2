"""The configuration of action recognition, and its presets."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from prernn_jax.data.action.loader import Stream
from prernn_jax.data.drawn.actions import EmbeddedConfig
from prernn_jax.data.prepared.clip_files import Flow

from ..engine.optim import SPATIAL, TEMPORAL, Optimizer, Schedule
from ..run.config import Pretraining, RunConfig, Trunk


@dataclass(frozen=True)
class ActionPretraining(Pretraining):
    """Stage one of an action stream: see `train.action.pretrain`.

    Attributes:
        rgb_epochs: Epochs on RGB frames.
        flow_epochs: Epochs on single stacks of flow, after cross-modality initialisation.
    """

    rgb_epochs: int = 1
    flow_epochs: int = 2


_CLIPS = EmbeddedConfig()
_EMBEDDED = Schedule(3e-3, "cosine", warmup=0.5)


@dataclass(frozen=True)
class ActionConfig(RunConfig):
    """Action recognition with one stream of a two-stream network.

    Attributes:
        stream: RGB frames, or stacks of optical flow.
        data: `embedded` is generated here; the others are read from --source. `folder` are videos
            of your own: sub-folders are classes, or a list.
        root: `folder`: the folder of the videos, where --source is a list.
        embedded: Size and difficulty of the embedded data.
        split: Number of the official split, 1, 2 or 3; `folder`: of the drawn split, where nothing
            says what is tested on.
        flow: Algorithm of the optical flow; `none` spares it where only --stream=spatial is
            trained.
        steps: Time steps T of a sequence.
        stack: Flow fields L in the input of a step.
        crop: Side of the network's input in pixels.
        windows: Sequences into which a test video is divided.
        crops: Of a test video: the middle square, or the ten of two-stream networks (four corners,
            centre, and all five mirrored). Scores are averaged over windows and crops.
        pretraining: Stage one.
    """

    application: ClassVar[str] = "action"
    positive: ClassVar[tuple[str, ...]] = ("steps", "stack", "crop", "windows")

    stream: Stream = "temporal"
    data: Literal["embedded", "ucf101", "hmdb51", "folder"] = "embedded"
    root: Path | None = None
    embedded: EmbeddedConfig = _CLIPS
    split: Literal[1, 2, 3] = 1
    flow: Flow = "dis"
    steps: int = 16
    stack: int = 2
    crop: int = 64
    windows: int = 1
    crops: Literal[1, 10] = 1
    epochs: int = 5
    schedule: Schedule = _EMBEDDED
    optimizer: Optimizer = "adam"
    trunk: Trunk = "cached"
    pretraining: ActionPretraining = ActionPretraining()
    workdir: Path = Path("runs/action")


def paper(stream: Stream) -> ActionConfig:
    """The paper's settings (docs/paper.md); docs/decisions.md lists what the paper leaves open."""
    return ActionConfig(
        stream=stream,
        preset="paper",
        data="ucf101",
        flow="tvl1",
        steps=16,
        stack=10,
        crop=224,
        windows=5,
        epochs=90 if stream == "spatial" else 100,
        batch_size=32,
        schedule=SPATIAL if stream == "spatial" else TEMPORAL,
        optimizer="sgd",
        trunk="trained",
        momentum=0.9,
        weight_decay=5e-4,
        clip_norm=None,
        batch_norm="train",
        workers=8,
        checkpoint_every=5,
    )


def action_preset(given: dict[str, str]) -> ActionConfig:
    """The defaults that belong to --preset, --data and --stream as given."""
    stream: Stream = "spatial" if given.get("stream") == "spatial" else "temporal"
    data = given.get("data", "ucf101" if given.get("preset") == "paper" else "embedded")
    preset = given.get("preset", "embedded" if data in ("embedded", "folder") else "paper")
    if preset == "paper":
        return paper(stream)
    # The RGB network only starts the one for flow, but is all that the spatial stream has.
    pretraining = ActionPretraining(rgb_epochs=3 if stream == "spatial" else 1)
    return replace(ActionConfig(), stream=stream, pretraining=pretraining)
