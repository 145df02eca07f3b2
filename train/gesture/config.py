"""The configuration of gesture recognition, and its presets."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from prernn_jax.data.drawn.gestures import EmbeddedGesturesConfig
from prernn_jax.data.gesture.datasets import Modality
from prernn_jax.data.prepared.clip_files import Flow

from ..engine.optim import GESTURE, Optimizer, Schedule
from ..run.config import Pretraining, RunConfig, Trunk


@dataclass(frozen=True)
class GesturePretraining(Pretraining):
    """Stage one: a compact C3D on single clips of other hands.

    Attributes:
        epochs: Passes over them.
    """

    epochs: int = 6


_CLIPS = EmbeddedGesturesConfig()
_EMBEDDED = Schedule(3e-3, "cosine", warmup=0.5)
_TOGETHER = Schedule(0.025, "cosine", warmup=0.5)


@dataclass(frozen=True)
class GestureConfig(RunConfig):
    """Recognition of dynamic hand gestures.

    Attributes:
        data: `embedded` is generated here, NVGesture is read from --source. `folder` are videos of
            your own: sub-folders are classes, or a list.
        root: `folder`: the folder of the videos, where --source is a list.
        modality: Depth, colour, or the optical flow of colour; embedded gestures are depth.
        embedded: Size and difficulty of the embedded data.
        lists: NVGesture: lists to train and to test on in place of the official ones.
        flow: Algorithm of the optical flow, for --modality=flow.
        steps: Clips T of a video; they lie one after the other.
        clip_length: Frames L of a clip.
        stride: One frame is taken of every `stride` frames of a video.
        crop: Side of the network's input in pixels.
        pretraining: Stage one.
    """

    application: ClassVar[str] = "gesture"
    positive: ClassVar[tuple[str, ...]] = ("steps", "clip_length", "stride", "crop")

    data: Literal["embedded", "nvgesture", "folder"] = "embedded"
    root: Path | None = None
    modality: Modality = "depth"
    embedded: EmbeddedGesturesConfig = _CLIPS
    lists: tuple[str, str] | None = None
    flow: Flow = "dis"
    steps: int = 10
    clip_length: int = 4
    stride: int = 1
    crop: int = 48
    epochs: int = 6
    schedule: Schedule = _EMBEDDED
    optimizer: Optimizer = "adam"
    trunk: Trunk = "cached"
    views: int = 2
    pretraining: GesturePretraining = GesturePretraining()
    workdir: Path = Path("runs/gesture")


def paper() -> GestureConfig:
    """The paper's settings (docs/paper.md); docs/decisions.md lists what the paper leaves open."""
    return GestureConfig(
        preset="paper",
        data="nvgesture",
        flow="tvl1",
        layers=("fc6", "fc7"),
        steps=10,
        clip_length=8,
        crop=112,
        epochs=1000,  # the plateau schedule ends it
        batch_size=16,
        schedule=GESTURE,
        optimizer="sgd",
        trunk="trained",
        views=1,
        momentum=0.9,
        weight_decay=5e-4,
        clip_norm=None,
        workers=8,
        checkpoint_every=5,
    )


def gesture_preset(given: dict[str, str]) -> GestureConfig:
    """The defaults that belong to --preset, --data and --trunk as given."""
    data = given.get("data", "nvgesture" if given.get("preset") == "paper" else "embedded")
    preset = given.get("preset", "embedded" if data in ("embedded", "folder") else "paper")
    if preset == "paper":
        return paper()
    # Real hands look otherwise than those of stage one, so its network is trained too.
    trunk = given.get("trunk", "cached" if data == "embedded" else "trained")
    stride = 2 if data == "nvgesture" else 1  # 80 frames are 10 clips of 4
    if trunk != "trained":
        return replace(GestureConfig(), stride=stride)
    return replace(
        GestureConfig(),
        stride=stride,
        epochs=12,
        schedule=_TOGETHER,
        optimizer="sgd",
        trunk="trained",
        views=1,
    )
