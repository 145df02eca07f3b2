"""Pre-trained networks on disk: one safetensors file, from which the network is built again.

The arrays carry the flat names of the network's variables (`conv1_1.kernel`,
`layer4.2.conv3.kernel`, `bn1.mean`). The metadata say how to build the network:

| key | value |
| --- | --- |
| `architecture` | `vgg16`, `c3d`, `resnet` or `compact_vgg` |
| `arguments` | the constructor's arguments as a JSON object; `{}` is the published network |
| `variant` | optional: the constructor's `variant`, where the weights' origin decides it |
| `preprocessing` | optional: what these weights expect of images, see `preprocess.py` |
| `sequence` | only in files of sequence models, see `saved_model.py` |

Arrays whose name begins with `preprocessing.` belong to the last and not to the network.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from prernn_jax.errors import InputError
from prernn_jax.files import safetensors
from prernn_jax.preprocess import Preprocessing

_LISTED = 12  # names that an error message quotes of each kind


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
        metadata: Text by text; what `load_pretrained` needs is said at the top of this module.
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

    Raises:
        InputError: The file is missing, truncated, an HTML page or in another format.
    """
    return safetensors.read(path)


def flat_parameters(model: nnx.Module) -> dict[str, jax.Array]:
    """All parameters and batch statistics of a network by flat dotted name."""
    state = nnx.state(model, nnx.Any(nnx.Param, nnx.BatchStat))
    return {".".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(state)}


def load_pretrained(path: str | os.PathLike[str]) -> nnx.Module:
    """Builds the network that a file describes and fill it with the file's arrays.

    Returns:
        VGG16, C3D, ResNet or CompactVGG, with `model.preprocess` set when the file says what its
        weights expect: `model(model.preprocess(frames))` takes uint8 RGB frames (..., H, W, 3).

    Raises:
        InputError: The file is bad, does not say what it holds, or does not fit the network.
    """
    parameters, metadata = read_parameters(path)
    if "sequence" in metadata:
        raise InputError(
            f"{path} holds a sequence model, not a backbone; read it with "
            "prernn_jax.files.models.load_model"
        )
    model = build(metadata, where=str(path))
    volume = parameters.pop("preprocessing.mean_volume", None)
    fill(model, parameters, where=str(path))
    if "preprocessing" in metadata:
        model.preprocess = Preprocessing.from_json(metadata["preprocessing"], volume)
    return model


def build(metadata: Mapping[str, str], *, where: str = "metadata") -> Any:
    """The network that the metadata describe, with abstract arrays (shapes and dtypes only)."""
    return build_abstract(constructor(metadata, where=where), where=where)


def constructor(
    metadata: Mapping[str, str], *, where: str = "metadata"
) -> Callable[[], nnx.Module]:
    """A function that makes the network that the metadata describe, with fresh weights.

    Raises:
        InputError: The metadata name no network that we have, or are no JSON.
    """
    from prernn_jax.backbones.c3d import C3D
    from prernn_jax.backbones.compact_vgg import CompactVGG
    from prernn_jax.backbones.resnet import ResNet
    from prernn_jax.backbones.vgg import VGG16

    classes: dict[str, Any] = {
        "vgg16": VGG16,
        "c3d": C3D,
        "resnet": ResNet,
        "compact_vgg": CompactVGG,
    }
    architecture = metadata.get("architecture")
    if architecture not in classes:
        raise InputError(
            f"{where}: architecture {architecture!r} in the metadata, expected one of "
            f"{', '.join(classes)}; was the file written by `prernn-port convert`?"
        )
    arguments = read_json_object(metadata, "arguments", where=where)
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    if "variant" in metadata:
        arguments["variant"] = metadata["variant"]
    return lambda: classes[architecture](**arguments, rngs=nnx.Rngs(0))


def build_abstract(make: Callable[[], Any], *, where: str) -> Any:
    """What `make` makes, with abstract arrays; a wrong argument becomes an InputError."""
    try:
        return nnx.eval_shape(make)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where}: no network can be built from the metadata: {error}") from error


def read_json_object(metadata: Mapping[str, str], key: str, *, where: str) -> dict[str, Any]:
    """The JSON object under a key of the metadata; {} where there is none.

    Raises:
        InputError: The text is no JSON, or no object.
    """
    try:
        value = json.loads(metadata.get(key, "{}"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: `{key}` in the metadata is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: `{key}` in the metadata must be a JSON object")
    return value


def fill(model: nnx.Module, parameters: Mapping[str, np.ndarray], *, where: str) -> None:
    """Puts arrays by flat name into a network; every variable must be given, and none else.

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
