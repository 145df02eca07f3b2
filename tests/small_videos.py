"""Small real video files, encoded by PyAV."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_video(
    path: Path, pictures: Sequence[NDArray[np.uint8]], codec: str = "mpeg4", rate: int = 25
) -> Path:
    """Encodes pictures (H, W, 3) RGB with even H and W; makes the folder too."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 4_000_000
        for picture in pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def numbered_pictures(count: int, height: int = 48, width: int = 64) -> list[NDArray[np.uint8]]:
    """Plain pictures whose brightness tells their number: 10 + 5 n."""
    return [np.full((height, width, 3), 10 + 5 * n, np.uint8) for n in range(count)]


def named_files(folder: Path, *names: str) -> Path:
    """Files that hold their own names, so that no two are alike; they are no videos."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder
