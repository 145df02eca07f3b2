"""Turns the record of a gesture into clips: chooses, decodes and cuts its pictures."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.media.augment import Augmentation, apply_view, centre_view, draw_view
from prernn_jax.data.media.flow import flip_flow_x
from prernn_jax.data.records import Record, decode_picture
from prernn_jax.errors import InputError

Pictures = Literal["frames", "flow"]


def place_clips(
    total: int, clips: int, length: int, stride: int, rng: np.random.Generator | None
) -> NDArray[np.int64]:
    """Places clips one after the other, without gaps, in a video.

    Args:
        total: Number of frames N of the video.
        clips: Number of clips T; a shorter video gives as many as it holds.
        length: Number of frames L of a clip.
        stride: Distance of two frames of a clip in the video.
        rng: Draws where the first clip begins; None places the clips in the middle.

    Returns:
        The frame numbers (T', L), T' <= T; (0, L) where not even one clip fits.
    """
    held = (total - 1) // stride + 1 if total > 0 else 0  # frames that the whole video gives
    count = min(clips, held // length)
    if count == 0:
        return np.zeros((0, length), np.int64)
    spare = total - 1 - (count * length - 1) * stride
    start = spare // 2 if rng is None else int(rng.integers(spare + 1))
    return (start + stride * np.arange(count * length)).reshape(count, length)


def read_clips(
    record: Record,
    pictures: Pictures,
    clips: int,
    length: int,
    size: int,
    channels: int,
    stride: int = 1,
    rng: np.random.Generator | None = None,
    augmentation: Augmentation | None = None,
    mirror: Mapping[int, int] | None = None,
) -> tuple[NDArray[np.uint8], int, int]:
    """Decodes the clips of one gesture and nothing else.

    Args:
        record: See prernn_jax.data.records.
        pictures: "frames", or "flow": its x and y, two channels.
        clips: Number of clips T.
        length: Number of frames L of a clip.
        size: Side S of the result.
        channels: Channels C of frames: 1 decodes them grey, 3 in colour (grey is repeated).
        stride: See `place_clips`.
        rng: Draws place, scale and crop once for all pictures; None for the middle in time and
            space.
        augmentation: What to vary.
        mirror: Class -> class of the mirrored clip, where it differs.

    Returns:
        The clips (T, L, S, S, C), uint8, zeros after the end of a short video; the number of its
        clips; its class.

    Raises:
        InputError: The video has fewer frames than a clip, or no such pictures.
    """
    total = len(record["frames"])
    wanted = place_clips(total, clips, length, stride, rng)  # (T', L)
    if len(wanted) == 0:
        raise InputError(
            f"the video {record['name']!r} has {total} frames; a clip of {length} with a stride "
            f"of {stride} needs {(length - 1) * stride + 1}: give a smaller --clip_length or "
            "--stride, or leave the video out"
        )
    kinds = ("frames",) if pictures == "frames" else ("flow_x", "flow_y")
    last = len(record[kinds[0]]) - 1  # flow has one picture less: the last one serves twice
    if last < 0:
        raise InputError(
            f"the video {record['name']!r} has no {kinds[0]}; prepare the data with optical flow"
        )
    view = None
    planes = []
    for kind in kinds:
        gray = pictures == "flow" or channels == 1
        cut = []
        for number in np.minimum(wanted.ravel(), last):
            picture = decode_picture(record[kind][number], gray=gray)
            if view is None:
                height, width = picture.shape[:2]
                if rng is None or augmentation is None:
                    view = centre_view(height, width, size)
                else:
                    view = draw_view(rng, height, width, augmentation)
            cut.append(apply_view(picture, view, size))
        plane = np.stack(cut)  # (T' L, S, S[, 3])
        planes.append(flip_flow_x(plane) if kind == "flow_x" and view and view.flip else plane)
    clip = np.stack(planes, axis=-1) if planes[0].ndim == 3 else planes[0]  # (T' L, S, S, C)
    result = np.zeros((clips, *wanted.shape[1:], *clip.shape[1:]), np.uint8)
    result[: len(wanted)] = clip.reshape(*wanted.shape, *clip.shape[1:])
    label = int(record["label"])
    if view is not None and view.flip:
        label = (mirror or {}).get(label, label)
    return result, len(wanted), label
