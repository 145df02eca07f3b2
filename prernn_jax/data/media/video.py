"""Decoding of video files by PyAV, which is installed as prernn-jax[video]."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.errors import InputError


def read_frames(
    path: Path, short_side: int | None = None, start: int = 0, stop: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Decodes a video picture by picture; only one is in memory at a time.

    Args:
        path: A video file (AVI, MP4, ...).
        short_side: Bring the pictures to this height or width, whichever is shorter.
        start: The first frame, from 0; the video is decoded from its beginning, so this is exact.
        stop: The frame behind the last one; None: go on to the end.

    Yields:
        (H, W, 3) RGB, all of one size.

    Raises:
        InputError: PyAV is not installed; the file is absent, empty or no video; it stops decoding
            before its end, or has far fewer frames than it says, or fewer than `stop`. The message
            names the file.
    """
    try:
        import av
        import av.error
    except ImportError as error:
        raise InputError(
            "reading videos needs PyAV: install it with pip install 'prernn-jax[video]'"
        ) from error
    if not path.is_file():
        raise InputError(f"there is no video {path}")
    if path.stat().st_size == 0:
        raise InputError(f"the video {path} is empty (0 bytes); unpack the archive again")
    count, stated, size = 0, 0, None
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path} holds no video, only sound or text")
            stream = container.streams.video[0]
            stated = stream.frames  # 0 where the container does not say
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                if count == stop:
                    return
                count += 1
                if count <= start:
                    continue
                picture: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")  # type: ignore[assignment]
                size = size or _fit(picture.shape[0], picture.shape[1], short_side)
                if picture.shape[:2] != size:
                    shrinks = size[0] < picture.shape[0]
                    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
                    picture = cv2.resize(picture, size[::-1], interpolation=how)  # type: ignore[assignment]
                yield picture
    except av.error.FFmpegError as error:
        raise InputError(
            f"the video {path} cannot be decoded after {count} frames ({error}); "
            "is it truncated, or no video?"
        ) from error
    if count == 0:
        raise InputError(f"the video {path} has no frames")
    if stop is not None:
        if count < stop:
            raise InputError(
                f"the video {path} has {count} frames; {start} to {stop - 1} are asked for"
            )
        return
    if count < stated - max(2.0, 0.05 * stated):  # a header may count a few too many
        raise InputError(f"the video {path} is truncated: {count} of {stated} frames are there")


def _fit(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    if short_side is None:
        return height, width
    scale = short_side / min(height, width)
    return round(height * scale), round(width * scale)
