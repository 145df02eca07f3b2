"""The embedded gesture data: depth-like clips of a rendered hand, twelve gestures.

Every gesture goes to a second state and comes back to the first: a stroke, a hold, a return, with
rests before and after. Gestures of a pair (left and right, up and down, push and pull, both turns,
open and close) are made of the same two motions in the other order, and the hand starts anywhere,
so what tells them apart is the order and hardly any single clip. Training, validation and test
draw hands, clutter and clips from different random streams, and so does the set of single clips
for pre-training.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field

from prernn_jax.errors import InputError

GESTURE_CLASSES = (
    "move left",
    "move right",
    "move up",
    "move down",
    "push",
    "pull",
    "turn left",
    "turn right",
    "open",
    "close",
    "show one",
    "show two",
)
POSE_CLASSES = (*GESTURE_CLASSES[:10], "fist", "one", "two", "five")
"""What one short clip shows: one of ten motions, or a still hand of one of four shapes."""
GESTURE_MIRROR = {0: 1, 1: 0, 6: 7, 7: 6}
"""Class that a mirrored clip shows, of both sets, where it is another one."""
# The number of a split in the seeds; a split never shares a stream with another.
SPLITS = {"train": 1, "validation": 2, "test": 3, "pose_train": 4, "pose_validation": 5}


@dataclass(frozen=True)
class GestureDifficulty:
    """How hard the embedded gestures are; lengths in pixels at the size of the clips."""

    unit: float = 5.0  # half the width of a palm
    hands: float = 0.15  # relative spread of a hand's sizes and proportions
    travel: tuple[float, float] = (12.0, 20.0)  # of a move's stroke
    approach: tuple[float, float] = (0.30, 0.55)  # change of log size in a push or pull
    turn: tuple[float, float] = (0.9, 1.5)  # angle of a turn, in radians
    tilt: float = 0.4  # sd of the angle of a hand
    sway: float = 1.5  # amplitude of the slow motion that every hand has
    jitter: float = 0.3  # sd of a hand's place in each frame
    clutter: int = 5  # things in the background, which drift
    drift: float = 0.3  # their greatest speed, a frame
    noise: float = 0.04  # sd, full range is 1; an individual clip has 0.5 to 1.5 times that
    holes: float = 1.0  # mean number of patches without depth, a frame
    dropped: float = 0.04  # probability that a frame repeats the one before
    broken: float = 0.04  # probability that a frame holds almost nothing but noise


@dataclass(frozen=True)
class EmbeddedGesturesConfig:
    """Everything that decides the embedded gestures; its `key` names the files on disk."""

    seed: int = 2019
    size: int = 48
    frames: int = 28
    clip: int = 4  # frames of a clip for pre-training
    train: int = 960
    validation: int = 240
    test: int = 240
    pose_train: int = 5600
    pose_validation: int = 280
    hands: int = 60  # a split
    difficulty: GestureDifficulty = field(default_factory=GestureDifficulty)

    def __post_init__(self) -> None:
        if self.frames < 24:
            raise InputError(
                f"{self.frames} frames are too few for a stroke, a hold and a return with rests; "
                "give at least 24"
            )
        if self.clip < 2:
            raise InputError(f"clips of {self.clip} frames show no motion; give at least 2")
        for split in SPLITS:
            if self.count(split) < 1:
                raise InputError(f"the split {split} needs at least one clip, got 0")

    def count(self, split: str) -> int:
        """Returns the number of clips of a split."""
        return int(getattr(self, split))

    @property
    def key(self) -> str:
        """A name that changes with every field."""
        text = json.dumps({"drawing": 1, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
