"""Decodes video files by PyAV, which is installed as prernn-jax[video]."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from prernn_jax.data.media.container import Reading, why_truncated
from prernn_jax.errors import InputError

NO_DECODER = "reading videos needs PyAV: install it with pip install 'prernn-jax[video]'"


def require_decoder() -> None:
    """Checks before any video is opened that videos can be decoded.

    Raises:
        InputError: PyAV is not installed.
    """
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise InputError(NO_DECODER) from error


def read_frames(
    path: Path, short_side: int | None = None, start: int = 0, stop: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Decodes a video picture by picture. Only one picture is in memory at a time.

    Frames that an edit list hides are not counted. Pictures are turned and mirrored as the
    container says.

    Args:
        path: A video file (AVI, MP4, ...).
        short_side: Height or width, whichever is shorter, to which the pictures are scaled.
        start: The first frame, from 0. The video is decoded from its beginning, so this is exact.
        stop: The frame behind the last one; None for the end of the video.

    Yields:
        The pictures (H, W, 3), RGB, all of one size.

    Raises:
        InputError: PyAV is not installed; the file is absent, empty or no video; it stops decoding
            before its end, lacks a part of its data, or has fewer frames than `stop`. The message
            names the file.
    """
    require_decoder()
    import av.error

    if not path.is_file():
        raise InputError(f"there is no video {path}")
    if path.stat().st_size == 0:
        raise InputError(f"the video {path} is empty (0 bytes); unpack the archive again")
    count, size, read = 0, None, Reading()
    try:
        with open_video(path) as (container, stream):
            stream.thread_type = "AUTO"
            samples, formats = len(stream.index_entries), container.format.name
            for frame in _decode(container, stream, read):
                if count == stop:
                    return
                count += 1
                if count <= start:
                    continue
                picture = _upright(frame, path)
                size = size or fit(picture.shape[0], picture.shape[1], short_side)
                yield scaled(picture, size)
    except av.error.FFmpegError as error:
        raise InputError(
            f"the video {path} cannot be decoded after {count} frames ({error.strerror}); "
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
    missing = why_truncated(path, formats, samples, read)
    if missing:
        raise InputError(f"the video {path} is truncated after {count} frames: {missing}")


@contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Opens a video file; gives the container and the stream of its pictures.

    Where there are several streams it is the one that FFmpeg calls the best: no cover picture.

    Raises:
        InputError: It holds no pictures.
        FFmpegError: It is no video.
    """
    import av

    # With its folder, or FFmpeg takes what stands before a colon in a name for a protocol.
    with av.open(str(path.absolute())) as container:
        stream = container.streams.best("video")
        if stream is None:
            raise InputError(f"{path} holds no video, only sound or text")
        yield container, stream


def _decode(container: Any, stream: Any, read: Reading) -> Iterator[Any]:
    """Yields the frames of one stream and notes how far the file has been read."""
    for packet in container.demux():
        if packet.pos is not None:
            read.end = max(read.end, packet.pos + packet.size)
        if packet.stream is not stream:
            continue
        read.packets += packet.size > 0
        yield from packet.decode()


def _upright(frame: Any, path: Path) -> NDArray[np.uint8]:
    """Returns a frame (H, W, 3), RGB, turned and mirrored as the container says."""
    picture: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    # The matrix acts on row vectors: (x, y) is shown at (a x + c y, b x + d y).
    (a, b), (c, d) = np.frombuffer(bytes(matrix), np.int32).reshape(3, 3)[:2, :2].tolist()
    if a and d and not (b or c):
        across, down = a, d
    elif b and c and not (a or d):
        picture, across, down = picture.swapaxes(0, 1), c, b
    else:
        raise InputError(
            f"the video {path} is to be shown turned by {frame.rotation} degrees; expected a "
            "multiple of 90: turn it with another program first"
        )
    picture = picture[:, ::-1] if across < 0 else picture
    return np.ascontiguousarray(picture[::-1] if down < 0 else picture)


def scaled(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) brought to a height and width."""
    if picture.shape[:2] == size:
        return picture
    how = cv2.INTER_AREA if size[0] < picture.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(picture, size[::-1], interpolation=how)  # type: ignore[return-value]


def fit(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    """The height and width of pictures that are brought to a shorter side; None keeps them."""
    if short_side is None:
        return height, width
    scale = short_side / min(height, width)
    return round(height * scale), round(width * scale)
