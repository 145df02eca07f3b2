"""A short film of test videos with the predicted and the true landmarks drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prernn_jax.data.face.landmarks import draw_landmarks
from prernn_jax.files.atomic import replacing

_TRUE, _PREDICTED = (90, 220, 90), (255, 70, 70)


def film_frames(
    clips: Sequence[NDArray[np.uint8]],
    predicted: Sequence[NDArray[Any]],
    landmarks: Sequence[NDArray[Any]],
    *,
    side: int = 160,
    columns: int = 4,
) -> list[NDArray[np.uint8]]:
    """Videos side by side, true landmarks green and predicted ones red.

    Args:
        clips: Of each video the frames (N, S, S, 3); a shorter one stays at its last frame.
        predicted: Of each video (N, 68, 2), in coordinates of the box.
        landmarks: The true ones.
        side: Of one video's picture.
        columns: Videos in a row.
    """
    longest = max(map(len, clips))
    columns = min(columns, len(clips))
    rows = -(-len(clips) // columns)
    sheets = []
    for time in range(longest):
        sheet = np.zeros((rows * side, columns * side, 3), np.uint8)
        for place, (clip, found, true) in enumerate(zip(clips, predicted, landmarks, strict=True)):
            step = min(time, len(clip) - 1)
            tile = cv2.resize(clip[step], (side, side), interpolation=cv2.INTER_CUBIC)
            tile = np.asarray(tile, np.uint8)
            draw_landmarks(tile, true[step], _TRUE)
            draw_landmarks(tile, found[step], _PREDICTED)
            row, column = divmod(place, columns)
            sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = tile
        sheets.append(sheet)
    return sheets


def write_film(path: Path, frames: Sequence[NDArray[np.uint8]], *, milliseconds: int = 200) -> None:
    """Writes frames (H, W, 3) as an animated GIF that runs for ever."""
    first, *rest = [Image.fromarray(frame).quantize(64) for frame in frames]
    how = {"save_all": True, "append_images": rest, "duration": milliseconds, "loop": 0}
    with replacing(path) as temporary:
        first.save(temporary, "GIF", **how)
