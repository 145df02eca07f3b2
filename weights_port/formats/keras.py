"""Files of Keras: `.h5` of its versions 1 to 3, `.weights.h5`, and the zip file `.keras`.

Keys are `layer/kernel`, as version 3 has them, with the `:0` that earlier versions write where the
file has it. Nothing of the model is built: Lambda layers and the like are not run.
"""

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from prernn_jax.errors import InputError
from weights_port.formats import hdf5_index
from weights_port.formats.keras_graph import VARIABLES, layer_names, make_graph, variable_names
from weights_port.formats.limits import copy_limited, most_unpacked
from weights_port.formats.source import Source, map_file

WEIGHTS = "model.weights.h5"  # in a .keras file
_CONFIG, _ABOUT = "config.json", "metadata.json"  # beside it
_TIMEOUT = 60  # seconds of the process that lists the arrays
_NOT_WEIGHTS = ("optimizer_weights", "optimizer", "_optimizer", "metrics", "loss_tracker")


def read_keras(path: Path, *, zipped: bool = False) -> Source:
    """Reads the arrays of a Keras file by name.

    Args:
        path: The file.
        zipped: Whether it is a `.keras`, whose arrays are unpacked to a temporary file.

    Raises:
        InputError: The package h5py is missing, or the file is damaged or not from Keras.
    """
    if importlib.util.find_spec("h5py") is None:
        raise InputError(
            f"{path} is an HDF5 file, of Keras perhaps, and the package h5py is not installed: "
            "pip install 'prernn-jax[keras]'"
        )
    with tempfile.TemporaryDirectory(prefix="prernn-port-") as folder:
        if not zipped:
            return _read(path, path, Path(folder), {}, "")
        inner = Path(folder) / WEIGHTS
        try:
            with zipfile.ZipFile(path) as archive:
                entry = archive.getinfo(WEIGHTS)
                most = most_unpacked(path)
                with archive.open(entry) as packed, open(inner, "wb") as out:
                    copy_limited(packed, out, most, f"{path}: {WEIGHTS}")
                config, about = (_json(archive, name, most) for name in (_CONFIG, _ABOUT))
        except (zipfile.BadZipFile, KeyError, OSError, EOFError, ValueError, RuntimeError,
                NotImplementedError, zlib.error) as error:  # fmt: skip
            raise InputError(
                f"{path} looks like a .keras file but cannot be read ({error}): truncated or "
                "damaged; save or download it again"
            ) from error
        return _read(path, inner, Path(folder), config, str(about.get("keras_version", "")))


def _json(archive: zipfile.ZipFile, name: str, most: int) -> dict[str, Any]:
    """One of the texts in a `.keras` file; {} where it is none."""
    if name not in archive.namelist():
        return {}
    with archive.open(name) as packed:
        return _object(packed.read(most).decode("utf-8", "replace"))


def _read(path: Path, hdf5: Path, folder: Path, settings: dict[str, Any], version: str) -> Source:
    """Reads the HDF5 file; `path` is what messages name."""
    copies = folder / "copies"
    found = _index(path, hdf5, copies)
    attributes = found["attributes"]
    top = attributes.get("", {})
    legacy = any(entry["name"].startswith("model_weights/") for entry in found["arrays"])
    root = "model_weights/" if legacy else ""
    settings = settings or _object("".join(top.get("model_config", [])))
    views = {False: map_file(hdf5)}
    if copies.stat().st_size:
        views[True] = map_file(copies)
    arrays: dict[str, np.ndarray] = {}
    owners: dict[str, str] = {}
    left_out = 0
    for entry in found["arrays"]:
        name = entry["name"].removeprefix(root)
        if not entry["name"].startswith(root) or name.split("/")[0] in _NOT_WEIGHTS:
            left_out += 1
            continue
        key = variable_names(name, attributes, settings)
        if key in arrays:
            key = name
        owners[key] = (key if "/vars/" in name else name).partition("/")[0]
        arrays[key] = _array(path, key, entry, views.get(entry["copied"], memoryview(b"")))
    if not arrays:
        raise InputError(
            f"{path} is an HDF5 file without weights of Keras ({len(found['arrays'])} arrays); "
            "expected what model.save or model.save_weights writes"
        )
    groups = {name.removeprefix(root): texts for name, texts in attributes.items()}
    names = _list(attributes, root.rstrip("/"), "layer_names") or layer_names(settings)
    arrays = _ordered(arrays, owners, groups, names)
    for group in ("", "model_weights"):
        version = version or "".join(attributes.get(group, {}).get("keras_version", []))
    notes = [f"left out, no weights: {left_out} arrays of the optimizer"] if left_out else []
    graph = make_graph(settings, arrays)
    kind = f"Keras {version}".strip() + (", .h5" if hdf5 == path else ", .keras")
    return Source(path, kind, "keras", arrays, notes, graph=graph)


def _index(path: Path, hdf5: Path, copies: Path) -> dict[str, Any]:
    """What `hdf5_index` finds in the file."""
    program = [sys.executable, "-I", hdf5_index.__file__]
    command = [*program, str(hdf5.resolve()), str(copies), str(most_unpacked(hdf5))]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT, check=True)
        found = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError) as error:
        what = "it takes too long" if isinstance(error, subprocess.TimeoutExpired) else "it crashed"
        found = {"error": f"{what} in the HDF5 library"}
    if "error" in found:
        raise InputError(
            f"{path} is an HDF5 file that cannot be read ({found['error']}): truncated or damaged; "
            "save or download it again"
        )
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _array(path: Path, key: str, entry: dict[str, Any], view: memoryview) -> np.ndarray:
    """The array as a view; neither place nor size is trusted."""
    dtype, shape, offset = np.dtype(entry["dtype"]), tuple(entry["shape"] or ()), entry["offset"]
    count = 1
    for size in shape:
        count *= size
    end = offset + count * dtype.itemsize
    if offset < 0 or end > len(view):
        raise InputError(f"{path}: {key} ends at byte {end} of {len(view)}; truncated or damaged")
    return np.frombuffer(view[offset:end], dtype).reshape(shape)


def _ordered(
    arrays: dict[str, np.ndarray],
    owners: dict[str, str],
    attributes: dict[str, dict[str, list[str]]],
    names: list[str],
) -> dict[str, np.ndarray]:
    """The arrays in the order of the layers, as far as the file tells it.

    HDF5 keeps names in alphabetical order; without any other, at least 10 comes after 2.

    Args:
        arrays: By key.
        owners: Key -> the layer that the array belongs to.
        attributes: Layer -> its group's attributes, for versions 1 and 2.
        names: The layers in order.
    """
    place = {name: number for number, name in enumerate(names)}

    def order(key: str) -> tuple[int, list[tuple[str, int]], int]:
        layer = owners[key]
        variable = key.rpartition("/")[2].removesuffix(":0")
        listed = [name.rpartition("/")[2] for name in _list(attributes, layer, "weight_names")]
        last = key.rpartition("/")[2]
        if last in listed:
            within = listed.index(last)
        else:
            within = VARIABLES.index(variable) if variable in VARIABLES else len(VARIABLES)
        return place.get(layer, len(place)), [] if layer in place else _numbered(layer), within

    return {key: arrays[key] for key in sorted(arrays, key=order)}


def _list(attributes: dict[str, dict[str, list[str]]], group: str, key: str) -> list[str]:
    """A list among a group's attributes; long ones are split into key0, key1 and so on."""
    found = attributes.get(group, {})
    parts = sorted((name for name in found if name.rstrip("0123456789") == key), key=_numbered)
    return [name for part in parts for name in found[part]]


def _numbered(name: str) -> list[tuple[str, int]]:
    """For sorting: conv2d_2 before conv2d_10."""
    return [(word, int(digits or 0)) for word, digits in re.findall(r"(\D*)(\d{0,9})", name)]
