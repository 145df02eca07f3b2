"""The embedded gestures: clips of a rendered hand, as a depth camera sees it.

Every gesture goes to a second state and comes back to the first: a stroke, a hold and a return,
with rests before and after. The gestures of a pair (left and right, up and down, push and pull,
both turns, open and close) consist of the same two motions in opposite order, and the hand starts
anywhere. So the order tells them apart, and hardly any single clip does. Training, validation and
test draw hands, clutter and clips from different random streams. So does the set of single clips
for stage one.
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
"""Classes of the short clips: ten motions, and a still hand in four shapes."""
GESTURE_MIRROR = {0: 1, 1: 0, 6: 7, 7: 6}
"""Class -> class of the mirrored clip, where it differs; the same in both sets."""
# The number of a split is part of every seed, so no two splits share a random stream.
SPLITS = {"train": 1, "validation": 2, "test": 3, "pose_train": 4, "pose_validation": 5}


@dataclass(frozen=True)
class GestureDifficulty:
    """How hard the embedded gestures are. Lengths are in pixels of a picture of 48x48."""

    unit: float = 5.0  # half the width of a palm
    hands: float = 0.15  # relative spread of the sizes and proportions of hands
    travel: tuple[float, float] = (12.0, 20.0)  # length of a move's stroke
    approach: tuple[float, float] = (0.30, 0.55)  # change of log size in a push or pull
    turn: tuple[float, float] = (0.9, 1.5)  # angle of a turn, in radians
    tilt: float = 0.4  # standard deviation of the angle of a hand, in radians
    sway: float = 1.5  # amplitude of the slow motion that every hand has
    jitter: float = 0.3  # standard deviation of a hand's place in each frame
    clutter: int = 5  # things in the background, which drift
    drift: float = 0.3  # their greatest speed in a frame
    noise: float = 0.04  # standard deviation (full range 1); a clip has 0.5 to 1.5 times that
    holes: float = 1.0  # mean number of patches without depth in a frame
    dropped: float = 0.04  # probability that a frame repeats the one before
    broken: float = 0.04  # probability that a frame holds almost nothing but noise


@dataclass(frozen=True)
class EmbeddedGesturesConfig:
    """Everything that decides the embedded gestures; its `key` names the files on disk."""

    seed: int = 2019
    size: int = 48
    frames: int = 28
    clip: int = 4  # frames of a short clip for stage one
    train: int = 960
    validation: int = 240
    test: int = 240
    pose_train: int = 5600
    pose_validation: int = 280
    hands: int = 60  # hands of each split
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
