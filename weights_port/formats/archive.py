"""A checkpoint inside a `.tar`, `.tar.gz` or `.zip`, read without unpacking the archive.

Only one member is copied, the one that looks like weights or that the user names. It goes to a
temporary file whose name is ours: the names in the archive are never used as paths. The file is
removed at once, and stays mapped.
"""

import io
import re
import shlex
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from prernn_jax.errors import InputError
from weights_port.formats.limits import copy_limited, most_unpacked
from weights_port.formats.source import Source

_MOST_MEMBERS = 20_000
_WEIGHTS = re.compile(
    r".*\.(pth|pt|pickle|pkl|bin|safetensors|caffemodel|binaryproto|onnx|h5|hdf5|keras|npz|ckpt"
    r"|pb|tar|params|pdparams|tflite|gguf|mat|t7|weights|msgpack|index)"
    r"|.*\.ckpt-?\d*(\.data-.*)?",
    re.IGNORECASE,
)
_NO_WEIGHTS = re.compile(r"(^|/)(\.(?!\.)[^/]*$|__MACOSX/)")  # what systems leave beside the files
_MAGIC = (b"PK\3\4", b"\x80\2", b"\x89HDF", b"\x93NUMPY")
_FAULTS = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError,
    RuntimeError, NotImplementedError, OverflowError,
)  # fmt: skip


def read_archive(
    path: Path, read: Callable[[Path], Source], *, zipped: bool, member: str | None = None
) -> Source:
    """Reads one file of weights in an archive.

    Args:
        path: The archive.
        read: Reads a file of weights.
        zipped: Whether it is a zip file; otherwise a tar, packed or not.
        member: The file's name in the archive; needed where several may be weights.

    Raises:
        InputError: The archive is damaged, it does not hold the file, it holds no file of weights,
            or it holds several and none was named.
    """
    try:
        member = _chosen(path, zipped, member)
        with tempfile.TemporaryDirectory(prefix="prernn-port-") as folder:
            inner = Path(folder) / "member"
            with open(inner, "wb") as out:
                for name, opened in _members(path, zipped):
                    if name == member:
                        copy_limited(opened(), out, most_unpacked(path), f"{path}: {member}")
                        break
            source = _read(path, member, inner, read)
    except InputError:
        raise
    except _FAULTS as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if "could not be opened" in what:
            what = "no tar file; if it is a single packed file, unpack it with gunzip or the like"
        raise InputError(
            f"{path} is an archive that cannot be read ({what}): truncated or damaged; write or "
            "download it again"
        ) from error
    source.path = path
    source.format += f", in {'a zip file' if zipped else 'a tar file'}"
    source.notes.insert(0, f"read from {member} in the archive")
    source.member = member
    return source


def _read(path: Path, member: str, inner: Path, read: Callable[[Path], Source]) -> Source:
    try:
        return read(inner)
    except InputError as error:
        raise InputError(str(error).replace(str(inner), f"{path}, member {member},")) from error


def _chosen(path: Path, zipped: bool, member: str | None) -> str:
    """The name of the member that the user names, or of the one that looks like weights."""
    able: list[str] = []
    others: list[str] = []
    for name, opened in _members(path, zipped):
        if len(able) + len(others) >= _MOST_MEMBERS:
            raise InputError(f"{path} holds more than {_MOST_MEMBERS} files; unpack it first")
        if _NO_WEIGHTS.search(name):
            continue
        start = opened().read(8)
        weights = _WEIGHTS.fullmatch(name) or start.startswith(_MAGIC)
        (able if weights and start else others).append(name)
    if member is not None:
        if member not in able + others:
            raise InputError(
                f"{path} holds no file {member!r}; --member takes one of: {_some(able + others)}"
            )
        return member
    if not able:
        raise InputError(
            f"{path} is an archive without a file of weights ({_some(others)}); expected one with "
            "a .pth, .caffemodel, .onnx, .h5 or the like in it"
        )
    if len(able) > 1:
        raise InputError(
            f"{path} holds several files that may be weights: {_some(able)}. Say which one you "
            f"want: --member {shlex.quote(able[0])}"
        )
    return able[0]


def _some(names: list[str]) -> str:
    if not names:
        return "it is empty"
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _members(path: Path, zipped: bool) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """Name of every ordinary file, and what opens it until the next one is asked for."""
    if zipped:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    yield _shown(entry.filename), _opener(archive.open, entry)
        return
    with tarfile.open(path, "r:*") as tar:
        for member in tar:
            if member.isreg():  # no links and no devices
                yield _shown(member.name), _opener(tar.extractfile, member)


def _opener(opens: Callable[[Any], IO[bytes] | None], entry: Any) -> Callable[[], IO[bytes]]:
    return lambda: opens(entry) or io.BytesIO()


def _shown(name: str) -> str:
    """A member's name on one line."""
    return "".join(char if char.isprintable() else "?" for char in name)[:200]
