"""Pre-trained networks on disk: one safetensors file, from which the network is built again.

The arrays carry the flat names of the network's variables (`conv1_1.kernel`,
`layer4.2.conv3.kernel`, `bn1.mean`). The metadata say how to build the network:

| key | value |
| --- | --- |
| `architecture` | `vgg16`, `c3d`, `resnet` or `compact_vgg` |
| `arguments` | the constructor's arguments as a JSON object; `{}` is the published network |
| `variant` | optional: the constructor's `variant`, where the weights' origin decides it |
| `preprocessing` | optional: what these weights expect of images, see `preprocess.py` |
| `sequence`, `inference` | only in files of sequence models, see `models.py` |
| `nonfinite` | optional: `allowed` where NaN and infinity among the weights are no fault |

What else the metadata say is kept in the network's attribute `notes` and written again.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from prernn_jax import remote
from prernn_jax.backbones.head import constructor_arguments
from prernn_jax.errors import InputError
from prernn_jax.files import safetensors
from prernn_jax.files.architectures import ARCHITECTURES, build
from prernn_jax.files.described import check_values
from prernn_jax.json_values import plain
from prernn_jax.preprocess import Preprocessing

VOLUME = "preprocessing.mean_volume"
_LISTED = 12  # names of each kind that an error message quotes
_DESCRIBED = ("architecture", "arguments", "variant", "preprocessing", "sequence", "inference")


def save_parameters(
    path: str | os.PathLike[str],
    parameters: Mapping[str, Any],
    metadata: Mapping[str, str],
    *,
    overwrite: bool = False,
) -> None:
    """Writes arrays and metadata as one safetensors file, under a temporary name first.

    Args:
        path: The file.
        parameters: Numpy or JAX arrays by flat dotted name, as `flat_parameters` gives them.
        metadata: Text by text; the table at the top of this module lists what loading needs.
        overwrite: Replace an existing file.

    Raises:
        InputError: The file exists and `overwrite` is false, or it cannot be written.
    """
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InputError(f"metadata must map text to text, got {key!r}: {value!r}")
    arrays = {name: np.asarray(value) for name, value in parameters.items()}
    safetensors.write_safely(path, arrays, metadata, overwrite=overwrite)


def read_parameters(
    path: str | os.PathLike[str],
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by flat name (read-only views of the mapped file) and metadata.

    Args:
        path: Of the file; gs://, s3:// and the like are copied to the cache first.

    Raises:
        InputError: The file is missing, truncated, an HTML page, in another format, or not as it
            was written.
    """
    return safetensors.read(remote.local(path))


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata of a file; its arrays are not read, so its digest is not checked.

    Raises:
        InputError: As for `read_parameters`.
    """
    return safetensors.read(remote.local(path), check_digest=False)[1]


def flat_parameters(model: nnx.Module) -> dict[str, jax.Array]:
    """All parameters and batch statistics of a network by flat dotted name."""
    state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    return {".".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(state)}


def load_pretrained(path: str | os.PathLike[str]) -> nnx.Module:
    """Reads a backbone; `prernn_jax.load` reads sequence models too.

    Returns:
        VGG16, C3D, ResNet or CompactVGG, with `model.preprocess` set when the file says what its
        weights expect: `model(model.preprocess(frames))` takes uint8 RGB frames (..., H, W, 3).

    Raises:
        InputError: The file is bad, does not say what it holds, or does not fit the network.
    """
    parameters, metadata = read_parameters(path)
    if "sequence" in metadata:
        raise InputError(
            f"{path} holds a sequence model, not a backbone; read it with prernn_jax.load"
        )
    preprocess = read_preprocessing(parameters, metadata, where=str(path))
    model = build(metadata, where=str(path), arrays=len(parameters))
    complete(model, model, parameters, metadata, preprocess, where=str(path))
    return model


def complete(
    model: nnx.Module,
    backbone: Any,
    parameters: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    preprocess: Preprocessing | None,
    *,
    where: str,
) -> None:
    """Gives a model, as `build` left it, a file's arrays and its backbone the file's notes.

    NaN and infinity are refused, unless the file was converted with `--allow-nonfinite`.

    Args:
        model: The backbone, or the sequence model around it.
        backbone: The backbone.
        parameters: The file's arrays.
        metadata: The file's metadata.
        preprocess: What `read_preprocessing` found in them.
        where: What to call the file in messages.

    Raises:
        InputError: The arrays do not fit the model, a weight is not finite, or the preprocessing
            is for another number of channels.
    """
    arrays = {name: array for name, array in parameters.items() if name != VOLUME}
    if preprocess is not None:
        _check_channels(preprocess, backbone.in_channels, where)
        backbone.preprocess = preprocess
    if metadata.get("nonfinite") != "allowed":
        check_values(arrays, where=where)
    fill(model, arrays, where=where)
    notes = tuple((key, value) for key, value in metadata.items() if key not in _DESCRIBED)
    if notes:
        backbone.notes = notes


def read_preprocessing(
    parameters: Mapping[str, np.ndarray], metadata: Mapping[str, str], *, where: str
) -> Preprocessing | None:
    """What a file says of its weights' images; None where it says nothing.

    Raises:
        InputError: It cannot be used.
    """
    if "preprocessing" not in metadata:
        return None
    try:
        return Preprocessing.from_json(metadata["preprocessing"], parameters.get(VOLUME))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _check_channels(preprocess: Preprocessing, channels: int, where: str) -> None:
    for name in ("mean", "std"):
        values = getattr(preprocess, name)
        if len(values) not in (1, channels):
            raise InputError(f"{where}: {name} has {len(values)} values for {channels} channels")


def describe(backbone: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What a file says of a backbone beside its parameters.

    Returns:
        Further arrays, and the metadata from which the backbone is built again.

    Raises:
        InputError: It is not a backbone of ours.
    """
    names = [name for name, kind in ARCHITECTURES.items() if type(backbone) is kind]
    if not names:
        raise InputError(
            f"a {type(backbone).__name__} cannot be built again from a file; only a backbone "
            f"({', '.join(ARCHITECTURES)}) or a model made from one is saved this way"
        )
    arguments = constructor_arguments(backbone)
    variant = {} if "variant" not in arguments else {"variant": arguments.pop("variant")}
    arrays, preprocessing = describe_preprocessing(backbone)
    return arrays, {
        **dict(getattr(backbone, "notes", ())),
        "architecture": names[0],
        "arguments": json.dumps(arguments, default=plain),
        **variant,
        **preprocessing,
    }


def describe_preprocessing(network: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What a file says of the `preprocess` of a network: further arrays, and metadata."""
    preprocess = getattr(network, "preprocess", None)
    if not isinstance(preprocess, Preprocessing):
        return {}, {}
    volume = preprocess.mean_volume
    return {} if volume is None else {VOLUME: volume}, {"preprocessing": preprocess.to_json()}


def fill(model: nnx.Module, parameters: Mapping[str, np.ndarray], *, where: str) -> None:
    """Puts arrays by flat name into a network: one for each variable, and no others.

    Raises:
        InputError: Lists all missing names, unknown names and wrong shapes together.
    """
    check_fit(parameters, flat_shapes(model), where=where)
    state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    for path, leaf in nnx.to_flat_state(state):
        leaf.set_value(jnp.asarray(parameters[".".join(map(str, path))], leaf.dtype))
    nnx.update(model, state)


def flat_shapes(model: nnx.Module) -> dict[str, tuple[int, ...]]:
    """Shapes by flat dotted name; the network's arrays may be abstract."""
    state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    return {".".join(map(str, path)): leaf.shape for path, leaf in nnx.to_flat_state(state)}


def check_fit(
    parameters: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]], *, where: str
) -> None:
    """Compares arrays by name with the shapes that a network needs.

    Raises:
        InputError: Lists all missing names, unknown names and wrong shapes together.
    """
    shapes = {
        f"{name} {parameters[name].shape} instead of {shape}"
        for name, shape in wanted.items()
        if name in parameters and parameters[name].shape != shape
    }
    faults = {
        "missing": wanted.keys() - parameters.keys(),
        "unknown": parameters.keys() - wanted.keys(),
        "wrong shape": shapes,
    }
    if any(faults.values()):
        text = "; ".join(f"{kind}: {_some(names)}" for kind, names in faults.items() if names)
        raise InputError(f"{where} does not fit the network: {text}")


def _some(names: Any) -> str:
    ordered = sorted(names)
    rest = len(ordered) - _LISTED
    return ", ".join(ordered[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
