"""Where files of formats without an index say that they end: GIF, FLV, ASF (WMV), MPEG."""

from collections.abc import Callable
from typing import BinaryIO

End = Callable[[BinaryIO, int], int | None]
"""An open file and its size -> the byte behind its last part; None where nothing says it."""

_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_PACK, _END = 0xBA, 0xB9
_PACKETS = 188, 192, 204
"""Bytes of a packet of a transport stream: plain, with a time, with a checksum."""


def _of_gif(file: BinaryIO, size: int) -> int | None:
    file.seek(max(0, size - 1024))
    closed = b"\0;" in file.read()  # other bytes may follow
    return size if closed else size + 1


def _of_flv(file: BinaryIO, size: int) -> int | None:
    file.seek(0)
    head = file.read(9)
    place = int.from_bytes(head[5:9], "big") + 4  # each tag is followed by its own length
    while place < size:
        file.seek(place)
        tag = file.read(4)
        place += 11 + int.from_bytes(tag[1:4], "big") + 4
    return place - 4  # some programs leave the last length out


def _of_asf(file: BinaryIO, _: int) -> int | None:
    file.seek(0)
    place = file.read(65_536).find(_ASF_FILE)
    if place < 0:
        return None
    file.seek(place + 24 + 16)
    length = int.from_bytes(file.read(8), "little")
    file.seek(place + 88)
    is_live = int.from_bytes(file.read(4), "little") & 1
    return None if is_live or not length else length


def _of_program_stream(file: BinaryIO, size: int) -> int | None:
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(14)
        if len(head) < 6:
            return place + 6
        if head[:3] != b"\0\0\1" or head[3] < _END:
            return None  # zeros for padding, or what no rule describes
        if head[3] == _END:
            place += 4
        elif head[3] == _PACK:  # of MPEG-2 or MPEG-1
            place += 14 + (head[-1] & 7) if head[4] >> 6 == 1 else 12
        else:
            length = int.from_bytes(head[4:6], "big")
            if not length:
                return None
            place += 6 + length
    return place


def _of_transport_stream(file: BinaryIO, size: int) -> int | None:
    for length in _PACKETS:
        for start in (0, 4):
            file.seek(start)
            if all(file.read(length)[:1] == b"G" for _ in range(5)):
                return size if size % length == 0 else size - size % length + length
    return None


STREAMS: dict[str, End] = {
    "gif": _of_gif,
    "flv": _of_flv,
    "asf": _of_asf,
    "mpeg": _of_program_stream,
    "mpegts": _of_transport_stream,
}
"""Format, by libavformat's name -> where its file ends."""
