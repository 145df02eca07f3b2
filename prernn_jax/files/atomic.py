"""The one way in which files are written: under a temporary name, flushed to disk, then renamed.

A reader sees the old file or the whole new one, never a part of it, also after a kill, a full disk
or a power cut.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yields a temporary name beside `path`; what is written there becomes `path`.

    Args:
        path: The final name; an existing file is replaced.
        durable: Wait until the disk holds the file before it is renamed.

    Yields:
        A name in the same folder with the same ending, under which no file exists.

    Raises:
        OSError: The file cannot be written. Whatever happens in the block, an earlier file `path`
            stays as it was and the temporary file is removed.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        with suppress(FileNotFoundError):  # left by a killed process of the same number
            temporary.unlink()
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Writes a text file in UTF-8; see `replacing`."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, indented by two; see `replacing`."""
    write_text(path, json.dumps(content, indent=2) + "\n")
