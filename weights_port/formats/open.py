"""A file of weights opened by what its bytes say."""

from pathlib import Path

from prernn_jax.errors import InputError
from prernn_jax.files import safetensors
from weights_port.formats.caffe import read_caffe
from weights_port.formats.source import Source
from weights_port.formats.torch import read_torch


def open_source(path: Path) -> Source:
    """Reads a file of weights of any known format.

    Raises:
        InputError: There is no such file, or it is empty, truncated or of no known format.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            start = file.read(512)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if size == 0:
        raise InputError(f"{path} is empty; download or write it again")
    if start.lstrip()[:1] == b"<":
        raise InputError(
            f"{path} is an HTML or XML page, not weights: a failed download; open the address in "
            "a browser and download again"
        )
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return read_torch(path, zipped=start[:2] == b"PK")
    if start[8:9] == b"{":
        arrays, metadata = safetensors.read(path)
        return Source(path, "safetensors", "torch", arrays, metadata=metadata)
    return read_caffe(path)
