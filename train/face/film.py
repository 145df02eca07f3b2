"""The film of test faces: landmarks found with memory and, below them, in each frame alone."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.face.landmarks import draw_landmarks
from prernn_jax.data.face.metrics import nme
from prernn_jax.data.face.point_set import IBUG, PointSet

_TRUE, _FOUND, _TEXT = (86, 220, 250), (255, 140, 0), (255, 255, 255)
_HEADER = 24  # pixels
_LENGTHS = {
    "outer_eye": "the eye distance",
    "two_points": "two points",
    "box_diagonal": "the diagonal",
}


def film_frames(
    clips: Sequence[NDArray[np.uint8]],
    landmarks: Sequence[NDArray[Any]],
    found: Sequence[Sequence[NDArray[Any]]],
    names: Sequence[str],
    known: PointSet = IBUG,
    *,
    side: int = 160,
) -> list[NDArray[np.uint8]]:
    """Videos side by side with the true and the predicted landmarks, one row a prediction.

    Args:
        clips: The frames (N, S, S, 3) of each video; a shorter one stays at its last frame.
        landmarks: The true landmarks (N, P, 2) of each video, in coordinates of the box.
        found: For each row the predicted landmarks of each video.
        names: What each row is called.
        known: What is known of the landmarks.
        side: Side of a video's picture in pixels.
    """
    height, width = _HEADER + len(found) * side, max(len(clips), 2) * side
    how = known.normalisers[known.main]
    sheets = []
    for time in range(max(map(len, clips))):
        sheet = np.zeros((height, width, 3), np.uint8)
        for text, colour, left in (("true", _TRUE, 6), ("predicted", _FOUND, 50)):
            _write(sheet, text, (left, 16), colour)
        _write(sheet, f"error in % of {_LENGTHS[known.main]}", (130, 16), _TEXT)
        for row, (name, predicted) in enumerate(zip(names, found, strict=True)):
            for column, (clip, true, points) in enumerate(
                zip(clips, landmarks, predicted, strict=True)
            ):
                step = min(time, len(clip) - 1)
                tile = np.asarray(
                    cv2.resize(clip[step], (side, side), interpolation=cv2.INTER_CUBIC), np.uint8
                )
                draw_landmarks(tile, true[step], _TRUE)
                draw_landmarks(tile, points[step], _FOUND)
                error = float(nme(points[step][None], true[step][None], how)[0])
                _write(tile, f"{100 * error:.1f}%", (4, side - 6), _TEXT)
                if column == 0:
                    _write(tile, name, (4, 14), _TEXT)
                top, left = _HEADER + row * side, column * side
                sheet[top : top + side, left : left + side] = tile
        sheets.append(sheet)
    return sheets


def _write(picture: NDArray[np.uint8], text: str, place: tuple[int, int], colour: Any) -> None:
    for thickness, shade in ((3, (0, 0, 0)), (1, colour)):  # a dark edge keeps it readable
        cv2.putText(
            picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, shade, thickness, cv2.LINE_AA
        )
