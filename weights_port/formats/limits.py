"""How much a packed file may grow, so that a forged one fills neither memory nor disk."""

import io
from pathlib import Path
from typing import IO

from prernn_jax.errors import InputError

_TIMES = 50  # weights shrink to a half at best; a file of zeros is no reason to fill the disk
_AT_LEAST = 2**26
_BLOCK = 2**20


def most_unpacked(path: Path) -> int:
    """Bytes that the contents of a packed file may have."""
    return max(_TIMES * path.stat().st_size, _AT_LEAST)


def copy_limited(packed: IO[bytes], out: IO[bytes], most: int, where: str) -> None:
    """Unpacks a stream into a file, up to a number of bytes.

    Raises:
        InputError: It is longer.
    """
    written = 0
    while block := packed.read(_BLOCK):
        written += len(block)
        if written > most:
            raise InputError(
                f"{where} grows beyond {most:,} bytes when it is unpacked, which no weights do; "
                "nothing was read"
            )
        out.write(block)


def read_limited(packed: IO[bytes], most: int, where: str) -> bytes:
    """Unpacks a stream into memory, up to a number of bytes; see `copy_limited`."""
    out = io.BytesIO()
    copy_limited(packed, out, most, where)
    return out.getvalue()
