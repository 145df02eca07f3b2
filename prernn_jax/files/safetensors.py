"""The safetensors container: eight bytes of length, a JSON header, the arrays' bytes.

Written here and not with the `safetensors` package for three reasons: arrays are streamed to the
disk block by block, so that a transposed view of a large weight is never held twice; reading hands
out views of the mapped file, where the package copies every array; and a header with a name twice
is refused, where the package takes the last one. Tests hold the files equal to what the package
reads and writes.

A file that is written here holds a digest in its metadata, of all bytes of the arrays and all that
the header says. Reading checks it. A file of another program, or of an older version, has none.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from prernn_jax.errors import InputError
from prernn_jax.files.array_blocks import Outgoing, write_blocks
from prernn_jax.files.atomic import replacing

DTYPES: dict[str, np.dtype] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_HEADER_LIMIT = 100_000_000  # bytes; the limit of the reference implementation
_DIGEST = "prernn_jax.sha256"  # the metadata's key


def write(
    path: Path,
    arrays: Mapping[str, np.ndarray | Outgoing],
    metadata: Mapping[str, str],
    *,
    late: Callable[[], Mapping[str, str]] | None = None,
    durable: bool = True,
) -> None:
    """Writes `arrays` (any strides) and `metadata` to the file `path`, which must not exist yet.

    The digest of both comes into the file's metadata.

    Args:
        path: The file.
        arrays: By name.
        metadata: Text by text.
        late: Called when the arrays are written; gives texts that replace those of the same
            length in the metadata, so that a checksum can be computed meanwhile.
        durable: Wait until the disk has it all: then not even a power cut loses it.

    Raises:
        InputError: An array has a dtype that the format lacks.
        OSError: The disk is full, the folder does not exist, ...
    """
    # Wide types first: then every array starts at a multiple of its item size.
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": {**metadata, _DIGEST: "0" * 64}}
    offset = 0
    for name in order:
        array = arrays[name]
        if array.dtype not in _NAMES:
            raise InputError(f"{name!r} has dtype {array.dtype}; expected one of {list(DTYPES)}")
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = _header_text(header)
    with open(path, "xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        content = hashlib.sha256()
        write_blocks(file, (arrays[name] for name in order), content)
        header["__metadata__"] |= {} if late is None else late()
        header["__metadata__"][_DIGEST] = _digest(content, header)
        if len(_header_text(header)) != len(text):
            raise ValueError("the late metadata are not as long as their placeholders")
        file.seek(8)
        file.write(_header_text(header))
        file.flush()
        if durable:
            os.fsync(file.fileno())


def write_safely(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray | Outgoing],
    metadata: Mapping[str, str],
    *,
    overwrite: bool = False,
    late: Callable[[], Mapping[str, str]] | None = None,
    durable: bool = True,
) -> None:
    """`write` under a temporary name, then rename: never half a file under the final name.

    Raises:
        InputError: The file exists and `overwrite` is false, or it cannot be written.
    """
    final = Path(path)
    try:
        if final.exists() and not overwrite:
            raise InputError(f"{final} exists already; choose another name or ask to overwrite it")
        with replacing(final, durable=False) as temporary:  # `write` itself waits for the disk
            write(temporary, arrays, metadata, late=late, durable=durable)
    except OSError as error:
        raise InputError(
            f"cannot write {final}: {error.strerror or error}; check the folder, its permissions "
            "and the free space"
        ) from error


def read(
    path: str | os.PathLike[str], *, check_digest: bool = True
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a safetensors file.

    Args:
        path: The file.
        check_digest: Compare the contents with the digest in the file, where there is one. That
            reads the whole file, at about 0.6 GB a second. False is for who needs no array.

    Returns:
        The arrays by name, read-only views of the mapped file, and the metadata.

    Raises:
        InputError: No such file, or it is truncated, foreign, inconsistent or not as it was
            written.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise InputError(f"{path} is empty; download or write it again")
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or not 2 <= length <= min(size - 8, _HEADER_LIMIT):
                raise InputError(_foreign(path, start, size))
            text = file.read(length)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        header = json.loads(text.decode(), object_pairs_hook=_once_each)
        if text[:1] != b"{" or not isinstance(header, dict):
            raise ValueError("the header is no JSON object")
        _header_text(header)  # what cannot be encoded cannot be printed either
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(_foreign(path, start + text[:64], size)) from error
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise InputError(f"{path}: the metadata of a safetensors file must map text to text")
    data = np.frombuffer(mapped, np.uint8)[8 + length :]
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    arrays = {name: _view(path, name, entry, data) for name, entry in entries.items()}
    _check_places(path, entries, data.size)
    written = metadata.get(_DIGEST)
    damaged = check_digest and written and written != _digest(hashlib.sha256(data.data), header)
    if damaged:
        raise InputError(
            f"{path} is damaged: its contents are not those that were written (the SHA-256 in the "
            "file differs); copy, download or make it again"
        )
    return arrays, {key: value for key, value in metadata.items() if key != _DIGEST}


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"the header names {twice!r} twice; the file is not valid")
    return found


def _check_places(path: str | os.PathLike[str], entries: Mapping[str, Any], size: int) -> None:
    """The arrays must lie one behind the other, from the first byte of the data to the last."""
    end, before = 0, "the header"
    places = [(*entry["data_offsets"], name) for name, entry in entries.items()]
    for first, last, name in sorted(places):
        if first != end:
            fault = "a hole before" if first > end else "an overlap with"
            raise InputError(
                f"{path}: {name!r} begins at byte {first} of the data, but {before} ends at byte "
                f"{end}: {fault} {name!r}; the file is not valid"
            )
        end, before = last, repr(name)
    if end != size:
        raise InputError(
            f"{path}: the last {size - end} bytes belong to no array; the file is not valid"
        )


def _digest(content: Any, header: Mapping[str, Any]) -> str:
    """SHA-256 of the arrays' bytes, which `content` has taken in, and then of the header."""
    metadata = {k: v for k, v in header.get("__metadata__", {}).items() if k != _DIGEST}
    whole = {**header, "__metadata__": metadata}
    content.update(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode())
    digest: str = content.hexdigest()
    return digest


def _header_text(header: Mapping[str, Any]) -> bytes:
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _view(path: str | os.PathLike[str], name: str, entry: Any, data: np.ndarray) -> np.ndarray:
    """One array as a view of the file's bytes; every number in `entry` is distrusted."""
    try:
        dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [first, last, *shape]
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{path}: the header entry of {name!r} is not a tensor's") from error
    if not all(type(n) is int and n >= 0 for n in numbers):
        raise InputError(f"{path}: the header entry of {name!r} holds no valid sizes")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise InputError(f"{path}: {name!r} has dtype {dtype!r}; known are {', '.join(DTYPES)}")
    if last > data.size:
        raise InputError(
            f"{path} is truncated: {name!r} ends at byte {last} of the data, the file holds "
            f"{data.size}; download or write it again"
        )
    count = 1
    for n in shape:  # Python integers: no overflow
        count *= n
    if len(shape) > 32 or count * DTYPES[dtype].itemsize != last - first:
        raise InputError(
            f"{path}: {name!r} of shape {shape} and dtype {dtype} does not fit its "
            f"{last - first} bytes"
        )
    raw = data[first:last]
    try:
        return raw.view(DTYPES[dtype]).reshape(shape)
    except (ValueError, OverflowError) as error:  # a dimension beyond the machine's integers
        raise InputError(f"{path}: {name!r} has an impossible shape {shape}") from error


def _foreign(path: str | os.PathLike[str], start: bytes, size: int) -> str:
    """What a file that is not safetensors seems to be, and what to do."""
    expected = "expected a safetensors file"
    if start.lstrip()[:1] == b"<":
        return (
            f"{path} is an HTML or XML page, not weights ({expected}): a failed download; "
            "open the address in a browser and download again"
        )
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return (
            f"{path} is a PyTorch (or zip or pickle) file, {expected}; convert it with "
            "`prernn port convert`"
        )
    return (
        f"{path} ({size} bytes) is truncated or no safetensors file ({expected}); download it "
        "again, or convert it with `prernn port convert`"
    )
