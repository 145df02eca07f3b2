"""The configuration of sequential face alignment, and its presets."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from prernn_jax.data.drawn.faces import EmbeddedFacesConfig
from prernn_jax.data.face.loader import FaceAugmentation
from prernn_jax.data.face.records import BoxSource

from ..engine.optim import FACE, Schedule
from ..run.config import Pretraining, RunConfig


@dataclass(frozen=True)
class FacePretraining(Pretraining):
    """Stage one of face alignment: a compact VGG on single frames (`train.face.pretrain`).

    Attributes:
        epochs: Passes over the single frames.
        hidden: Features of fc6 and of fc7.
        label: What it learns: all 68 `landmarks`, or of the `head` only where it is, how large and
            how turned (`face_task.head_points`).
    """

    batch_size: int = 64
    learning_rate: float = 0.125
    epochs: int = 8
    hidden: int = 128
    label: Literal["landmarks", "head"] = "landmarks"


_FACES = EmbeddedFacesConfig()
_VARIED = FaceAugmentation()
_EMBEDDED = Schedule(0.0375, "cosine")


@dataclass(frozen=True)
class FaceConfig(RunConfig):
    """Sequential face alignment: landmarks in every frame of a video.

    Attributes:
        data: `embedded` is drawn here; `300vw` is read from --source; `folder` are your own videos
            or pictures with any number of landmarks (docs/own_videos.md).
        root: Folder of the files that a table given as --source names.
        split: Own videos: seed of the split, where none is given; 1 by default.
        mirror_pairs: Own videos: a file with the landmarks that mirror each other, two numbers a
            line, from 0. Without it, and with another number than 68, faces are not mirrored.
        normalise_by: Own videos: two landmarks, from 0, whose distance divides the errors.
        box: Where a frame of real data is cut out: around its true landmarks, or around those of
            the frame before, as a tracker has it.
        enlarge: Side of the square that is cut out, as a multiple of the longer side of the
            landmarks' bounding box.
        boxes: JSON file with boxes from elsewhere, such as a detector, in place of --box.
        embedded: Size and difficulty of the embedded data.
        steps: Consecutive frames T of a sequence.
        size: Side of the network's input in pixels.
        augmentation: How training sequences vary.
        pretraining: Stage one.
    """

    application: ClassVar[str] = "face"
    positive: ClassVar[tuple[str, ...]] = ("steps", "size", "batch_size")

    data: Literal["embedded", "300vw", "folder"] = "embedded"
    root: Path | None = None
    split: int | None = None
    mirror_pairs: Path | None = None
    normalise_by: tuple[int, int] | None = None
    box: BoxSource = "truth"
    enlarge: float = 1.3
    boxes: Path | None = None
    embedded: EmbeddedFacesConfig = _FACES
    steps: int = 10
    size: int = 48
    augmentation: FaceAugmentation = _VARIED
    layers: tuple[str, ...] = ("fc6",)
    epochs: int = 60
    schedule: Schedule = _EMBEDDED
    checkpoint_every: int = 10
    pretraining: FacePretraining = FacePretraining()
    workdir: Path = Path("runs/face")


def paper() -> FaceConfig:
    """The paper's settings (docs/paper.md); docs/faces.md lists what the paper leaves open."""
    return FaceConfig(
        preset="paper",
        data="300vw",
        layers=("fc6", "fc7"),
        size=224,
        epochs=30,
        batch_size=8,
        schedule=FACE,
        momentum=0.9,
        weight_decay=5e-4,
        clip_norm=None,
        workers=8,
        checkpoint_every=1,
    )


def face_preset(given: dict[str, str]) -> FaceConfig:
    """The defaults that belong to --preset and --data as given."""
    data = given.get("data", "300vw" if given.get("preset") == "paper" else "embedded")
    preset = given.get("preset", "paper" if data == "300vw" else "embedded")
    return paper() if preset == "paper" else FaceConfig()
