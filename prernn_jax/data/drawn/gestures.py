"""The embedded gestures: clips of a rendered hand, whose class is the gesture after the cue.

A depth camera sees a hand, which makes one gesture after the other. After each it is put elsewhere,
which a viewer sees as a cut. Once it is held near the camera with thumb and little finger
stretched: this is the cue. The gesture of a clip is the one that follows the cue; those before it
and all later ones are drawn at random and may be the same or another. So the class is not in any
short clip of frames, nor in a mean of them: it needs a memory. Training, validation and test draw
hands, clutter and clips from different random streams. So does the set of single clips for stage
one.
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
)
CUE, REST = "cue", "rest"
POSE_CLASSES = (*GESTURE_CLASSES, CUE, REST)
"""Classes of the short clips: the gestures, the cue, and a hand that does nothing."""
GESTURE_MIRROR = {0: 1, 1: 0, 6: 7, 7: 6}
"""Class -> class of the mirrored clip, where it differs; the same in both sets."""
# The number of a split is part of every seed, so no two splits share a random stream.
SPLITS = {"train": 1, "validation": 2, "test": 3, "pose_train": 4, "pose_validation": 5}


@dataclass(frozen=True)
class GestureDifficulty:
    """How hard the embedded gestures are. Lengths are in pixels of a picture of 48x48."""

    unit: float = 5.0  # half the width of a palm
    hands: float = 0.15  # relative spread of the sizes and proportions of hands
    travel: tuple[float, float] = (14.0, 20.0)  # length of a move
    approach: tuple[float, float] = (0.45, 0.60)  # change of log size in a push or pull
    turn: tuple[float, float] = (1.2, 1.7)  # angle of a turn, in radians
    near: tuple[float, float] = (0.55, 0.7)  # log size of the hand in the cue
    tilt: float = 0.3  # standard deviation of the angle of a hand, in radians
    sway: float = 1.5  # amplitude of the slow motion that every hand has
    jitter: float = 0.3  # standard deviation of a hand's place in each frame
    clutter: int = 5  # things in the background, which drift
    drift: float = 0.3  # their greatest speed in a frame
    noise: float = 0.04  # standard deviation (full range 1); a clip has 0.5 to 1.5 times that
    holes: float = 1.0  # mean number of patches without depth in a frame
    dropped: float = 0.02  # probability that a frame repeats the one before
    broken: float = 0.02  # probability that a frame holds almost nothing but noise


@dataclass(frozen=True)
class EmbeddedGesturesConfig:
    """Everything that decides the embedded gestures; its `key` names the files on disk."""

    seed: int = 2019
    size: int = 48
    frames: int = 40
    clip: int = 4  # frames of a short clip; none sees two gestures
    leg: tuple[int, int] = (4, 5)  # pairs of frames in a gesture, least and most
    before: int = 2  # greatest number of gestures before the cue
    train: int = 1600
    validation: int = 200
    test: int = 400
    pose_train: int = 5600
    pose_validation: int = 240
    hands: int = 60  # hands of each split
    difficulty: GestureDifficulty = field(default_factory=GestureDifficulty)

    def __post_init__(self) -> None:
        if self.clip < 3:
            raise InputError(f"clips of {self.clip} frames show no motion; give at least 3")
        low, high = self.leg
        if not self.clip <= low <= high:
            raise InputError(
                f"gestures of {low} to {high} pairs of frames; expected at least {self.clip}, so "
                "that a clip fits into one, and the first number not above the second"
            )
        needed = 1 + (self.before + 2) * (high + self.rest + 1)
        if self.frames < needed:
            raise InputError(
                f"{self.frames} frames are too few for {self.before} gestures, the cue and the "
                f"gesture after it; give at least {needed} frames"
            )
        for split in SPLITS:
            if self.count(split) < 1:
                raise InputError(f"the split {split} needs at least one clip, got 0")

    @property
    def rest(self) -> int:
        """The fewest pairs of frames between two gestures: no clip sees both."""
        return self.clip - 2

    def count(self, split: str) -> int:
        """Returns the number of clips of a split."""
        return int(getattr(self, split))

    @property
    def key(self) -> str:
        """A name that changes with every field."""
        text = json.dumps({"drawing": 2, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]
