"""Files of named numpy arrays (`.npz`), read whole."""

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NPZ_FAULTS = (
    OSError, EOFError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError,
    RuntimeError, MemoryError, SyntaxError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What numpy and zipfile raise for damaged files."""


def fault_of(error: BaseException) -> str:
    """What a damaged file is told by: one short line, whatever the file's own names hold."""
    text = " ".join(str(error).split())
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return f"{type(error).__name__}: {shown[:200]}"


def read_npz(path: Path, largest: int | None = None) -> dict[str, NDArray]:
    """Reads all arrays by name; pickled objects are refused.

    Args:
        path: The file.
        largest: The most bytes that the arrays may have together; None for no limit.

    Raises:
        NPZ_FAULTS: The file is damaged or too large. The caller says what to do about it.
    """
    # Opened here, for numpy leaves a damaged file open.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        size = sum(entry.file_size for entry in file.zip.infolist())
        if largest is not None and size > largest:
            raise ValueError(f"unpacked it has {size} bytes")
        if (damaged := file.zip.testzip()) is not None:  # numpy may stop before the checksum
            raise ValueError(f"{damaged} has another checksum")
        return {name: file[name] for name in file.files}
