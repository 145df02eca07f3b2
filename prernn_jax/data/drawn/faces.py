"""The embedded faces: procedural animated faces with 68 landmarks, filmed by a bad camera.

Pose and expression change smoothly, while noise, light and boxes in front are drawn anew for every
frame. So the frames before show what one frame does not (docs/data.md). Training, validation and
test show different people. So do the single frames for stage one, which are spoilt less.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.drawn.face_drawing import Nuisance, draw_faces, spoil
from prernn_jax.data.drawn.face_shape import CHANNELS, draw_identity, draw_motion, pose_face
from prernn_jax.errors import InputError

# The number of a split is part of every seed, so no two splits share a random stream.
SPLITS = {"train": 1, "validation": 2, "test": 3, "static_train": 4, "static_validation": 5}


@dataclass(frozen=True)
class Motion:
    """How much a face moves: the amplitude of each channel (see `face_shape.draw_motion`).

    Lengths are in units of half a picture, angles in radians.
    """

    roll: float = 0.30
    yaw: float = 0.40
    log_scale: float = 0.14
    shift: float = 0.14
    opening: float = 0.10  # the mouth's
    curve: float = 0.35
    lids: float = 0.35
    brows: float = 0.06
    gaze: float = 0.05

    def amplitudes(self) -> NDArray[np.float64]:
        """Returns the amplitudes in the order of CHANNELS."""
        shared = {"shift_x": "shift", "shift_y": "shift", "gaze_x": "gaze", "gaze_y": "gaze"}
        return np.array([getattr(self, shared.get(name, name)) for name in CHANNELS])


@dataclass(frozen=True)
class EmbeddedFacesConfig:
    """Everything that decides the embedded faces; its `key` names the files on disk."""

    seed: int = 2018
    size: int = 48  # side of the pictures in pixels
    frames: int = 10  # frames of a sequence
    train: int = 64
    validation: int = 100
    test: int = 200
    static_train: int = 16000
    static_validation: int = 1000
    motion: Motion = field(default_factory=Motion)
    nuisance: Nuisance = field(default_factory=Nuisance)
    static_nuisance: Nuisance = field(
        default_factory=lambda: Nuisance(noise=0.2, box=0.4, box_side=(0.1, 0.5), dropped=0.0)
    )

    def __post_init__(self) -> None:
        for name in ("size", "frames", *SPLITS):
            least = 16 if name == "size" else 1
            if getattr(self, name) < least:
                raise InputError(
                    f"embedded faces: {name} is {getattr(self, name)}; expected {least} or more"
                )

    def count(self, split: str) -> int:
        """Returns the number of sequences (or stills) of a split."""
        return int(getattr(self, split))

    @property
    def key(self) -> str:
        """A name that changes with every field."""
        text = json.dumps({"drawing": 1, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class FaceClip(NamedTuple):
    """A face in motion: (N, S, S) pictures, landmarks (N, 68, 2) in pixels, and its seed."""

    pictures: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    seed: tuple[int, ...]


def make_face(config: EmbeddedFacesConfig, split: str, index: int) -> FaceClip:
    """Draws one sequence of a split. It shows one person; the static splits give one frame.

    Args:
        config: The parameters of the data set.
        split: One of SPLITS.
        index: 0 .. config.count(split) - 1.
    """
    seed = (config.seed, SPLITS[split], index)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    static = split.startswith("static")
    who = draw_identity(rng)
    motion = draw_motion(rng, config.motion.amplitudes(), 1 if static else config.frames)
    landmarks, top = pose_face(who, motion)
    clean = draw_faces(who, landmarks, top, motion, config.size)
    pictures = spoil(clean, config.static_nuisance if static else config.nuisance, rng)
    pixels = (landmarks + 1) / 2 * config.size - 0.5
    return FaceClip(pictures, pixels.astype(np.float32), seed)
