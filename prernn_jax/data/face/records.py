"""Records of face videos, and the square around a face that a network is shown."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray

from prernn_jax.data.face.landmarks import POINTS, bounding_box, check_landmarks, square_around
from prernn_jax.data.prepared.lists import read_text, shortened
from prernn_jax.data.records import Record
from prernn_jax.errors import InputError

CATEGORIES = ("", "1", "2", "3")


def check_record(record: Record, height: int, width: int, points: int = POINTS) -> None:
    """Checks a record whose pictures are (height, width), with `points` landmarks.

    Raises:
        InputError: There are no frames, shapes are wrong, a landmark is not finite, the category is
            unknown, or a box is not square, not finite or outside of the picture. The message
            names the video and the frame (from 0).
    """
    where = f"the video {record['name']!r}"
    count, landmarks, boxes = len(record["frames"]), record["landmarks"], record["boxes"]
    if count == 0:
        raise InputError(f"{where} has no frames with landmarks")
    if landmarks.shape != (count, points, 2) or boxes.shape != (count, 4):
        raise InputError(
            f"{where} has {count} frames, landmarks {landmarks.shape} and boxes {boxes.shape}; "
            f"expected ({count}, {points}, 2) and ({count}, 4)"
        )
    check_landmarks(landmarks, where, points)
    if record["category"] not in CATEGORIES:
        raise InputError(
            f"{where} has the category {record['category']!r}; expected one of "
            f"{', '.join(map(repr, CATEGORIES))}"
        )
    x0, y0, x1, y1 = boxes.T.astype(np.float64)
    side = x1 - x0
    finite = np.isfinite(boxes).all(axis=1)
    square = (side >= 1) & (np.abs((y1 - y0) - side) <= 1e-3 * np.abs(side))
    inside = (x1 > 0) & (y1 > 0) & (x0 < width - 1) & (y0 < height - 1)
    for fine, fault in (
        (finite, "is not finite"),
        (square, "is not a square of one pixel or more"),
        (inside, f"lies outside of the picture of {height}x{width} pixels"),
    ):
        if not fine.all():
            frame = int(np.argmin(fine))
            raise InputError(
                f"{where}: the box {boxes[frame].tolist()} of frame {frame} {fault}; expected "
                "x0, y0, x1, y1 around the face"
            )


def face_features() -> tfds.features.FeaturesDict:
    """Returns how TFDS stores a record."""
    picture = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
    return tfds.features.FeaturesDict(
        {
            "frames": tfds.features.Sequence(picture),
            "landmarks": tfds.features.Tensor(shape=(None, POINTS, 2), dtype=np.float32),
            "boxes": tfds.features.Tensor(shape=(None, 4), dtype=np.float32),
            "name": tfds.features.Text(),
            "category": tfds.features.Text(),
        }
    )


BoxSource = Literal["truth", "previous"]
GivenBoxes = Mapping[str, Mapping[int, NDArray[np.float32]]]


@dataclass(frozen=True)
class FaceBoxes:
    """How the square of each frame is chosen.

    Attributes:
        source: "truth" is around the true landmarks of the frame; "previous" is around those of
            the frame before, as in a tracker (the first frame uses its own).
        enlarge: Side of the square divided by the longer side of the landmarks' bounding box.
        given: Boxes from elsewhere, used in place of both: video -> number of the frame -> x0, y0,
            x1, y1 in pixels of the original video. They are made square but not enlarged. A frame
            without a box has the last one before it.
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
        """Returns the squares (N, 4) of a video's frames with landmarks (N, P, 2)."""
        boxes = square_around(bounding_box(landmarks), self.enlarge).astype(np.float32)
        return boxes if self.source == "truth" else np.concatenate([boxes[:1], boxes[:-1]])

    def of(self, video: str, numbers: Sequence[int]) -> NDArray[np.float32]:
        """Returns the given squares (N, 4) of a video's frames.

        Raises:
            InputError: There is no box for this video.
        """
        boxes = (self.given or {}).get(video)
        if not boxes:
            raise InputError(f"the file of face boxes has none for the video {video}")
        known = np.array(sorted(boxes))
        before = np.maximum(np.searchsorted(known, numbers, side="right") - 1, 0)
        chosen = np.stack([boxes[int(number)] for number in known[before]])
        return square_around(chosen).astype(np.float32)


def read_boxes(path: Path) -> GivenBoxes:
    """Reads boxes from a JSON file: {"114": {"000001": [x0, y0, x1, y1], ...}, ...}.

    Pixels are counted from 0, frames from 1 as in the names of the .pts files.

    Raises:
        InputError: No such file, no JSON, or a box is not four finite numbers with x0 < x1 and
            y0 < y1. The message names video and frame.
    """
    if not path.is_file():
        raise InputError(f"there is no file of face boxes {path}")
    try:
        content = json.loads(read_text(path), object_pairs_hook=_each_once)
    except (json.JSONDecodeError, RecursionError, ValueError) as error:
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


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Builds a JSON object; refuses two entries of one name, where JSON keeps the last."""
    found = dict(pairs)
    names = [name.lstrip("0") or name for name, _ in pairs]
    if len(set(names)) < len(pairs):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shortened(twice)!r} stands in it twice")
    return found


def _frame(number: str, path: Path, video: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", number):
        raise InputError(
            f"{path}: video {shortened(video)} has the frame {shortened(number)!r}; expected a "
            "number of at most 9 digits"
        )
    return int(number)


def _box(box: object, where: str) -> NDArray[np.float32]:
    numbers = box if isinstance(box, list) and all(type(x) in (int, float) for x in box) else []
    try:
        with np.errstate(over="ignore"):
            values = np.array(numbers, np.float32)
    except OverflowError:  # an integer of hundreds of digits
        values = np.zeros(0, np.float32)
    if values.shape != (4,) or not np.isfinite(values).all() or not np.all(values[:2] < values[2:]):
        raise InputError(f"{where}: {shortened(repr(box))} is no box; expected x0, y0, x1, y1")
    return values
