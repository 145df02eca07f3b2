"""What a model says of a video, and how it is written down."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class VideoScores:
    """Classes of one video.

    Attributes:
        name: The video's name.
        frames: Number of its frames N.
        classes: Names (K).
        scores: Probabilities (K,), the mean over the steps of a sequence and over the sequences.
        windows: For each sequence the probabilities (T, K) at its steps.
        places: For each sequence the frame (T,) at which each step begins, from 0.
    """

    name: str
    frames: int
    classes: tuple[str, ...]
    scores: NDArray[np.floating[Any]]
    windows: tuple[NDArray[np.floating[Any]], ...]
    places: tuple[NDArray[np.integer[Any]], ...]

    def top(self, count: int = 5) -> list[tuple[str, float]]:
        """The likeliest classes and their probabilities."""
        return _top(self.scores, self.classes, count)

    @property
    def brief(self) -> str:
        """One line."""
        return ", ".join(f"{name} {100 * share:.1f}%" for name, share in self.top(3))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "video": self.name,
            "frames": self.frames,
            "top5": _named(self.top()),
            "windows": [
                [
                    {"frame": int(frame), "top5": _named(_top(row, self.classes, 5))}
                    for frame, row in zip(places, rows, strict=True)
                ]
                for places, rows in zip(self.places, self.windows, strict=True)
            ],
        }


@dataclass(frozen=True)
class VideoLandmarks:
    """Landmarks in every frame of one video.

    Attributes:
        name: The video's name.
        frames: Number of its frames N.
        landmarks: (N, P, 2) x, y in the pixels of the video; the middle of the first pixel is 0.
        boxes: (N, 4) x0, y0, x1, y1, the edges of the square that the network was shown.
    """

    name: str
    frames: int
    landmarks: NDArray[np.float32]
    boxes: NDArray[np.float32]

    @property
    def brief(self) -> str:
        """One line."""
        return f"{self.landmarks.shape[1]} landmarks in each of {self.frames} frames"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "video": self.name,
            "frames": self.frames,
            "landmarks": np.round(self.landmarks.astype(float), 3).tolist(),
            "boxes": np.round(self.boxes.astype(float), 3).tolist(),
        }


def _top(scores: NDArray[Any], classes: tuple[str, ...], count: int) -> list[tuple[str, float]]:
    order = np.argsort(-scores, kind="stable")[:count]
    return [(classes[number], float(scores[number])) for number in order]


def _named(pairs: list[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"class": name, "probability": share} for name, share in pairs]
