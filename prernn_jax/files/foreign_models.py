"""Files of networks that are not ours: their code builds them again, the file has their weights.

The metadata say `architecture: foreign`, the class of the network (`builder`, for messages), what
its weights expect of an image (`preprocessing`), and the call of `surgery.py` that made a sequence
model of it (`sequence`), if there was one.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from prernn_jax.errors import InputError
from prernn_jax.files.backbones import VOLUME, check_fit, describe_preprocessing
from prernn_jax.files.described import check_values
from prernn_jax.preprocess import Preprocessing

FOREIGN = "foreign"
Builder = Callable[..., nnx.Module]


def describe_foreign(
    model: nnx.Module,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, str]]:
    """What a file says of a network that is not ours, or of a sequence model around one.

    Returns:
        Its variables, further arrays, and the metadata.

    Raises:
        InputError: It has no variables.
    """
    variables = {name: np.asarray(leaf[...]) for name, leaf in _variables(model).items()}
    if not variables:
        raise InputError(f"the {type(model).__name__} has no parameters; there is nothing to save")
    network = getattr(model, "network_of_frames", model)
    kind = type(network)
    metadata = {"architecture": FOREIGN, "builder": f"{kind.__module__}.{kind.__qualname__}"}
    if (made_by := getattr(model, "made_by", None)) is not None:
        metadata["sequence"] = made_by
    arrays, preprocessing = describe_preprocessing(network)
    return variables, arrays, metadata | preprocessing


def build_foreign(builder: Builder, *, where: str) -> nnx.Module:
    """What a builder makes: called without arguments, or with `rngs=` where it must have them.

    Raises:
        InputError: It cannot be called so, or makes no nnx module.
    """
    try:
        # The metaclass of nnx modules hides what their __init__ takes.
        called: Any = (
            vars(builder).get("__init__", builder) if inspect.isclass(builder) else builder
        )
        parameters = inspect.signature(called).parameters
        wanted = parameters.get("rngs")
        needs = wanted is not None and wanted.default is inspect.Parameter.empty
        model = builder(rngs=nnx.Rngs(0)) if needs else builder()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{where}: the builder cannot be called without arguments ({error}); give one that "
            "makes the network, such as builder=lambda: Vit(depth=2, rngs=nnx.Rngs(0))"
        ) from error
    if not isinstance(model, nnx.Module):
        raise InputError(f"{where}: the builder made a {type(model).__name__}, not an nnx.Module")
    return model


def complete_foreign(
    model: nnx.Module,
    parameters: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    preprocess: Preprocessing | None,
    *,
    where: str,
) -> None:
    """Gives a model, as its builder and the surgery made it, a file's arrays and preprocessing.

    Raises:
        InputError: The arrays do not fit the model, or hold NaN or infinity.
    """
    arrays = {name: array for name, array in parameters.items() if name != VOLUME}
    variables = _variables(model)
    shapes = {name: leaf[...].shape for name, leaf in variables.items()}
    check_fit(arrays, shapes, where=f"{where}, made by {metadata.get('builder', 'its builder')},")
    if metadata.get("nonfinite") != "allowed":
        check_values(arrays, where=where)
    for name, leaf in variables.items():
        leaf.set_value(jnp.asarray(arrays[name], leaf[...].dtype))
    if preprocess is not None:
        network: Any = getattr(model, "network_of_frames", model)
        network.preprocess = preprocess


def _variables(model: nnx.Module) -> dict[str, nnx.Variable]:
    """All variables by dotted name but the state of random streams, which a seed decides."""
    found: dict[str, nnx.Variable] = {}
    for path, leaf in nnx.iter_graph(model):
        if isinstance(leaf, nnx.Variable) and not isinstance(leaf, nnx.RngState):
            found[".".join(map(str, path))] = leaf
    return found
