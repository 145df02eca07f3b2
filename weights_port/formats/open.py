"""A file of weights opened by what its bytes say."""

import functools
import zipfile
from pathlib import Path

from prernn_jax.errors import InputError
from prernn_jax.files import safetensors
from weights_port.formats import keras, onnx
from weights_port.formats.archive import read_archive
from weights_port.formats.caffe import read_caffe
from weights_port.formats.foreign import name_folder, name_foreign
from weights_port.formats.npz import read_npz
from weights_port.formats.protobuf_wire import fields
from weights_port.formats.source import Source, map_file
from weights_port.formats.torch import read_torch

READ = "PyTorch, safetensors, Caffe, ONNX, Keras and numpy's .npz"
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_TAR, _OLD_TORCH_TAR = b"ustar", (b"sys_info", b"pickle", b"tensors", b"storages")


def open_source(path: Path, *, member: str | None = None, inside: bool = False) -> Source:
    """Reads a file of weights of any known format.

    Args:
        path: The file.
        member: The file to read in an archive; None takes the only one that may be weights.
        inside: Whether it comes out of an archive, in which no further archive is opened.

    Raises:
        InputError: There is no such file, or it is empty, truncated or of a format that is not
            read (the message then names the format and the way to convert it); or it is an
            archive without the member, or no archive although a member is named.
    """
    source = _open(path, member, inside)
    if member is not None and not source.member:
        raise InputError(f"{path} is {source.format}, no archive: leave out --member {member}")
    return source


def _open(path: Path, member: str | None, inside: bool) -> Source:
    try:
        if path.is_dir():
            raise InputError(f"{path} is {name_folder(path)}")
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
    if start[:2] == b"PK":
        return _open_zip(path, member, inside)
    packed = start.startswith(_PACKED)
    if packed or start[257:262] == _TAR:
        if inside:
            raise InputError(f"{path} is an archive in an archive; unpack the outer one first")
        return read_archive(path, _READ_INSIDE, zipped=False, member=member)
    if start[:8] == _HDF5 and b"MATLAB" not in start:
        return keras.read_keras(path)
    view = map_file(path)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < size:
        arrays, metadata = safetensors.read(path)
        return Source(path, "safetensors", "torch", arrays, metadata=metadata)
    if foreign := name_foreign(path, view):
        raise InputError(f"{path} is {foreign} (read here are {READ})")
    if start[:1] == b"\x80":
        return read_torch(path, zipped=False)
    return onnx.read_onnx(path) if _is_onnx(view) else read_caffe(path)


_READ_INSIDE = functools.partial(open_source, inside=True)


def _open_zip(path: Path, member: str | None, inside: bool) -> Source:
    """One of the four formats that are zip files, or an archive around another file."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return read_torch(path, zipped=True)  # torch's own message is better
    parts = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in parts and any("/code/" in name for name in names):
        raise InputError(
            f"{path} is a TorchScript archive, a program with its weights; nothing was run. Load "
            "it in PyTorch (torch.jit.load) and save its weights: torch.save(model.state_dict(), "
            "'weights.pth')"
        )
    if "data.pkl" in parts:
        return read_torch(path, zipped=True)
    if keras.WEIGHTS in names and "config.json" in names:
        return keras.read_keras(path, zipped=True)
    if names and all(name.endswith(".npy") for name in names):
        return read_npz(path)
    if inside:
        raise InputError(f"{path} is an archive in an archive; unpack the outer one first")
    return read_archive(path, _READ_INSIDE, zipped=True, member=member)


def _is_onnx(view: memoryview) -> bool:
    """Whether a protobuf message is an ONNX model: a version, a graph and no Caffe blob's data."""
    found = [(field.number, field.wire) for field in fields(view, 64)]
    return found[:1] == [(1, 0)] and (onnx.GRAPH, 2) in found and (5, 2) not in found
