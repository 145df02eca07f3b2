"""Which square around a face a network is shown: by the landmarks, or by boxes from a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.landmarks import bounding_box, square_around
from prernn_jax.errors import InputError

BoxSource = Literal["truth", "previous"]
GivenBoxes = Mapping[str, Mapping[int, NDArray[np.float32]]]


@dataclass(frozen=True)
class FaceBoxes:
    """How the square of each frame is chosen.

    Attributes:
      source: "truth": around the frame's own true landmarks; "previous": around those of the
        frame before, as a tracker has it (the first frame: its own).
      enlarge: side of the square in parts of the longer side of the landmarks' bounding box.
      given: boxes of another's, in place of both: video -> number of the frame -> x0, y0, x1, y1
        in pixels of the original video; made square, not enlarged. A frame without a box has the
        last one before it.
    """

    source: BoxSource = "truth"
    enlarge: float = 1.3
    given: GivenBoxes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.source not in get_args(BoxSource):
            raise InputError(f"face boxes come from the truth or previous, got {self.source!r}")
        if not 0 < self.enlarge < 10:
            raise InputError(f"face boxes are enlarged by {self.enlarge}; expected 0 to 10")

    def around(self, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the squares (N, 4) of a video's frames with landmarks (N, 68, 2)."""
        boxes = square_around(bounding_box(landmarks), self.enlarge).astype(np.float32)
        return boxes if self.source == "truth" else np.concatenate([boxes[:1], boxes[:-1]])

    def of(self, video: str, numbers: Sequence[int]) -> NDArray[np.float32]:
        """Return the given squares (N, 4) of a video's frames.

        Raises:
          InputError: there is none for this video.
        """
        boxes = (self.given or {}).get(video)
        if not boxes:
            raise InputError(f"the file of face boxes has none for the video {video}")
        known = np.array(sorted(boxes))
        before = np.maximum(np.searchsorted(known, numbers, side="right") - 1, 0)
        chosen = np.stack([boxes[int(number)] for number in known[before]])
        return square_around(chosen).astype(np.float32)


def read_boxes(path: Path) -> GivenBoxes:
    """Read boxes from a JSON file: {"114": {"000001": [x0, y0, x1, y1], ...}, ...}.

    Pixels are counted from 0, frames from 1 as in the names of the .pts files.

    Raises:
      InputError: no such file, no JSON, or a box is not four finite numbers with x0 < x1 and
        y0 < y1. The message names video and frame.
    """
    if not path.is_file():
        raise InputError(f"there is no file of face boxes {path}")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise InputError(f"{path} is not of the form {{video: {{frame: [x0, y0, x1, y1]}}}}")
    return {
        video: {
            _frame(number, path, video): _box(box, f"{path}: video {video}, frame {number}")
            for number, box in boxes.items()
        }
        for video, boxes in content.items()
    }


def _frame(number: str, path: Path, video: str) -> int:
    if not number.isdecimal():
        raise InputError(f"{path}: video {video} has the frame {number!r}; expected a number")
    return int(number)


def _box(box: object, where: str) -> NDArray[np.float32]:
    try:
        values = np.array(box, np.float32)
    except (TypeError, ValueError):
        values = np.zeros(0, np.float32)
    if values.shape != (4,) or not np.isfinite(values).all() or not np.all(values[:2] < values[2:]):
        raise InputError(f"{where}: {box!r} is no box; expected x0, y0, x1, y1")
    return values
