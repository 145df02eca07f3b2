"""Files of Keras: `.h5` of its versions 1 to 3, `.weights.h5`, and the zip file `.keras`.

Keys are `layer/kernel`, as version 3 has them, with the `:0` that earlier versions write where the
file has it. Nothing of the model is built: Lambda layers and the like are not run.
"""

import importlib.util
import json
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
from weights_port.formats.keras_graph import make_graph, variable_names
from weights_port.formats.limits import copy_limited, most_unpacked
from weights_port.formats.source import Source, map_file

WEIGHTS = "model.weights.h5"  # in a .keras file
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
            return _read(path, path, Path(folder), "")
        inner = Path(folder) / WEIGHTS
        try:
            with zipfile.ZipFile(path) as archive:
                entry = archive.getinfo(WEIGHTS)
                most = most_unpacked(path)
                with archive.open(entry) as packed, open(inner, "wb") as out:
                    copy_limited(packed, out, most, f"{path}: {WEIGHTS}")
                with archive.open("config.json") as packed:
                    config = packed.read(most).decode("utf-8", "replace")
        except (zipfile.BadZipFile, KeyError, OSError, EOFError, ValueError, RuntimeError,
                NotImplementedError, zlib.error) as error:  # fmt: skip
            raise InputError(
                f"{path} looks like a .keras file but cannot be read ({error}): truncated or "
                "damaged; save or download it again"
            ) from error
        return _read(path, inner, Path(folder), config)


def _read(path: Path, hdf5: Path, folder: Path, config: str) -> Source:
    """Reads the HDF5 file; `path` is what messages name."""
    copies = folder / "copies"
    found = _index(path, hdf5, copies)
    attributes = found["attributes"]
    top = attributes.get("", {})
    legacy = any(entry["name"].startswith("model_weights/") for entry in found["arrays"])
    root = "model_weights/" if legacy else ""
    config = config or "".join(top.get("model_config", []))
    settings = _config(config)
    views = {False: map_file(hdf5)}
    if copies.stat().st_size:
        views[True] = map_file(copies)
    arrays: dict[str, np.ndarray] = {}
    left_out = 0
    for entry in found["arrays"]:
        name = entry["name"].removeprefix(root)
        if not entry["name"].startswith(root) or name.split("/")[0] in _NOT_WEIGHTS:
            left_out += 1
            continue
        key = variable_names(name, attributes, settings)
        if key in arrays:
            key = name
        arrays[key] = _array(path, key, entry, views[entry["copied"]])
    if not arrays:
        raise InputError(
            f"{path} is an HDF5 file without weights of Keras ({len(found['arrays'])} arrays); "
            "expected what model.save or model.save_weights writes"
        )
    arrays = _ordered(arrays, attributes.get(root.rstrip("/"), {}))
    version = "".join(top.get("keras_version", [])) or (
        "".join(attributes.get("model_weights", {}).get("keras_version", []))
    )
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


def _config(text: str) -> dict[str, Any]:
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


def _ordered(arrays: dict[str, np.ndarray], attributes: dict[str, Any]) -> dict[str, np.ndarray]:
    """The arrays in the order of the layers, where the file tells it; HDF5's own is by name."""
    names = [name for key in sorted(attributes, key=_by_number) if key.startswith("layer_names")
             for name in attributes[key]]  # fmt: skip
    place = {name: number for number, name in enumerate(names)}
    order = sorted(arrays, key=lambda key: place.get(key.split("/")[0], len(place)))
    return {key: arrays[key] for key in order}


def _by_number(key: str) -> tuple[int, str]:
    return len(key), key  # layer_names2 before layer_names10
