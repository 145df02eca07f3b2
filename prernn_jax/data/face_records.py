"""Records of face videos: what every data set of faces hands over, and how TFDS stores it.

A record is a mapping (`prernn_jax.data.records.Record`):

`frames`: N encoded pictures (bytes), all of one size, RGB or grey.
`landmarks`: (N, 68, 2) float32, x and y in pixels of the stored pictures (`data.landmarks`).
`boxes`: (N, 4) float32 x0, y0, x1, y1: the **square** of each frame that the network is shown. It
may reach over the picture's edge, but must share some of the picture.
`name`: for reports.
`category`: the test category "1", "2" or "3" of 300VW; "" where there is none.

The network's targets are the landmarks in coordinates of the box (`normalise_landmarks`), so a box
decides what is seen and the unit in which it is measured: a detector's or tracker's box, made
square, or one around the true landmarks where that is the protocol.
"""

import numpy as np
import tensorflow_datasets as tfds

from prernn_jax.data.landmarks import POINTS, check_landmarks
from prernn_jax.data.records import Record
from prernn_jax.errors import InputError

CATEGORIES = ("", "1", "2", "3")


def check_record(record: Record, height: int, width: int) -> None:
    """Checks a record whose pictures are (height, width).

    Raises:
      InputError: no frames, wrong shapes, a landmark that is not finite, an unknown category, a
        box that is not square, not finite or outside of the picture. The message names the video
        and the frame (from 0).
    """
    where = f"the video {record['name']!r}"
    count, landmarks, boxes = len(record["frames"]), record["landmarks"], record["boxes"]
    if count == 0:
        raise InputError(f"{where} has no frames with landmarks")
    if landmarks.shape != (count, POINTS, 2) or boxes.shape != (count, 4):
        raise InputError(
            f"{where} has {count} frames, landmarks {landmarks.shape} and boxes {boxes.shape}; "
            f"expected ({count}, {POINTS}, 2) and ({count}, 4)"
        )
    check_landmarks(landmarks, where)
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
    """Return how TFDS stores a record."""
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
