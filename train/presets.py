"""Configurations of the command lines, and their presets."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from prernn_jax.data.clip_files import Flow
from prernn_jax.data.embedded import EmbeddedConfig
from prernn_jax.data.sampling import Stream
from train.optim import SPATIAL, TEMPORAL, Schedule
from train.step import Precision


@dataclass(frozen=True)
class Pretraining:
    """Stage one: the compact CNN on single frames of the embedded data (`train.pretrain`).

    Attributes:
      rgb_epochs: Epochs on RGB frames.
      flow_epochs: Epochs on single stacks of flow, after cross-modality initialisation.
      batch_size: Frames a step.
      learning_rate: First rate, falling along a cosine.
      seed: Of its weights and its order of samples; the same CNN serves runs of any --seed.
    """

    rgb_epochs: int = 4
    flow_epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 0.05
    seed: int = 0


_CLIPS = EmbeddedConfig()
_EMBEDDED = Schedule(0.05, "cosine", warmup=0.5)


@dataclass(frozen=True)
class ActionConfig:
    """Action recognition with one stream of a two-stream network.

    Attributes:
      stream: RGB frames, or stacks of optical flow.
      preset: The defaults of all other flags: `embedded` for a laptop, `paper` for the paper's
        settings (supplementary material). Without it, that which belongs to --data.
      data: `embedded` is generated here; the others are read from --data_dir.
      data_dir: Folder with the videos and the official lists.
      embedded: Size and difficulty of the embedded data.
      cache_dir: Where prepared data are kept; ~/.cache/prernn_jax when not given.
      split: Which of the three official splits.
      flow: Algorithm of the optical flow; `none` spares it where only --stream=spatial is
        trained.
      model: `pre`: the CNN's own last layer made recurrent. `pre_sih`: one input-to-hidden map
        for all gates. `traditional`: a new recurrent layer of matched size on top.
        `feedforward`: no recurrence.
      cell: Of the recurrent layer.
      init: Input-to-hidden weights of `pre`: kept or drawn anew.
      weights: A pre-trained ResNet (from `prernn-port convert`, or stage one of another run);
        without it, stage one trains the compact CNN on embedded data.
      steps: Time steps T of a sequence.
      stack: Flow fields L in the input of a step.
      crop: Side of the network's input in pixels.
      windows: Sequences into which a test video is divided.
      epochs: Passes over the training set.
      batch_size: Sequences a step, over all devices.
      schedule: Learning rate over the epochs.
      momentum: Of SGD.
      weight_decay: Added to the gradient, times the parameter.
      clip_norm: Largest global norm of a gradient.
      dropout: Share of the output layer's inputs dropped in training.
      batch_norm: In training, use the batch's statistics or the stored ones.
      freeze: Regular expressions: parameters whose whole name one matches are not trained.
      precision: Of activations and products; parameters and loss are float32.
      pretraining: Stage one.
      seed: Of new weights, the order of samples and augmentation.
      workdir: Where runs and the CNN of stage one are kept.
      name: Of this run's folder in workdir; made from the settings when not given.
      devices: Over how many devices a batch is split.
      workers: Processes that read and augment; 0 for threads of this one.
      checkpoint_every: Epochs from one checkpoint to the next.
      resume: Go on from the last checkpoint.
    """

    stream: Stream = "temporal"
    preset: Literal["embedded", "paper"] = "embedded"
    data: Literal["embedded", "ucf101", "hmdb51"] = "embedded"
    data_dir: Path | None = None
    embedded: EmbeddedConfig = _CLIPS
    cache_dir: Path | None = None
    split: Literal[1, 2, 3] = 1
    flow: Flow = "dis"
    model: Literal["pre", "pre_sih", "traditional", "feedforward"] = "pre"
    cell: Literal["vrnn", "lstm", "gru"] = "gru"
    init: Literal["pretrained", "random"] = "pretrained"
    weights: Path | None = None
    steps: int = 6
    stack: int = 4
    crop: int = 64
    windows: int = 1
    epochs: int = 12
    batch_size: int = 16
    schedule: Schedule = _EMBEDDED
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float | None = 5.0
    dropout: float = 0.0
    batch_norm: Literal["train", "frozen"] = "frozen"
    freeze: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    precision: Precision = "float32"
    pretraining: Pretraining = Pretraining()
    seed: int = 0
    workdir: Path = Path("runs/action")
    name: str | None = None
    devices: int = 1
    workers: int = 0
    checkpoint_every: int = 1
    resume: bool = False


def paper(stream: Stream) -> ActionConfig:
    """SPEC section 1. What the paper does not say there is listed in docs/decisions.md."""
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
    preset = given.get("preset", "embedded" if data == "embedded" else "paper")
    if preset == "paper":
        return paper(stream)
    return replace(ActionConfig(), stream=stream)
