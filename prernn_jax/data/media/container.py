"""Whether a video file is whole: what its container promises against what is there.

The number of frames in a header is no promise: it counts frames that an edit list hides and frames
that a recorder left out because nothing moved, and some programs write any number. What is believed
is where the container itself says that its data end, and its table of samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from prernn_jax.data.media.stream_ends import STREAMS

_SLACK = 0.05  # part of the data that may follow the last packet: indices and padding
_TABLES = {"mov", "mp4", "m4a", "3gp", "3g2", "mj2"}
"""Formats whose index is a complete table of samples, by libavformat's names."""


@dataclass
class Reading:
    """What has been read of a file.

    Attributes:
        packets: Number of the video's packets, with those that an edit list hides.
        end: The byte behind the last packet of any stream.
    """

    packets: int = 0
    end: int = 0


def why_truncated(path: Path, formats: str, samples: int, read: Reading) -> str | None:
    """Says what a file lacks that has been read to its end.

    Args:
        path: The file.
        formats: The names of its container, separated by commas, as libavformat gives them.
        samples: Number of entries of the video's index.
        read: What has been read.

    Returns:
        The end of a message; None if nothing is missing.
    """
    names = set(formats.split(","))
    size = path.stat().st_size
    if names & _TABLES:
        if read.packets < samples:
            return f"{read.packets} of {samples} frames are there"
        return None
    data: tuple[int, int] | None = None
    with path.open("rb") as file:
        for name, end_of in STREAMS.items():
            if name in names:
                end = end_of(file, size)
                data = None if end is None else (0, end)
        if "avi" in names:
            parts = list(_movi(file, size))
            data = (parts[0][0], parts[-1][1]) if parts else None
        elif names & {"matroska", "webm"}:
            data = _segment(file)
    if data is None:
        return None
    start, end = data
    if end > size:
        return f"it ends at byte {size} and should go on to byte {end}"
    if "avi" in names and read.end < end - max(_SLACK * (end - start), 64):
        return f"nothing can be read behind byte {read.end} of {end}"
    if "avi" in names and read.packets < (1 - _SLACK) * samples:
        return f"{read.packets} of {samples} frames of its index can be read"
    return None


def _movi(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Yields first byte and end of each list of data of an AVI; none if they are not written."""
    place = 0
    while place + 12 <= size:
        file.seek(place)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        end = place + 8 + length
        if head[:4] == b"RIFF" and length:
            place += 12  # its parts
            continue
        if length == 0 and head[:4] in (b"RIFF", b"LIST"):
            return
        if head[:4] == b"LIST" and head[8:12] == b"movi":
            yield place + 12, end
        place = end + end % 2


def _segment(file: BinaryIO) -> tuple[int, int] | None:
    """Returns first byte and end of a Matroska segment; None if its length is not written."""
    file.seek(4)
    length = _varying(file)
    if length is None:
        return None
    file.seek(length, 1)
    if file.read(4) != b"\x18\x53\x80\x67":
        return None
    length = _varying(file)
    return None if length is None else (file.tell(), file.tell() + length)


def _varying(file: BinaryIO) -> int | None:
    """Reads a number of EBML, whose first byte gives its length; None if it is not known."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    bits = 7 * (more + 1)
    value = int.from_bytes(first + file.read(more), "big") & ((1 << bits) - 1)
    return None if value == (1 << bits) - 1 else value
